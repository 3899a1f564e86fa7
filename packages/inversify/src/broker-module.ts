import { type Broker, type ConnectOptions, connect, type Target } from '@posthorn/core'
import { check } from '@posthorn/core/adapter'
import { loadConfig } from '@posthorn/core/config'
import { ContainerModule, type ServiceIdentifier } from 'inversify'
import { brokerOf, defaultBroker } from './identifiers.ts'

/** Which broker a module binds, and how it is connected. */
export interface BrokerModuleOptions {
  /** Its name here and in the configuration: `loadConfig(name)`. @default the broker that the configuration means where none is named */
  readonly name?: string | undefined
  /** Connect to this instead of asking the configuration. */
  readonly target?: Target | undefined
  /** A broker that is connected already, as a test broker. It stays open when the container ends; only the consumers started here are closed. */
  readonly broker?: Broker | undefined
  /** What `connect` can be told. */
  readonly connect?: ConnectOptions | undefined
}

/** A broker to be: connected by `start`, closed with the container. */
export interface BrokerSlot {
  readonly name: string
  open(): Promise<Broker>
  close(options?: Parameters<Broker['close']>[0]): Promise<void>
  /** @throws MessagingError before it is connected */
  get(): Broker
}

/** All brokers of a container. */
export const brokerSlots: ServiceIdentifier<BrokerSlot> = Symbol.for('posthorn brokers')

const brokerName = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const name = (value: unknown): string | undefined =>
  typeof value === 'string' && brokerName.test(value) ? undefined : 'a token of a-z, 0-9 and inner dashes'

/**
 * Binds a broker, chosen by configuration (`posthorn.config` and `POSTHORN_…`), as `brokerOf(name)`. Nothing is connected before `start`.
 * Unbinding it closes it: handlers that run are waited for.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 * @example
 * import { Container } from 'inversify'
 * import { brokerModule } from '@posthorn/inversify'
 *
 * const container = new Container()
 * container.load(brokerModule(), brokerModule({ name: 'audit' }))
 */
export function brokerModule(options?: BrokerModuleOptions): ContainerModule {
  const attempted = 'cannot make a broker module'
  const given = check.options<BrokerModuleOptions>(attempted, options, {
    name,
    target: check.either(check.text, check.object),
    broker: check.object,
    connect: check.object,
  })
  if (given.broker !== undefined && (given.target !== undefined || given.connect !== undefined))
    throw check.invalid(attempted, '"broker" is connected already: leave "target" and "connect" out')
  return new ContainerModule(({ bind }) => {
    const slot = createSlot(given)
    bind(brokerSlots)
      .toDynamicValue(() => slot)
      .inSingletonScope()
      .onDeactivation((each) => each.close())
    bind(brokerOf(slot.name)).toDynamicValue(() => slot.get())
  })
}

function createSlot(given: BrokerModuleOptions): BrokerSlot {
  const name = given.name ?? defaultBroker
  let broker = given.broker
  return {
    name,
    async open() {
      broker ??= await connect(given.target ?? (await loadConfig(given.name)), given.connect)
      return broker
    },
    async close(options) {
      if (given.broker !== undefined) return
      const open = broker
      broker = undefined
      await open?.close(options)
    },
    get() {
      if (broker === undefined)
        throw check.invalid(`cannot resolve the broker "${name}"`, 'it is not connected: start(container) connects it, and the end of the container closes it')
      return broker
    },
  }
}

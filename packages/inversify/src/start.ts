import type { Broker, Consumer, Decision, Handler, Health, Message } from '@posthorn/core'
import { check } from '@posthorn/core/adapter'
import type { Container, ServiceIdentifier } from 'inversify'
import { type BrokerSlot, brokerSlots } from './broker-module.ts'
import { type HandlerEntry, handlerEntries } from './handler-module.ts'
import { currentScope, messageScope, openScope, resolveWithin } from './message-scope.ts'
import { checkBindings } from './missing.ts'

/** How long closing may wait. */
export type CloseOptions = NonNullable<Parameters<Broker['close']>[0]>

/** A container whose brokers are connected and whose handlers consume. */
export interface Running extends AsyncDisposable {
  /** One for each handler module, in the order in which they were loaded. */
  readonly consumers: readonly Consumer[]
  /** Of all brokers together. */
  health(): Health
  /**
   * Drains: no handler starts, those that run are waited for until `drainMs`, on all brokers; then the brokers are closed.
   * Bindings stay as they are. Resolves within its deadline even if a server is gone; twice is the same promise.
   */
  close(options?: CloseOptions): Promise<void>
}

// Containers that are being started: the binding of `running` is made at the end.
const starting = new WeakSet<Container>()
const running: ServiceIdentifier<Running> = Symbol.for('posthorn running')
const attempted = 'cannot start the container'

/**
 * Connects the brokers of a container and consumes with its handlers. Everything is checked before anything is connected, and
 * what was begun is closed again if something fails. `container.unbindAllAsync()` drains as `close` does; close first where what handlers
 * use is deactivated with it.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the handler and the binding that is missing, or the broker that no module binds;
 * otherwise as `connect` and `broker.consume`
 * @example
 * import { Container } from 'inversify'
 * import { brokerModule, start } from '@posthorn/inversify'
 *
 * const container = new Container()
 * container.load(brokerModule({ target: 'memory:' }))
 * const services = await start(container)
 * process.once('SIGTERM', () => services.close())
 */
export async function start(container: Container): Promise<Running> {
  if (container.isBound(running) || starting.has(container)) throw check.invalid(attempted, 'it was started already. make a new container to start again')
  starting.add(container)
  try {
    return await begin(container)
  } finally {
    starting.delete(container)
  }
}

async function begin(container: Container): Promise<Running> {
  const slots = container.getAll(brokerSlots, { optional: true, chained: true })
  const entries = container.getAll(handlerEntries, { optional: true, chained: true })
  checkBrokers(slots, entries)
  if (!container.isBound(messageScope())) container.bind(messageScope()).toDynamicValue(currentScope)
  for (const entry of entries) checkBindings(container, entry)

  const consumers: Consumer[] = []
  try {
    const brokers = new Map<string, Broker>()
    for (const [name, opened] of await all(slots.map(async (slot) => [slot.name, await slot.open()] as const))) brokers.set(name, opened)
    const subscribing = entries.map(async ({ broker, topics, options, handler }) => {
      const consumer = await brokers.get(broker)?.consume(topics, options, handlerOf(container, handler) as Handler<Message, unknown>)
      if (consumer !== undefined) consumers.push(consumer)
      return consumer
    })
    const inOrder = (await all(subscribing)).filter((each) => each !== undefined)
    const made = createRunning(slots, inOrder)
    container
      .bind(running)
      .toDynamicValue(() => made)
      .inSingletonScope()
      .onDeactivation((each) => each.close())
    return container.get(running)
  } catch (error) {
    await Promise.allSettled(consumers.map((consumer) => consumer.close()))
    await Promise.allSettled(slots.map((slot) => slot.close()))
    throw error
  }
}

/** Drains a container that was started, and closes its brokers; one that was not started is left as it is. */
export async function stop(container: Container, options?: CloseOptions): Promise<void> {
  if (container.isBound(running)) await container.get(running).close(options)
}

function createRunning(slots: readonly BrokerSlot[], consumers: readonly Consumer[]): Running {
  let closing: Promise<void> | undefined
  // A handler of one broker may send to another one: all are drained before the first is closed.
  const drain = async (options?: CloseOptions): Promise<void> => {
    const drained = await Promise.allSettled(consumers.map((consumer) => consumer.close(options)))
    const closed = await Promise.allSettled(slots.map((slot) => slot.close(options)))
    const failed = [...drained, ...closed].find((each) => each.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
  const close = (options?: CloseOptions): Promise<void> => {
    closing ??= drain(options)
    return closing
  }
  return {
    consumers,
    health() {
      const all = slots.map((slot) => slot.get().health())
      return {
        live: all.every(({ live }) => live),
        ready: all.every(({ ready }) => ready),
        reasons: all.flatMap(({ reasons }) => reasons),
      }
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

function checkBrokers(slots: readonly BrokerSlot[], entries: readonly HandlerEntry[]): void {
  const names = slots.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw check.invalid(attempted, `two modules bind the broker "${twice}". give one of them a name`)
  for (const { broker, topics } of entries) {
    const wrong = check.oneOf(...names)(broker)
    if (wrong === undefined) continue
    const needed = broker === 'default' ? 'brokerModule()' : `brokerModule({ name: '${broker}' })`
    throw check.invalid(
      attempted,
      `the handler of "${topics[0]?.name}" is for the broker "${broker}", which no module binds. load ${needed}${names.length === 0 ? '' : `; bound are ${names.join(', ')}`}`,
    )
  }
}

/** A handler that makes an object for each message, in a scope that ends with it. */
function handlerOf(container: Container, id: HandlerEntry['handler']): Handler<never, unknown> {
  return async (message: Message, tx: unknown) => {
    const { scope, release } = openScope(message, tx)
    let decision: Decision | void
    try {
      const handler = await resolveWithin(scope, () => container.getAsync(id))
      decision = await handler.handle(message as never, tx as never)
    } catch (error) {
      // What made the attempt fail is what is told, also where the release fails behind it.
      await release().catch(() => undefined)
      throw error
    }
    await release()
    return decision
  }
}

/** Waits for all, also where one fails, so that nothing goes on behind an error. */
async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises)
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

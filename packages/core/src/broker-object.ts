import { setMaxListeners } from 'node:events'
import { inspect } from 'node:util'
import type { Broker, DeclareOptions, Lag, Status } from './broker.ts'
import { createCatalog } from './catalog.ts'
import { anyText, checkOptions, invalid, listOf, milliseconds, show, signal, whole } from './check.ts'
import { closeBroker } from './close-broker.ts'
import { startBatchConsumer, startConsumer, startPuller } from './consume.ts'
import type { CloseOptions, Consumer, Puller } from './consumer.ts'
import type { ConsumerHandle, ConsumerHost } from './consumer-handle.ts'
import type { BrokerContext } from './context.ts'
import type { Adapter, Clock, Session } from './contract.ts'
import { createDeadLetters } from './dead-letter-tools.ts'
import type { DeadLetters } from './dead-letters.ts'
import { fromFault, MessagingError } from './errors.ts'
import { explained } from './explained.ts'
import { createForwarders } from './forwarders.ts'
import { createRoll } from './health.ts'
import { inspectGroup } from './lag.ts'
import type { Message } from './message.ts'
import type { Middleware } from './middleware.ts'
import { checkGroupName } from './names.ts'
import type { Link } from './open-session.ts'
import { createProducer } from './produce.ts'
import type { Producer, ProducerOptions } from './producer.ts'
import { createSender } from './send-engine.ts'
import type { Telemetry } from './telemetry.ts'
import { definitionOf, type TopicDefinition } from './topic.ts'

export interface BrokerSetup {
  readonly name: string
  readonly adapter: Adapter
  readonly session: Session
  readonly link: Link
  readonly clock: Clock
  readonly random: () => number
  readonly newId: () => string
  readonly readBackAlways?: boolean | undefined
  readonly looksOnly?: boolean | undefined
  readonly middleware: readonly Middleware[]
  readonly telemetry: Telemetry
  readonly onStatus: ((status: Status, error?: MessagingError) => void) | undefined
}

const producerRules = {
  retryUnknown: (v: unknown) => (typeof v === 'boolean' ? undefined : 'true or false'),
  timeoutMs: whole(1),
  maxBuffered: whole(1),
}

/** The broker object on an open session: puts the engines together, and knows how it all ends. */
export function createBroker(setup: BrokerSetup): Broker {
  const { adapter, session, clock, telemetry } = setup
  const closing = new AbortController()
  // Every start and every first send listens to it while it waits: however many there are, none of them is a leak.
  setMaxListeners(0, closing.signal)
  const base = {
    name: setup.name,
    adapter,
    session,
    capabilities: session.capabilities,
    clock,
    random: setup.random,
    middleware: setup.middleware,
    telemetry,
    closing: closing.signal,
    newId: setup.newId,
    readBackAlways: setup.readBackAlways,
    looksOnly: setup.looksOnly,
    wrap: (error: unknown, attempted: string, detail?: Parameters<BrokerContext['wrap']>[2]): MessagingError =>
      fromFault(explained(adapter, error), error, attempted, detail),
  } satisfies Omit<BrokerContext, 'catalog' | 'sender'>
  const withCatalog = { ...base, catalog: createCatalog(base) }
  const context: BrokerContext = Object.freeze({ ...withCatalog, sender: createSender(withCatalog) })
  const roll = createRoll()
  const forwarders = createForwarders(context)
  const producers = new WeakMap<TopicDefinition, Map<string, Producer<unknown>>>()
  let status: Status = 'connected'
  let closed: Promise<void> | undefined

  const host: ConsumerHost = {
    get status() {
      return status
    },
    forward: forwarders.use,
    add: roll.add,
    remove: roll.remove,
  }

  setup.link.listen((reported, error) => {
    if (status === 'closed' || status === 'failed' || reported === status) return
    const failure =
      error === undefined
        ? undefined
        : context.wrap(error, `the connection to ${adapter.name} ${reported === 'failed' ? 'failed for good' : 'is lost'}`)
    telemetry.emit('status', { reason: reported === 'connected' ? 'recovered' : reported, error: failure, note: failure?.message })
    change(reported, failure)
    if (reported !== 'failed') return
    const reason =
      failure ?? new MessagingError('UNAVAILABLE', `the connection to ${adapter.name} failed for good. connect again`, { retryable: false })
    for (const handle of [...roll.living]) handle.fail(reason)
  })

  function change(next: Status, error?: MessagingError): void {
    status = next
    try {
      setup.onStatus?.(next, error)
    } catch {
      // a listener that throws must not stop what it listens to
    }
  }

  function refuseClosed(attempted: string): void {
    if (closing.signal.aborted)
      throw new MessagingError('CLOSED', `${attempted}: the broker is closed. connect again`, { outcome: 'failed' })
  }

  // Closing must not wait for a server that does not answer a start.
  async function untilClosing<T>(attempted: string, work: Promise<T>): Promise<T> {
    let stop: (() => void) | undefined
    const stopped = new Promise<never>((_, reject) => {
      stop = () => reject(new MessagingError('CLOSED', `${attempted}: the broker is closed`))
      closing.signal.addEventListener('abort', stop, { once: true })
    })
    try {
      return await Promise.race([work, stopped])
    } finally {
      if (stop !== undefined) closing.signal.removeEventListener('abort', stop)
    }
  }

  async function started<C extends Consumer>(
    verb: string,
    topics: unknown,
    options: unknown,
    start: () => Promise<ConsumerHandle & { readonly consumer: C }>,
  ): Promise<C> {
    const attempted = `cannot ${verb} ${namesOf(topics)}`
    refuseClosed(attempted)
    const work = start().then((handle) => {
      roll.name(handle, `${namesOf(topics)} ${show((options as { group?: unknown }).group)}`)
      if (closing.signal.aborted) void handle.consumer.close({ drainMs: 0 })
      return handle.consumer
    })
    return untilClosing(attempted, work)
  }

  const broker: Broker = {
    producer<In>(topic: Parameters<Broker['producer']>[0], options?: ProducerOptions): Producer<In> {
      const definition = definitionOf('cannot make a producer', topic)
      const attempted = `cannot make a producer of "${definition.name}"`
      refuseClosed(attempted)
      const given = options === undefined ? undefined : checkOptions<ProducerOptions>(attempted, options, producerRules)
      const made = producers.get(definition) ?? new Map<string, Producer<unknown>>()
      producers.set(definition, made)
      const name = given === undefined ? '{}' : JSON.stringify(given)
      const producer = made.get(name) ?? createProducer(context, definition, given ?? {})
      made.set(name, producer)
      return producer as Producer<In>
    },
    consume: (topics, options, handler) =>
      started('consume', topics, options, () => startConsumer(context, host, topics, options, handler)),
    consumeBatch: (topics, options, handler) =>
      started('consume', topics, options, () => startBatchConsumer(context, host, topics, options, handler)),
    pull: ((topics: unknown, options: unknown): Promise<Puller<Message>> =>
      started('pull', topics, options, () => startPuller(context, host, topics, options))) as unknown as Broker['pull'],
    async declare(topics, options) {
      const list: readonly unknown[] = Array.isArray(topics) ? topics : [topics]
      if (list.length === 0) throw invalid('cannot declare', 'the list of topics is empty')
      const definitions = list.map((each) => definitionOf('cannot declare', each))
      const attempted = `cannot declare ${namesOf(topics)}`
      const given = checkOptions<DeclareOptions>(attempted, options, { groups: listOf(anyText), signal })
      for (const group of given.groups ?? []) checkGroupName(attempted, group)
      refuseClosed(attempted)
      const groups = (given.groups ?? []).map((name) => ({ name, start: 'earliest' as const }))
      const work = Promise.all(
        definitions.map((each) => context.catalog.ensure(each, `cannot declare "${each.name}"`, { groups, signal: given.signal })),
      )
      await untilClosing(attempted, work)
    },
    deadLetters(topic, group): DeadLetters {
      const definition = definitionOf('cannot reach dead letters', topic)
      const attempted = `cannot reach the dead letters of "${definition.name}"`
      checkGroupName(attempted, group)
      refuseClosed(attempted)
      return createDeadLetters(context, definition, group)
    },
    async lag(topic, group, options): Promise<Lag> {
      const definition = definitionOf('cannot tell the lag', topic)
      const attempted = `cannot tell the lag of "${definition.name}"`
      checkGroupName(attempted, group)
      const given = checkOptions<{ signal?: AbortSignal | undefined }>(attempted, options, { signal })
      refuseClosed(attempted)
      return untilClosing(attempted, inspectGroup(context, definition, group, given.signal))
    },
    health: () => roll.health(closing.signal.aborted && status !== 'failed' ? 'closed' : status),
    native: ((wanted: unknown): unknown => {
      if (wanted !== adapter.name)
        throw invalid(`cannot take the client of ${show(wanted)}`, `this broker is connected by the adapter "${adapter.name}"`)
      return session.client
    }) as Broker['native'],
    get adapter() {
      return adapter.name
    },
    get status() {
      return status
    },
    close(options?: CloseOptions): Promise<void> {
      if (closed !== undefined) return closed
      let drainMs: number
      try {
        drainMs = checkOptions<CloseOptions>('cannot close the broker', options, { drainMs: milliseconds }).drainMs ?? 10_000
      } catch (error) {
        return Promise.reject(error)
      }
      closing.abort()
      closed = closeBroker(context, [...roll.living], forwarders, drainMs).then(() => {
        change('closed')
        telemetry.emit('status', { reason: 'closed' })
      })
      return closed
    },
    [Symbol.asyncDispose]: () => broker.close(),
  }
  Object.defineProperty(broker, inspect.custom, {
    value: () => `Broker { adapter: '${adapter.name}', name: ${show(setup.name)}, status: '${status}', credentials: '[redacted]' }`,
  })
  return Object.freeze(broker)
}

function namesOf(topics: unknown): string {
  const list: readonly unknown[] = Array.isArray(topics) ? topics : [topics]
  return list.map((each) => show((each as { name?: unknown } | null | undefined)?.name ?? each)).join(', ')
}

// A broker whose calls bring the time they need: while one is open, the clock is moved. And a list of who consumes what.

import type { Broker } from './broker.ts'
import type { BatchOptions, CloseOptions, ConsumeOptions, Consumer, Pulled, Puller, PullOptions } from './consumer.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { Driver } from './drive.ts'
import type { Message } from './message.ts'
import type { Producer } from './producer.ts'
import type { Journal } from './test-journal.ts'
import type { Topic } from './topic.ts'

/** One consumer that was started through the broker. */
export interface MemberRecord {
  readonly consumer: Consumer
  readonly topics: readonly Topic[]
  readonly group: string
  readonly broadcast: boolean
}

type Drive = <T>(work: Promise<T>) => Promise<T>

/** Wraps a broker; without a driver time passes by itself. `members` gets each consumer before its first message. */
export function drivenBroker(inner: Broker, driver: Driver | null, journal: Journal, members: MemberRecord[]): Broker {
  const driven: Drive = driver === null ? (work) => work : (work) => driver.driven(work)
  const producers = new WeakMap<object, unknown>()

  // A group is known before it gets anything: the telemetry of its first message is to be recognised.
  async function started<C extends Consumer>(topics: unknown, options: unknown, start: Promise<C>, wrap: (consumer: C) => C): Promise<C> {
    const { group, broadcast } = (options ?? {}) as { group?: unknown; broadcast?: unknown }
    const member = {
      consumer: notStarted as Consumer,
      topics: (Array.isArray(topics) ? topics : [topics]) as readonly Topic[],
      group: String(group),
      broadcast: broadcast === true,
    }
    members.push(member)
    try {
      const consumer = await driven(start)
      member.consumer = consumer
      return wrap(consumer)
    } catch (error) {
      members.splice(members.indexOf(member), 1)
      throw error
    }
  }

  const broker: Broker = {
    producer<In>(topic: Topic<In, unknown, string>, options?: Parameters<Broker['producer']>[1]): Producer<In> {
      const producer = inner.producer(topic, options)
      let found = producers.get(producer) as Producer<In> | undefined
      if (found === undefined) {
        found = {
          send: (value, sendOptions) => driven(producer.send(value, sendOptions)),
          sendBatch: (messages, batchOptions) => driven(producer.sendBatch(messages, batchOptions)),
          flush: () => driven(producer.flush()),
        }
        producers.set(producer, found)
      }
      return found
    },
    consume: (topics, options: ConsumeOptions<never>, handler) =>
      started(topics, options, inner.consume(topics, options as never, handler as never), (consumer) => drivenConsumer(consumer, driven)),
    consumeBatch: (topics, options: BatchOptions, handler) =>
      started(topics, options, inner.consumeBatch(topics, options, handler), (consumer) => drivenConsumer(consumer, driven)),
    pull: ((topics: Topic, options: PullOptions) =>
      started(
        topics,
        options,
        inner.pull(topics, options),
        (puller) => drivenPuller(puller as Puller<Message>, driven, journal) as never,
      )) as Broker['pull'],
    declare: (topics, options) => driven(inner.declare(topics, options)),
    deadLetters: (topic, group) => drivenDeadLetters(inner.deadLetters(topic, group), driven),
    lag: (topic, group, options) => driven(inner.lag(topic, group, options)),
    health: () => inner.health(),
    native: (adapter) => inner.native(adapter),
    get adapter() {
      return inner.adapter
    },
    get status() {
      return inner.status
    },
    close: (options) => driven(inner.close(options)),
    [Symbol.asyncDispose]: () => broker.close(),
  }
  return broker
}

const notStarted: Pick<Consumer, 'state' | 'stats'> = {
  state: 'closed',
  stats: () => ({ running: 0, unsettled: 0, handled: 0, failed: 0, deadLettered: 0 }),
}

function drivenConsumer(inner: Consumer, driven: Drive): Consumer {
  const consumer: Consumer = {
    closed: inner.closed,
    get state() {
      return inner.state
    },
    stats: () => inner.stats(),
    pause: () => inner.pause(),
    resume: () => inner.resume(),
    close: (options?: CloseOptions) => driven(inner.close(options)),
    [Symbol.asyncDispose]: () => consumer.close(),
  }
  return consumer
}

function drivenPuller(inner: Puller<Message>, driven: Drive, journal: Journal): Puller<Message> {
  const consumer = drivenConsumer(inner, driven)
  return Object.defineProperties({ receive: receiveAll } as Puller<Message>, Object.getOwnPropertyDescriptors(consumer))

  async function receiveAll(options?: Parameters<Puller<Message>['receive']>[0]): Promise<readonly Pulled<Message>[]> {
    const pulled = await driven(inner.receive(options))
    for (const message of pulled) {
      journal.started(message)
      const { done, settle } = message
      Object.assign(message, { done: () => driven(done()), settle: (decision: Parameters<typeof settle>[0]) => driven(settle(decision)) })
    }
    return pulled
  }
}

function drivenDeadLetters(inner: DeadLetters, driven: Drive): DeadLetters {
  async function* each<T>(list: AsyncIterable<T>): AsyncGenerator<T> {
    const entries = list[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await driven(entries.next())
        if (next.done === true) return
        yield next.value
      }
    } finally {
      await entries.return?.()
    }
  }
  return {
    list: (options) => each(inner.list(options)),
    replay: (choice, options) => driven(inner.replay(choice, options)),
    purge: (choice, options) => driven(inner.purge(choice, options)),
  }
}

// A broker as applications have it, with every send and every handler start of it seen by the suite.

import { type Broker, type Handler, isMessagingError, type Producer, type ProducerOptions, type Topic } from '@posthorn/core'
import type { Journal } from './journal.ts'
import type { Peer } from './peer.ts'
import type { SendRecord } from './trial.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export interface WatchTools {
  readonly journal: Journal
  readonly sends: Mutable<SendRecord>[]
  /** Calls of the public API that have not come back, for the report of a hang. */
  readonly pending: Set<string>
  /** Told when a send begins and when it ends, for a suite in another process. */
  readonly sent?: ((record: SendRecord) => void) | undefined
}

/** See the file. `peer` is the connection behind this broker. */
export function watchBroker(inner: Broker, peer: Peer, tools: WatchTools): Broker {
  const producers = new Map<object, Producer<never>>()
  let closing: Promise<void> | undefined

  async function track<T>(what: string, work: Promise<T>): Promise<T> {
    const label = `${peer.name}: ${what}`
    tools.pending.add(label)
    try {
      return await work
    } finally {
      tools.pending.delete(label)
    }
  }
  /** A handler that may not start once the connection is closed. */
  function guarded<F extends (...args: never[]) => unknown>(handler: F): F {
    if (typeof handler !== 'function') return handler
    return ((...args: never[]) => {
      if (peer.state === 'closed') tools.journal.violate('LIFE-16', `a handler of ${peer.name} started after close had resolved`)
      return handler(...args)
    }) as F
  }

  const broker: Broker = {
    producer<In>(topic: Topic<In, unknown, string>, options?: ProducerOptions): Producer<In> {
      const made = inner.producer(topic, options)
      let watched = producers.get(made) as Producer<In> | undefined
      if (watched === undefined) {
        watched = watchProducer(made, topic.name, options?.timeoutMs ?? 30_000, peer, tools)
        producers.set(made, watched as Producer<never>)
      }
      return watched
    },
    consume: (topics, options, handler) =>
      track('consume', inner.consume(topics, options, guarded(handler as Handler<never, never>) as typeof handler)),
    consumeBatch: (topics, options, handler) =>
      track('consumeBatch', inner.consumeBatch(topics, options, guarded(handler as never) as typeof handler)),
    pull: (topics, options) => track('pull', inner.pull(topics, options)),
    declare: (topics, options) => track('declare', inner.declare(topics, options)),
    deadLetters: (topic, group) => inner.deadLetters(topic, group),
    lag: (topic, group, options) => inner.lag(topic, group, options),
    health: () => inner.health(),
    native: (adapter) => inner.native(adapter),
    get adapter() {
      return inner.adapter
    },
    get status() {
      return inner.status
    },
    close(options) {
      const result = inner.close(options)
      if (closing !== undefined) return result
      if (peer.state === 'open') peer.state = 'closing'
      tools.journal.note(`${peer.name}: close`)
      closing = track('close', result).then(() => {
        if (peer.state === 'closing') peer.state = 'closed'
        tools.journal.note(`${peer.name}: closed`)
      })
      closing.catch(() => {})
      return result
    },
    [Symbol.asyncDispose]: () => broker.close(),
  }
  return broker
}

function watchProducer<In>(inner: Producer<In>, topic: string, timeoutMs: number, peer: Peer, tools: WatchTools): Producer<In> {
  function begin(value: unknown, id: string | undefined): Mutable<SendRecord> {
    const record: Mutable<SendRecord> = {
      topic,
      id,
      value,
      at: peer.clock.monotonic(),
      endedAt: undefined,
      outcome: 'open',
      error: undefined,
      position: undefined,
      timeoutMs,
    }
    sentBy(record, peer)
    tools.sends.push(record)
    tools.sent?.(record)
    return record
  }
  function refused(record: Mutable<SendRecord>, error: unknown): void {
    record.endedAt = peer.clock.monotonic()
    record.error = isMessagingError(error) ? error : undefined
    record.outcome = record.error?.outcome === 'unknown' ? 'unknown' : record.error?.outcome === 'failed' ? 'failed' : 'refused'
    record.id ??= record.error?.messageId
    tools.journal.note(`send is ${record.outcome}${record.error === undefined ? '' : ` (${record.error.code})`}`, record.id)
    tools.sent?.(record)
  }
  function stored(record: Mutable<SendRecord>, receipt: { readonly id: string; readonly position: string | null }): void {
    record.endedAt = peer.clock.monotonic()
    record.outcome = 'stored'
    record.id = receipt.id
    record.position = receipt.position
    tools.journal.note('send is stored', receipt.id)
    tools.sent?.(record)
  }
  return {
    async send(value, options) {
      const record = begin(value, options?.id)
      tools.journal.note(`${peer.name}: send to ${topic}`, record.id)
      try {
        const receipt = await inner.send(value, options)
        stored(record, receipt)
        return receipt
      } catch (error) {
        refused(record, error)
        throw error
      }
    },
    async sendBatch(messages, options) {
      const records = Array.isArray(messages) ? messages.map((message) => begin(message?.value, message?.id)) : []
      try {
        const receipts = await inner.sendBatch(messages, options)
        for (const [index, record] of records.entries()) stored(record, receipts[index] as (typeof receipts)[number])
        return receipts
      } catch (error) {
        const outcomes = isMessagingError(error) ? error.outcomes : []
        for (const [index, record] of records.entries()) {
          const outcome = outcomes[index]
          if (outcome?.status === 'stored') stored(record, outcome.receipt)
          else refused(record, outcome?.error ?? error)
        }
        throw error
      }
    },
    flush: () => inner.flush(),
  }
}

/** What a standing check asks about the connection behind a send. */
export type Sender = Pick<Peer, 'state' | 'wasFrozen'>
const peers = new WeakMap<SendRecord, Sender>()
/** Remembers whose send this is. */
export function sentBy(record: SendRecord, sender: Sender): void {
  peers.set(record, sender)
}
/** Whose send this was. */
export function senderOf(record: SendRecord): Sender | undefined {
  return peers.get(record)
}

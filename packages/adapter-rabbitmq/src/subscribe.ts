// A subscription: the queues that a source is read from, each by a reader of its own, and the assignments they yield.

import { type AdapterContext, type Assignment, createAssignmentQueue, type Source } from '@posthorn/core/adapter'
import type { Channel, ConsumeMessage } from 'amqplib'
import type { QueueAssignment } from './assignment.ts'
import { capabilities } from './capabilities.ts'
import type { Link, Wire } from './connections.ts'
import { deliveriesOf } from './decode.ts'
import { fault } from './explain.ts'
import * as layout from './layout.ts'
import type { Locks } from './locks.ts'
import type { RabbitmqConsumerOptions, Settings } from './options.ts'
import { consumerOptions } from './options.ts'
import type { Ownership } from './ownership.ts'
import { startOwnership } from './ownership.ts'
import type { QueueReader, ReaderOptions } from './queue-reader.ts'
import { readQueue } from './queue-reader.ts'
import type { Topology } from './topology.ts'

/** A subscription as its session drives it. */
export interface Subscription {
  readonly iterable: AsyncIterable<Assignment>
  /** The session closes: everything is lost, and the iteration ends. */
  close(): void
}

export interface Subscribing {
  readonly link: Link
  readonly topology: Topology
  readonly locks: Locks
  readonly settings: Settings
  readonly context: AdapterContext
  /** The first connection of the session: what comes again on a later one may have been settled on an earlier. */
  readonly firstWire: Wire
  forget(subscription: Subscription): void
}

/** Resolves when the server accepted every consumer of it. Rejects, with nothing left behind, when one was refused or `signal` is aborted. */
export async function subscribe(on: Subscribing, source: Source, signal: AbortSignal): Promise<Subscription> {
  const native = check(source)
  if (signal.aborted) throw fault('CANCELLED', 'the subscription was given up')
  const { subscription, accepted } = start(on, source, native, signal)
  try {
    await accepted
    if (signal.aborted) throw fault('CANCELLED', 'the subscription was given up')
    return subscription
  } catch (error) {
    subscription.close()
    throw error
  }
}

function check(source: Source): RabbitmqConsumerOptions {
  const native = consumerOptions(source.topic, source.native)
  if (!(source.maxUnsettled >= 1) || source.maxUnsettled > capabilities.limits.unsettled)
    throw fault('INVALID_ARGUMENT', `maxUnsettled must be between 1 and ${capabilities.limits.unsettled}`)
  if (source.atomic) throw fault('UNSUPPORTED', 'RabbitMQ cannot settle and store in one step')
  return native
}

type Plan = Pick<ReaderOptions, 'role' | 'partition' | 'eager' | 'queue'>

function start(
  on: Subscribing,
  source: Source,
  native: RabbitmqConsumerOptions,
  signal: AbortSignal,
): { readonly subscription: Subscription; readonly accepted: Promise<unknown> } {
  const { link, topology, settings, context } = on
  const { topic } = source
  const known = topology.known(topic)
  const open = new Set<QueueAssignment>()
  const assignments = createAssignmentQueue<QueueAssignment>(() => leave())
  let leaving = false
  let over = false
  let ownership: Ownership | null = null
  const readers = new Set<QueueReader>()
  let refuse: (error: unknown) => void = () => {}
  const refusedLater = new Promise<never>((_, reject) => {
    refuse = reject
  })
  refusedLater.catch(() => {})

  function begun(assignment: QueueAssignment): void {
    open.add(assignment)
    if (leaving || over) {
      void assignment.release()
      return
    }
    assignments.push(assignment)
  }

  function ended(assignment: QueueAssignment): void {
    assignments.withdraw(assignment)
    open.delete(assignment)
    if (leaving && open.size === 0) finish()
  }

  function finish(): void {
    if (over) return
    over = true
    ownership?.stop()
    signal.removeEventListener('abort', leave)
    for (const reader of readers) reader.stop()
    on.forget(subscription)
    assignments.end()
  }

  /** It is over for good: everything is lost first. */
  function die(error: unknown): void {
    if (over) return
    refuse(error)
    for (const assignment of [...open]) void assignment.release()
    assignments.fail(error)
    finish()
  }

  function leave(): void {
    if (leaving || over) return
    leaving = true
    refuse(fault('CANCELLED', 'the subscription was given up'))
    // No consumer comes back after its end, so nothing that is given back comes here again.
    ownership?.stop()
    for (const reader of readers) reader.stop()
    for (const assignment of [...open]) {
      if (assignments.has(assignment)) void assignment.release()
      else assignment.leave(null)
    }
    if (open.size === 0) finish()
  }

  // What comes again after a lost connection may have been answered `settled`: the server may have lost that with itself.
  const repeated = (message: ConsumeMessage, wire: Wire): boolean =>
    source.settleFirst && wire !== on.firstWire && deliveriesOf(message) > 1

  const own = native.queue !== undefined || known?.native.queue !== undefined || known?.native.queues !== undefined
  const queues = source.kind === 'group' ? groupQueues() : []
  /** Partitions are owned by agreement; what is one queue is shared, or has one consumer at a time. */
  const agreed = source.kind === 'group' && source.keyed && !own

  function groupQueues(): readonly string[] {
    return native.queue === undefined ? topology.queuesOf(topic, source.group ?? '') : [native.queue]
  }

  const mainOf = (name: string, partition: number | null): Plan => ({ role: 'main', partition, eager: true, queue: () => name })

  function plans(): readonly Plan[] {
    if (source.kind === 'broadcast') return [{ role: 'main', partition: null, eager: true, queue: broadcastQueue }]
    if (source.kind === 'forwarder')
      return [{ role: 'delay', partition: 0, eager: false, queue: () => layout.outQueue({ topic, role: 'delay', group: null }) }]
    const main = agreed ? [] : queues.map((name, partition): Plan => mainOf(name, source.keyed ? partition : null))
    const retry: Plan = {
      role: 'retry',
      partition: 0,
      eager: false,
      queue: () => layout.outQueue({ topic, role: 'retry', group: source.group }),
    }
    return [...main, retry]
  }

  // Everything that is sent from now on, for as long as the connection lasts: the queue goes with it.
  async function broadcastQueue(channel: Channel): Promise<string> {
    const exchange = topology.exchangeOf(topic)
    const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })
    const count = source.keyed && !own ? (known?.partitions ?? 0) : 0
    if (count === 0) await channel.bindQueue(queue, exchange, '')
    for (let partition = 0; partition < count; partition++) await channel.bindQueue(queue, exchange, String(partition))
    if (count > 0) await channel.bindQueue(queue, layout.foreignExchange(exchange, count), '')
    return queue
  }

  function read(plan: Plan): QueueReader {
    const reader = readQueue({
      ...plan,
      link,
      topology,
      context,
      source,
      exclusive: own && source.keyed && plan.role === 'main' && (native.queue !== undefined || known?.native.declare === false),
      priority: plan.role === 'main' && !source.keyed ? native.priority : undefined,
      repeated,
      begun,
      ended,
      failed: die,
    })
    readers.add(reader)
    void reader.done.then(() => readers.delete(reader))
    return reader
  }

  const accepting: Promise<unknown>[] = plans().map((plan) => read(plan).accepted)
  if (agreed) {
    ownership = startOwnership({
      link,
      topology,
      locks: on.locks,
      context,
      topic,
      group: source.group ?? '',
      queues,
      everyMs: settings.balanceMs,
      handOverMs: source.handOverMs,
      take: (partition) => read(mainOf(queues[partition] as string, partition)),
    })
    accepting.push(ownership.accepted)
  }
  signal.addEventListener('abort', leave, { once: true })

  const subscription: Subscription = {
    iterable: assignments.iterable,
    close() {
      leaving = true
      for (const assignment of [...open]) void assignment.release()
      finish()
    },
  }
  return { subscription, accepted: Promise.race([Promise.all(accepting), refusedLater]) }
}

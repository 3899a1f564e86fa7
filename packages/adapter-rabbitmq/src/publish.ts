// Publishing: persistent, mandatory and confirmed, on one channel per topic, so that what a refusal costs is that topic's alone.
// Nothing is published twice here: what was on its way when a channel ended is unknown, and core repeats it.

import type { Outgoing, PublishReport } from '@posthorn/core/adapter'
import type { ConfirmChannel, Message, Options } from 'amqplib'
import { capabilities } from './capabilities.ts'
import type { Link, Wire } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { encode } from './encode.ts'
import { explain, fault, refused } from './explain.ts'
import * as layout from './layout.ts'
import type { Topology } from './topology.ts'

export interface Publisher {
  publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport>
}

type Failure = PublishReport['failures'][number]

interface End {
  readonly error: unknown
  readonly alone: boolean
}

/** A confirm channel of one topic. */
interface Outlet {
  readonly wire: Wire
  readonly channel: ConfirmChannel
  /** Why the channel ended, once it has, and whether one message alone was on its way then: a refusal was that one's. */
  ended: End | null
  /** A first message was confirmed: the exchange is there, and we may write to it. */
  proven: boolean
  proving: Promise<void> | null
  /** Returned messages whose confirm is still to come, by name of the message. */
  readonly returned: Map<string, number>
  open: number
  usedAt: number
}

const mostOutlets = 500
const stored: PublishReport = Object.freeze({ failures: Object.freeze([]), position: () => null })

export function createPublisher(link: Link, topology: Topology, closed: () => boolean): Publisher {
  const outlets = new Map<string, Promise<Outlet>>()
  // The bound on a message: ours, or the server's as learnt from a refusal.
  let tooLarge = capabilities.limits.messageBytes
  let uses = 0

  // Messages for queues of ours go through the default exchange, which takes everything; they have a channel of their own.
  const outletKey = ({ place }: Outgoing): string => `${place.role === 'main' ? 'main' : 'own'} ${place.topic}`

  async function outletFor(key: string, topic: string, signal: AbortSignal): Promise<Outlet> {
    const known = outlets.get(key)
    if (known !== undefined) {
      const outlet = await known.catch(() => null)
      if (outlet !== null && outlet.ended === null) {
        outlet.usedAt = ++uses
        return outlet
      }
      if (outlets.get(key) === known) outlets.delete(key)
      return outletFor(key, topic, signal)
    }
    const making = openOutlet(key, topic, signal)
    outlets.set(key, making)
    making.catch(() => {
      if (outlets.get(key) === making) outlets.delete(key)
    })
    void closeOldest()
    return making
  }

  async function openOutlet(key: string, topic: string, signal: AbortSignal): Promise<Outlet> {
    const wire = await link.ready(signal)
    // After a lost connection the server may have lost the topic too. That it cannot be made again does not matter here: the publish tells.
    await topology.restore(topic, signal).catch(() => {})
    let outlet: Outlet | null = null
    let early: End | null = null
    const channel = await unlessLost(
      wire,
      signal,
      openChannel(wire, true, (error) => {
        early = {
          error: error ?? wire.lost.reason ?? fault('UNAVAILABLE', 'the channel was closed'),
          alone: outlet?.open === 1 && !wire.lost.aborted,
        }
        if (outlet !== null) outlet.ended = early
        if (explain(early.error).code === 'NOT_FOUND') topology.doubt(topic)
      }),
    )
    outlet = { wire, channel, ended: early, proven: false, proving: null, returned: new Map(), open: 0, usedAt: ++uses }
    const { returned } = outlet
    channel.on('return', (message) => {
      const name = nameOf(message)
      returned.set(name, (returned.get(name) ?? 0) + 1)
      if (key.startsWith('own')) topology.doubt(topic)
    })
    return outlet
  }

  async function closeOldest(): Promise<void> {
    if (outlets.size <= mostOutlets) return
    let oldest: { readonly key: string; readonly outlet: Outlet } | null = null
    for (const [key, making] of [...outlets]) {
      const outlet = await making.catch(() => null)
      if (outlet !== null && outlet.open === 0 && outlet.proving === null && (oldest === null || outlet.usedAt < oldest.outlet.usedAt))
        oldest = { key, outlet }
    }
    if (oldest === null || oldest.outlet.open > 0 || oldest.outlet.proving !== null) return
    outlets.delete(oldest.key)
    await oldest.outlet.channel.close().catch(() => {})
  }

  /** Writes one message; `done` is called once, with its failure or null. */
  function write(
    outlet: Outlet,
    message: Outgoing,
    exchange: string,
    key: string,
    index: number,
    done: (failure: Failure | null) => void,
  ): void {
    const failed = (error: unknown): void => done({ index, outcome: 'failed', error })
    if ((message.body?.length ?? 0) > tooLarge) return failed(oversize(tooLarge, null))
    if (outlet.ended !== null) return failed(refused(explain(outlet.ended.error).retryable ? outlet.ended.error : gone(outlet.ended.error)))
    try {
      const { body, options } = encode(message)
      outlet.channel.publish(exchange, key, body, options as Options.Publish, (error: unknown) => {
        outlet.open--
        outlet.wire.heard()
        if (error === null || error === undefined) {
          if (outlet.returned.size === 0) return done(null)
          const name = `${exchange}\n${key}\n${message.id}`
          const count = outlet.returned.get(name) ?? 0
          if (count === 0) return done(null)
          if (count === 1) outlet.returned.delete(name)
          else outlet.returned.set(name, count - 1)
          return failed(fault('NOT_FOUND', `no queue takes what is sent to ${where(exchange, key)}`, 'failed'))
        }
        if (outlet.ended === null && !isNack(error)) return done({ index, outcome: 'unknown', error: outlet.wire.lost.reason ?? error })
        if (outlet.ended === null)
          return done({ index, outcome: 'unknown', error: fault('UNAVAILABLE', 'the server did not take the message', 'unknown', error) })
        const limit = limitIn(outlet.ended.error)
        if (limit !== null) {
          tooLarge = Math.min(tooLarge, limit)
          if ((message.body?.length ?? 0) > limit) return failed(oversize(limit, outlet.ended.error))
        }
        // The server ended the channel, so it has seen this message and refused it; a lost connection leaves that open.
        if (limit === null && outlet.ended.alone && isRefusal(outlet.ended.error))
          return failed(denied(outlet.ended.error, where(exchange, key)))
        done({ index, outcome: 'unknown', error: limit === null ? outlet.ended.error : gone(outlet.ended.error) })
      })
      outlet.open++
    } catch (error) {
      failed(whyOver(outlet) ?? unwritable(error))
    }
  }

  // The first message of a channel goes alone: what the server then refuses is known to be refused, and nothing else was on its way.
  async function prove(
    outlet: Outlet,
    run: (done: (failure: Failure | null) => void) => void,
    done: (failure: Failure | null) => void,
  ): Promise<void> {
    let finish = (): void => {}
    outlet.proving = new Promise((resolve) => {
      finish = resolve
    })
    run((failure) => {
      outlet.proving = null
      if (failure === null || explain(failure.error).code === 'NOT_FOUND') outlet.proven = outlet.ended === null
      done(failure)
      finish()
    })
    await outlet.proving
  }

  async function publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport> {
    if (closed()) return failedAll(batch, fault('CLOSED', 'the session is closed', 'failed'))
    if (signal.aborted) return failedAll(batch, cancelled('failed'))
    if (batch.length > capabilities.limits.batch)
      return failedAll(
        batch,
        fault('INVALID_ARGUMENT', `a batch of ${batch.length} is over the limit of ${capabilities.limits.batch}`, 'failed'),
      )
    const report = createReport(batch.length)
    signal.addEventListener('abort', report.abort, { once: true })
    const groups = new Map<string, number[]>()
    for (let index = 0; index < batch.length; index++) {
      const key = outletKey(batch[index] as Outgoing)
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [index])
      else group.push(index)
    }
    for (const [key, indexes] of groups) void send(key, indexes, batch, signal, report)
    try {
      return await report.result
    } finally {
      signal.removeEventListener('abort', report.abort)
    }
  }

  async function send(
    key: string,
    indexes: readonly number[],
    batch: readonly Outgoing[],
    signal: AbortSignal,
    report: Report,
  ): Promise<void> {
    const { topic, role } = (batch[indexes[0] as number] as Outgoing).place
    let next = 0
    try {
      // Only lanes may have to be made.
      const queues = role === 'main' ? null : await queuesFor(indexes, batch, signal)
      const outlet = await outletFor(key, topic, signal)
      const known = topology.known(topic)
      const exchange = queues === null ? topology.exchangeOf(topic) : ''
      const fixed = known?.native.routingKey ?? (known?.plan.keyed === true ? null : '')
      while (next < indexes.length) {
        if (signal.aborted) return
        const index = indexes[next] as number
        const message = batch[index] as Outgoing
        const routingKey =
          queues === null ? (fixed ?? (message.partition === null ? '' : String(message.partition))) : (queues[next] as string)
        const done = (failure: Failure | null): void => report.done(index, failure)
        if (outlet.proven || outlet.ended !== null) {
          next++
          report.wrote(index)
          write(outlet, message, exchange, routingKey, index, done)
        } else if (outlet.proving !== null) await outlet.proving
        else {
          next++
          report.wrote(index)
          await prove(outlet, (told) => write(outlet, message, exchange, routingKey, index, told), done)
        }
      }
    } catch (error) {
      for (; next < indexes.length; next++) {
        const index = indexes[next] as number
        report.done(index, { index, outcome: 'failed', error: signal.aborted ? cancelled('failed') : refused(error) })
      }
    }
  }

  async function queuesFor(indexes: readonly number[], batch: readonly Outgoing[], signal: AbortSignal): Promise<readonly string[]> {
    const queues: string[] = []
    for (const index of indexes) {
      const { place, partition } = batch[index] as Outgoing
      queues.push(place.role === 'dead' || partition === null ? layout.outQueue(place) : await topology.lane(place, partition, signal))
    }
    return queues
  }

  return { publish }
}

// The words of the client for the server's refusal; any other is the end of the channel.
const isNack = (error: unknown): boolean => error instanceof Error && error.message === 'message nacked'

// A function, because what is called in between may end it.
const whyOver = ({ ended }: Outlet): Error | null => (ended === null ? null : refused(ended.error))

interface Report {
  readonly result: Promise<PublishReport>
  wrote(index: number): void
  done(index: number, failure: Failure | null): void
  readonly abort: () => void
}

// Resolves when every message has its outcome, or at once when it is given up: what was written is unknown then, the rest failed.
function createReport(size: number): Report {
  const failures: Failure[] = []
  const finished = new Uint8Array(size)
  const written = new Uint8Array(size)
  let left = size
  let resolve: (report: PublishReport) => void = () => {}
  const result = new Promise<PublishReport>((settle) => {
    resolve = settle
  })
  function done(index: number, failure: Failure | null): void {
    if (finished[index] === 1) return
    finished[index] = 1
    if (failure !== null) failures.push(failure)
    if (--left === 0) resolve(failures.length === 0 ? stored : { failures, position: () => null })
  }
  if (size === 0) resolve(stored)
  return {
    result,
    wrote(index) {
      written[index] = 1
    },
    done,
    abort() {
      for (let index = 0; index < size; index++) {
        const outcome = written[index] === 1 ? 'unknown' : 'failed'
        done(index, { index, outcome, error: cancelled(outcome) })
      }
    },
  }
}

const cancelled = (outcome: 'failed' | 'unknown'): Error => fault('CANCELLED', 'the publish was given up', outcome)

function failedAll(batch: readonly Outgoing[], error: Error): PublishReport {
  return { failures: batch.map((_, index) => ({ index, outcome: 'failed' as const, error })), position: () => null }
}

/** What a return and a confirm have in common. */
function nameOf({ fields, properties }: Message): string {
  const id: unknown = properties.headers?.cloudEvents_id
  return `${fields.exchange}\n${fields.routingKey}\n${String(id)}`
}

function isRefusal(error: unknown): boolean {
  const { code } = explain(error)
  return code !== 'UNAVAILABLE' && code !== 'INTERNAL'
}

/** What the server refused of one message that it surely did not store. */
function denied(error: unknown, to: string): Error {
  return explain(error).code === 'UNAUTHORIZED'
    ? fault('UNAUTHORIZED', `the server does not let us publish to ${to}: ${error instanceof Error ? error.message : ''}`, 'failed', error)
    : refused(error)
}

const where = (exchange: string, key: string): string => (exchange === '' ? `"${key}"` : `exchange "${exchange}"`)

function limitIn(error: unknown): number | null {
  const found = /message size \d+ (?:is )?larger than (?:configured )?max(?:imum)? size (\d+)/i.exec(
    error instanceof Error ? error.message : '',
  )
  return found?.[1] === undefined ? null : Number(found[1])
}

const oversize = (limit: number, cause: unknown): Error =>
  fault(
    'TOO_LARGE',
    `at most ${limit} bytes are taken${cause === null ? '' : ' (max_message_size of the server)'}`,
    'failed',
    cause ?? undefined,
  )

/** The channel ended for a reason that was another message's. */
const gone = (cause: unknown): Error => fault('UNAVAILABLE', 'the channel was closed because of another message', 'unknown', cause)

// What the client could not write: a header block over 64 KiB, a header name over 255 bytes.
function unwritable(error: unknown): Error {
  const text = error instanceof Error ? error.message : String(error)
  return error instanceof RangeError
    ? fault('TOO_LARGE', `its headers do not fit into one frame: ${text}`, 'failed', error)
    : fault('INVALID_MESSAGE', text, 'failed', error)
}

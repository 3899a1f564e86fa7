// Keeps consuming one queue: opens a channel, consumes, and does so again after every way in which that can end.

import { setMaxListeners } from 'node:events'
import type { AdapterContext, Assignment, Source } from '@posthorn/core/adapter'
import type { Channel, ConsumeMessage } from 'amqplib'
import { answered } from './answers.ts'
import type { AssignmentHost } from './assignment.ts'
import { QueueAssignment } from './assignment.ts'
import type { Link, Wire } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { explain } from './explain.ts'
import type { Topology } from './topology.ts'

export interface ReaderOptions {
  readonly link: Link
  readonly topology: Topology
  readonly context: AdapterContext
  readonly source: Source
  readonly role: Assignment['role']
  readonly partition: number | null
  /** Begins with the consumer, not with the first message. */
  readonly eager: boolean
  /** Alone on the queue, which is not ours and may not see to that itself. */
  readonly exclusive: boolean
  readonly priority: number | undefined
  /** The queue to consume; on the channel, because it may have to be made there. */
  queue(channel: Channel): Promise<string> | string
  repeated(message: ConsumeMessage, wire: Wire): boolean
  begun(assignment: QueueAssignment): void
  ended(assignment: QueueAssignment): void
  /** It cannot go on: refused for good. */
  failed(error: unknown): void
}

export interface QueueReader {
  /** Resolves when the server accepted the consumer for the first time; rejects when it refused it, or when stopped before. */
  readonly accepted: Promise<void>
  readonly stopped: boolean
  /** What it owns now. */
  readonly assignment: QueueAssignment | null
  /** Consumes no more once what it owns has ended; with nothing owned, at once. */
  stop(): void
  /** Resolves when it is over. */
  readonly done: Promise<void>
}

const shortestPauseMs = 500
const longestPauseMs = 5000
/** An exclusive queue is asked for this often while somebody else has it, in milliseconds. */
const sparePauseMs = 2000
const mostRefusals = 3

export function readQueue(options: ReaderOptions): QueueReader {
  const { link, topology, context, source } = options
  const { clock } = context
  const stopped = new AbortController()
  setMaxListeners(0, stopped.signal)
  let current: QueueAssignment | null = null
  let channel: Channel | null = null
  let failures = 0
  let refusals = 0
  let accept: () => void = () => {}
  let refuse: (error: unknown) => void = () => {}
  let wasAccepted = false
  const accepted = new Promise<void>((resolve, reject) => {
    accept = () => {
      wasAccepted = true
      resolve()
    }
    refuse = reject
  })
  accepted.catch(() => {})

  async function consumeOnce(): Promise<void> {
    const wire = await link.ready(stopped.signal)
    // What cannot be made again may still be consumed; if not, that is refused below.
    await topology.restore(source.topic, stopped.signal).catch(() => {})
    let over: () => void = () => {}
    let reason: unknown = null
    let cancelled = false
    const ended = new Promise<void>((resolve) => {
      over = resolve
    })
    const host: AssignmentHost = {
      context,
      source,
      wire,
      role: options.role,
      partition: options.partition,
      repeated: (message) => options.repeated(message, wire),
      begun: options.begun,
      over(assignment) {
        if (current === assignment) current = null
        if (assignment.begun) options.ended(assignment)
        over()
      },
    }
    const assignment = new QueueAssignment(host)
    const opening = openChannel(wire, false, (error) => {
      reason = error
      assignment.end()
    })
    const mine = await unlessLost(wire, stopped.signal, answered(wire, clock, opening)).catch((error: unknown) => {
      opening.then((late) => late.close()).catch(() => {})
      throw error
    })
    channel = mine
    assignment.attach(mine)
    current = assignment
    try {
      const consuming = (async () => {
        const queue = await options.queue(mine)
        if (!options.exclusive && source.kind !== 'broadcast') assignment.consumes(queue)
        await answered(wire, clock, mine.prefetch(source.maxUnsettled))
        wire.deliveries.receive(mine, assignment.keyed, (tag, content) => assignment.receiveRead(tag, content))
        const accepting = mine.consume(
          queue,
          (message) => {
            if (message !== null) return assignment.receive(message)
            // The queue was deleted, or its server went down. The channel lives, and is of no use.
            cancelled = true
            topology.doubt(source.topic)
            void assignment.release()
          },
          {
            exclusive: options.exclusive,
            ...(options.priority === undefined ? {} : { priority: options.priority }),
          },
        )
        await answered(wire, clock, accepting)
      })()
      await unlessLost(wire, stopped.signal, consuming)
    } catch (error) {
      await assignment.release()
      throw reason ?? error
    }
    failures = 0
    refusals = 0
    accept()
    if (options.eager) assignment.begin()
    await ended
    channel = null
    if (cancelled) failures++
    if (reason !== null && reason !== undefined) throw reason
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      try {
        await consumeOnce()
      } catch (error) {
        if (stopped.signal.aborted) break
        const { code } = explain(error)
        if (options.exclusive && code === 'UNAUTHORIZED' && /exclusive/i.test(String(error))) {
          // Somebody else has it: a spare member is healthy, and owns nothing.
          accept()
          await pause(sparePauseMs)
          continue
        }
        failures++
        if (code === 'NOT_FOUND') topology.doubt(source.topic)
        const forGood =
          code === 'UNAUTHORIZED' || code === 'CONFLICT' || code === 'INVALID_ARGUMENT' || code === 'UNSUPPORTED' || code === 'NOT_FOUND'
        if (code === 'CLOSED') break
        if (
          forGood &&
          link.wire !== null &&
          (code === 'UNAUTHORIZED' || ++refusals >= (wasAccepted ? Number.POSITIVE_INFINITY : mostRefusals))
        ) {
          refuse(error)
          if (wasAccepted) options.failed(error)
          return
        }
      }
      if (failures > 0 && !stopped.signal.aborted) await pause(Math.min(longestPauseMs, shortestPauseMs * 2 ** Math.min(failures - 1, 5)))
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        stopped.signal.removeEventListener('abort', end)
        resolve()
      }
      const cancel = clock.timer(ms * (1 + context.random() / 2), end)
      stopped.signal.addEventListener('abort', end, { once: true })
      if (stopped.signal.aborted) end()
    })
  }

  const done = run()
    .catch((error: unknown) => {
      refuse(error)
      if (wasAccepted) options.failed(error)
    })
    .finally(() => refuse(new Error('the subscription was given up')))

  return {
    accepted,
    done,
    get stopped() {
      return stopped.signal.aborted
    },
    get assignment() {
      return current
    },
    stop() {
      if (stopped.signal.aborted) return
      stopped.abort()
      if (channel === null || current === null || !current.begun) void current?.release()
    },
  }
}

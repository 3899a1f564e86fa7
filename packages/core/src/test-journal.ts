// What a test broker knows: every message that was stored through it, every handler it saw start and end, and what the
// telemetry of its broker said. It looks at the contract's calls, at its own middleware and at the diagnostics channels,
// so it works on any server.

import { channel } from 'node:diagnostics_channel'
import { realClock } from './clock.ts'
import type { Adapter, Assignment, Capabilities, Outgoing, Received, Session } from './contract.ts'
import type { Message } from './message.ts'
import type { Middleware } from './middleware.ts'
import type { TelemetryMessage, TelemetryName } from './telemetry.ts'

/** A message that was stored for a topic. */
export interface StoredRecord {
  readonly content: Received
  /** Null where the server has no positions. */
  position(): string | null
}
export interface HandledRecord {
  readonly group: string
  readonly message: Message
}
/** One line of `TestBroker.log`. */
export interface LogRecord {
  /** The name of a telemetry event: `sent`, `start`, `done`, `failed`, `dead-lettered`, … */
  readonly event: string
  readonly id: string
}
/** What happened on one topic, each in order. */
export interface TopicJournal {
  readonly sent: readonly StoredRecord[]
  readonly handled: readonly HandledRecord[]
  readonly log: readonly LogRecord[]
  /** Dead letters that were written here; a reason to look at them again. */
  readonly deadLetters: number
}
export interface Journal {
  topic(name: string): TopicJournal
  readonly topics: readonly string[]
  /** Sees handlers start and end. To be the outermost middleware. */
  readonly middleware: Middleware
  /** A message was handed out without a handler. */
  started(message: Message): void
  /** The same adapter, seen through: nothing is changed or delayed. */
  watch(adapter: Adapter): Adapter
  /** What the server gave when the adapter opened; null before. */
  readonly capabilities: Capabilities | null
  /** Identities of the connections, in the order they were opened. */
  readonly instances: readonly string[]
  /** Is a message still held back that was sent with a delay? */
  delayed(now: number): boolean
  /** Handlers that run. */
  readonly running: number
  /** Grows with everything that happens. */
  readonly moves: number
  /** When it grew last, in real monotonic milliseconds. */
  readonly movedAt: number
  stop(): void
}

const watchedEvents: readonly TelemetryName[] = [
  'start',
  'done',
  'failed',
  'parked',
  'postponed',
  'dead-lettered',
  'dead-letter-failed',
  'dropped',
  'expired',
  'invalid',
  'repeat',
  'finished-again',
  'replayed',
  'timed-out',
]
// A test that makes more than this should ask for what it waits for earlier.
const mostRecords = 100_000
// So many other things may happen between the storing of a message and the answer.
const lateRecords = 1_000

interface Own {
  readonly sent: StoredRecord[]
  readonly handled: HandledRecord[]
  readonly log: LogRecord[]
  deadLetters: number
}

/** Starts to write things down. `mine` says whether a group of a topic is consumed by this broker: telemetry is shared by the process. */
export function createJournal(options: { readonly broker: string; now(): number; mine(topic: string, group: string): boolean }): Journal {
  const topics = new Map<string, Own>()
  const starts = new Map<string, Message>()
  const instances: string[] = []
  const laned = new Set<string>()
  let dues: number[] = []
  let capabilities: Capabilities | null = null
  let running = 0
  let moves = 0
  let movedAt = realClock.monotonic()

  const startName = (topic: string, group: string, id: string): string => `${topic}\n${group}\n${id}`

  function own(name: string): Own {
    let found = topics.get(name)
    if (found === undefined) {
      found = { sent: [], handled: [], log: [], deadLetters: 0 }
      topics.set(name, found)
    }
    return found
  }
  function moved(): void {
    moves += 1
    movedAt = realClock.monotonic()
  }
  function keep<T>(list: T[], item: T): void {
    if (list.length < mostRecords) list.push(item)
    moved()
  }

  function started(message: Message): void {
    starts.set(startName(message.topic, message.group, message.id), message)
    moved()
  }

  // Where delays are lanes a message is stored for its topic more than once; it was sent when it was stored first.
  function stored(outgoing: Outgoing, position: () => string | null): void {
    const { place, transport } = outgoing
    const due = outgoing.delayMs > 0 ? options.now() + outgoing.delayMs : Number(transport?.['ph-due'] ?? 0)
    if (due > options.now()) dues.push(due)
    if (place.role === 'dead') own(place.topic).deadLetters += 1
    moved()
    if (place.role !== 'main' && place.role !== 'delay') return
    const lane = `${place.topic}\n${outgoing.attributes.source ?? ''}\n${outgoing.id}`
    if (place.role === 'delay' ? laned.has(lane) : laned.delete(lane)) return
    if (place.role === 'delay') laned.add(lane)
    const topic = own(place.topic)
    keep(topic.sent, { content: outgoing, position })
    keepSent(topic.log, outgoing.id)
  }

  // The embedded server hands a message out before its sender hears that it is stored; in the log, sent comes first.
  function keepSent(log: LogRecord[], id: string): void {
    let at = log.length
    for (let i = log.length - 1; i >= 0 && i >= log.length - lateRecords; i--) {
      const each = log[i] as LogRecord
      if (each.id !== id) continue
      if (each.event === 'sent') {
        at = log.length
        break
      }
      at = i
    }
    if (log.length < mostRecords) log.splice(at, 0, { event: 'sent', id })
    moved()
  }

  const hear = (said: unknown): void => {
    const { broker, event, topic, group, id } = said as TelemetryMessage
    if (broker !== options.broker || topic === undefined || id === undefined) return
    if (group !== undefined && !options.mine(topic, group)) return
    if (event === 'done' && group !== undefined) {
      const message = starts.get(startName(topic, group, id))
      if (message !== undefined) keep(own(topic).handled, { group, message })
    }
    keep(own(topic).log, { event, id })
  }
  for (const name of watchedEvents) channel(`posthorn:${name}`).subscribe(hear)

  const middleware: Middleware = async (context, next) => {
    if (context.kind === 'send') return next()
    for (const message of context.messages) started(message)
    running += 1
    try {
      await next()
    } finally {
      running -= 1
      moved()
    }
  }

  function watchAssignment(assignment: Assignment): Assignment {
    return {
      topic: assignment.topic,
      role: assignment.role,
      partition: assignment.partition,
      leaving: assignment.leaving,
      lost: assignment.lost,
      get aliveUntil() {
        return assignment.aliveUntil
      },
      read: (max) => assignment.read(max),
      async settle(tokens, outputs) {
        const result = await assignment.settle(tokens, outputs)
        if (result === 'settled') for (const output of outputs ?? []) stored(output, () => null)
        return result
      },
      release: () => assignment.release(),
    }
  }

  function watchSession(session: Session): Session {
    capabilities = session.capabilities
    return {
      capabilities: session.capabilities,
      client: session.client,
      declare: (topology, signal) => session.declare(topology, signal),
      async publish(batch, signal) {
        const report = await session.publish(batch, signal)
        const failed = new Set(report.failures.map((failure) => failure.index))
        batch.forEach((outgoing, index) => {
          if (!failed.has(index)) stored(outgoing, () => report.position(index))
        })
        return report
      },
      async subscribe(source, signal) {
        const assignments = await session.subscribe(source, signal)
        return (async function* () {
          for await (const assignment of assignments) yield watchAssignment(assignment)
        })()
      },
      browse: (place, after, max, signal) => session.browse(place, after, max, signal),
      remove: (place, entries, signal) => session.remove(place, entries, signal),
      inspect: (topic, group, signal) => session.inspect(topic, group, signal),
      close: (signal) => session.close(signal),
    }
  }

  return {
    topic: own,
    get topics() {
      return [...topics.keys()]
    },
    middleware,
    started,
    watch: (adapter) => ({
      name: adapter.name,
      best: adapter.best,
      explain: (error) => adapter.explain(error),
      async open(context, signal) {
        const session = await adapter.open(context, signal)
        instances.push(context.instance)
        return watchSession(session)
      },
    }),
    get capabilities() {
      return capabilities
    },
    instances,
    delayed(now) {
      if (dues.length > 0) dues = dues.filter((due) => due > now)
      return dues.length > 0
    },
    get running() {
      return running
    },
    get moves() {
      return moves
    },
    get movedAt() {
      return movedAt
    },
    stop() {
      for (const name of watchedEvents) channel(`posthorn:${name}`).unsubscribe(hear)
    },
  }
}

// Storing messages at the server: where each goes, what is refused, what waits for room.

import type { Clock, Outgoing, Place, PublishFailure, PublishReport } from '../contract.ts'
import type { DelayHeap } from './delayed.ts'
import { fault } from './explain.ts'
import type { Operation, RawMessage } from './faults.ts'
import type { EntryParts, Log } from './log.ts'
import { Entry, recordBytes, sizeOf, slabOf } from './log.ts'
import type { Settings } from './options.ts'
import type { DeadPlace, Topic } from './topic.ts'

/** The server's state, as the parts of the server share it. */
export interface Hub {
  readonly settings: Settings
  readonly topics: Map<string, Topic>
  readonly heap: DelayHeap
  readonly clock: Clock
  readonly random: () => number
  /** Throws UNAUTHORIZED if the right was withdrawn. */
  check(operation: Operation, topic: string): void
  /** A delayed message was stored. */
  armDelay(): void
  /** A silent server dropped a message that no group would get. */
  dropped: number
}

/** Where one message goes. `dead` is set for dead letters. */
interface Target {
  readonly topic: Topic
  readonly log: Log
  readonly dead: DeadPlace | null
}

const refused = (code: 'NOT_FOUND' | 'CONFLICT' | 'UNSUPPORTED' | 'INVALID_ARGUMENT' | 'TOO_LARGE', text: string): Error =>
  fault(code, `embedded broker: ${text}`, 'failed')

/** Topic of a name. Throws NOT_FOUND. */
export function topicOf(hub: Hub, name: string): Topic {
  const topic = hub.topics.get(name)
  if (topic === undefined) throw refused('NOT_FOUND', `there is no topic "${name}"`)
  return topic
}

class Report implements PublishReport {
  readonly failures: readonly PublishFailure[]
  readonly #partitions: readonly number[]
  readonly #offsets: readonly number[]

  constructor(failures: readonly PublishFailure[], partitions: readonly number[], offsets: readonly number[]) {
    this.failures = failures
    this.#partitions = partitions
    this.#offsets = offsets
  }

  position(index: number): string | null {
    const offset = this.#offsets[index]
    return offset === undefined || offset < 0 ? null : `${this.#partitions[index]}:${offset}`
  }
}

const none: readonly PublishFailure[] = Object.freeze([])

/** All of a batch failed for one reason. */
export function failedReport(size: number, outcome: 'failed' | 'unknown', error: unknown): PublishReport {
  return new Report(
    Array.from({ length: size }, (_, index) => ({ index, outcome, error })),
    [],
    [],
  )
}

/** Must this batch wait until something leaves one of its topics? */
export function lacksRoom(hub: Hub, batch: readonly Outgoing[]): boolean {
  let last: Place | null = null
  for (const { place } of batch) {
    if (place === last) continue
    last = place
    // Retries and dead letters take the place of something that is stored already; waiting for room here would never end.
    if (place.role !== 'main' && place.role !== 'delay') continue
    const topic = hub.topics.get(place.topic)
    if (topic === undefined) continue
    const usage = place.role === 'main' ? topic.usage : topic.laneUsage
    const full = (): boolean => usage.bytes >= hub.settings.capacityBytes || usage.messages >= hub.settings.capacityMessages
    if (!full()) continue
    topic.evict(hub.clock.now(), true)
    if (full()) return true
  }
  return false
}

/** Messages of one place: which log each goes to. Spreads those without a partition in runs. */
class Router {
  readonly place: Place
  readonly #topic: Topic
  readonly #hub: Hub
  readonly #dead: DeadPlace | null
  readonly #logs: readonly Log[]
  readonly #run: number
  #left = 0
  #at = 0

  constructor(hub: Hub, place: Place, batchSize: number) {
    hub.check('publish', place.topic)
    const topic = topicOf(hub, place.topic)
    if (topic.retentionMs !== null) topic.evict(hub.clock.now(), false)
    this.#hub = hub
    this.place = place
    this.#topic = topic
    this.#dead = place.role === 'dead' && place.group !== null ? topic.deadOf(place.group) : null
    this.#logs = topic.logs(place)
    // Long enough that a batch wakes few readers, short enough that it reaches all of them.
    this.#run = Math.max(16, Math.ceil(batchSize / topic.main.length))
    if (this.#logs.length === 0)
      throw refused(
        'NOT_FOUND',
        `topic "${topic.name}" has no ${place.role} place${place.group === null ? '' : ` for group "${place.group}"`}`,
      )
  }

  target(message: Outgoing): Target {
    const { role } = this.place
    const logs = this.#logs
    let partition = message.partition ?? 0
    if (logs.length === 1) partition = 0
    else if (role === 'main' || role === 'retry') {
      if (message.partition === null) {
        if (this.#left-- <= 0) {
          this.#at = this.#topic.spread()
          this.#left = this.#run - 1
        }
        partition = this.#at
      }
    }
    const log = logs[partition]
    if (log === undefined)
      throw refused('CONFLICT', `partition ${partition} of topic "${this.#topic.name}" does not exist: it has ${logs.length}`)
    const { capabilities } = this.#hub.settings
    if (message.delayMs !== 0) {
      if (capabilities.delay === 'none') throw refused('UNSUPPORTED', 'this server has no delay of its own')
      if (!(message.delayMs > 0) || message.delayMs > capabilities.limits.delayMs) {
        throw refused('INVALID_ARGUMENT', `a delay must be between 0 and ${capabilities.limits.delayMs} ms`)
      }
    }
    return { topic: this.#topic, log, dead: this.#dead }
  }
}

function tooLarge(hub: Hub, message: Outgoing): void {
  const limit = hub.settings.capabilities.limits.messageBytes
  const { body, headers, transport } = message
  const bytes = (body?.length ?? 0) + (headers === null ? 0 : recordBytes(headers)) + (transport === null ? 0 : recordBytes(transport))
  if (bytes > limit) throw refused('TOO_LARGE', `a message of ${bytes} bytes is over the limit of ${limit}`)
}

const noAttributes: Readonly<Record<string, string>> = Object.freeze({})

/** What a wire without headers carries: the body. The slot is an address, not a header. */
const bare = (message: Outgoing): EntryParts => ({
  id: null,
  key: null,
  time: null,
  expiresAt: null,
  attributes: noAttributes,
  headers: null,
  transport: null,
  slot: message.slot,
})

function place(hub: Hub, target: Target, entry: Entry, delayMs: number): void {
  const { log, dead, topic } = target
  if (delayMs > 0) {
    hub.heap.add(entry.storedAt + delayMs, topic, log, entry)
    hub.armDelay()
    return
  }
  if (dead === null || entry.slot === null) {
    log.append(entry)
    return
  }
  const before = dead.slots.get(entry.slot)
  if (before !== undefined && !before.gone) log.replace(before, entry)
  else log.append(entry)
  dead.slots.set(entry.slot, entry)
}

/** Tells the readers of these logs that something came. */
export function announce(hub: Hub, logs: readonly Log[]): void {
  const { random } = hub.settings
  const order = random === null || logs.length < 2 ? logs : [...logs].sort(() => random() - 0.5)
  for (const log of order) for (const reader of log.readers) reader.arrived()
}

/**
 * Is a body kept as it is? Nobody changes what was given to `publish`. A small one is copied, which costs less than an object
 * of its own; so is a piece of a large buffer, which would stay as long as the piece.
 */
const kept = (body: Uint8Array): boolean => body.length >= 512 && body.buffer.byteLength - body.length <= 8192

/** Stores a batch; each message by itself is stored or refused. */
export function store(hub: Hub, batch: readonly Outgoing[]): PublishReport {
  const { capabilities } = hub.settings
  const now = hub.clock.now()
  let total = 0
  for (const { body } of batch) if (body !== null && !kept(body)) total += body.length
  const slab = slabOf(total)
  const touched: Log[] = []
  const partitions: number[] = []
  const offsets: number[] = []
  const failures: PublishFailure[] = []
  let router: Router | null = null
  let start = 0
  for (let index = 0; index < batch.length; index++) {
    const message = batch[index] as Outgoing
    const length = message.body?.length ?? 0
    let position = -1
    let partition = 0
    try {
      if (router === null || router.place !== message.place) router = new Router(hub, message.place, batch.length)
      tooLarge(hub, message)
      const target = router.target(message)
      const { log, topic } = target
      partition = log.partition
      if (capabilities.retention === 'queue' && message.place.role === 'main' && topic.groups.size === 0 && topic.broadcasts.size === 0) {
        if (capabilities.unroutable === 'reported') throw refused('NOT_FOUND', `topic "${topic.name}" has no group`)
        hub.dropped++
      } else {
        const { body } = message
        const own = body !== null && kept(body)
        if (body !== null && !own) slab.set(body, start)
        const parts = capabilities.headers === 'envelope' ? bare(message) : message
        const entry = new Entry(parts, own ? body : body && slab, own ? 0 : start, length, sizeOf(parts, length), now)
        place(hub, target, entry, message.delayMs)
        if (message.delayMs === 0) {
          position = entry.offset
          if (touched[touched.length - 1] !== log && !touched.includes(log)) touched.push(log)
        }
      }
    } catch (error) {
      failures.push({ index, outcome: 'failed', error })
    }
    if (message.body !== null && !kept(message.body)) start += length
    if (capabilities.positions === 'native') {
      partitions.push(partition)
      offsets.push(position)
    }
  }
  announce(hub, touched)
  return new Report(failures.length === 0 ? none : failures, partitions, offsets)
}

/** Would each of these be stored? Stores nothing. */
export function acceptable(hub: Hub, outputs: readonly Outgoing[]): boolean {
  try {
    for (const output of outputs) {
      tooLarge(hub, output)
      new Router(hub, output.place, 1).target(output)
    }
    return true
  } catch {
    return false
  }
}

/** Stores what a client of another kind wrote. */
export function storeRaw(hub: Hub, topicName: string, raw: RawMessage): string {
  const topic = topicOf(hub, topicName)
  const key = raw.key ?? null
  const partition = raw.partition ?? (key === null ? topic.spread() : hash(key) % topic.main.length)
  const log = topic.main[partition]
  if (log === undefined) throw refused('INVALID_ARGUMENT', `topic "${topicName}" has no partition ${partition}`)
  // Foreign clients have no headers either where the wire has none.
  const wire = hub.settings.capabilities.headers === 'native'
  const parts: EntryParts = {
    id: wire ? (raw.id ?? null) : null,
    key: wire ? key : null,
    time: wire ? (raw.time ?? null) : null,
    expiresAt: wire ? (raw.expiresAt ?? null) : null,
    attributes: wire ? Object.freeze({ ...raw.attributes }) : noAttributes,
    headers: wire ? copied(raw.headers) : null,
    transport: wire ? copied(raw.transport) : null,
    slot: null,
    raw:
      raw.undecodable === undefined
        ? null
        : { undecodable: raw.undecodable, headers: raw.rawHeaders === undefined ? null : raw.rawHeaders },
  }
  const slab = raw.body === null ? null : Buffer.from(raw.body)
  const entry = new Entry(parts, slab, 0, slab?.length ?? 0, sizeOf(parts, slab?.length ?? 0), hub.clock.now())
  log.append(entry)
  const position = `${log.partition}:${entry.offset}`
  announce(hub, [log])
  return position
}

const copied = (record: Readonly<Record<string, string>> | null | undefined): Readonly<Record<string, string>> | null =>
  record == null ? null : { ...record }

/** Any hash but core's: a foreign client need not know that one. */
function hash(key: string): number {
  let value = 0
  for (let index = 0; index < key.length; index++) value = (value * 31 + key.charCodeAt(index)) >>> 0
  return value
}

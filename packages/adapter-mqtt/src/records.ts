// Retained messages that are looked at: the records of topics and groups, which are watched from the first look on, and whole folders
// (members, dead letters), which are read once.

import type { IPublishPacket } from 'mqtt'
import { fault } from './explain.ts'
import { echoTopic, groupIn, groupRecords, matches, presences, topicIn, topicRecord } from './layout.ts'
import type { Filter, Wire } from './wire.ts'

/** What the server has of a topic. */
export interface Known {
  partitions: number | null
  readonly groups: Map<string, number>
}

/** See the file. */
export interface Records {
  /** What there is of a topic: the first look asks the server, from then on it is kept up to date. */
  look(topic: string): Promise<Known>
  /** What is known without asking. */
  known(topic: string): Known | undefined
  /** Calls `each` with all that is retained under these filters, which are of one topic, in no order, and resolves when that was all. */
  read(filters: readonly string[], each: (packet: IPublishPacket) => void): Promise<void>
  /** Members of a topic that are there, by group. */
  members(topic: string): Promise<readonly IPublishPacket[]>
  /** Writes a retained message. Resolves with the reason. */
  write(topic: string, value: unknown): Promise<number>
  /** What the main connection says first. */
  greet(wire: Wire): Promise<void>
  /** A message came on the main connection. */
  take(packet: IPublishPacket): void
}

// Servers that work on many things at once may send a retained message after the answer to something that was asked later.
const quietMs = 40
/** Nothing at all came for so long: no answer. */
const silenceMs = 10_000

/** `current` is the main connection, or null while it is away. */
export function createRecords(options: {
  readonly id: string
  readonly current: () => Wire | null
  readonly timer: (ms: number, run: () => void) => () => void
  readonly changed: (topic: string, before: number, after: number | null) => void
  /** A group's record was taken away. */
  readonly groupGone: (topic: string, group: string) => void
}): Records {
  const topics = new Map<string, { readonly known: Known; looked: Promise<unknown> }>()
  const readers = new Set<(packet: IPublishPacket) => void>()
  const fences = new Map<string, (isMine: boolean) => void>()
  const echo = echoTopic(`${options.id}~`)
  let fenceNumber = 0

  const wire = (): Wire => {
    const current = options.current()
    if (current === null) throw fault('UNAVAILABLE', 'mqtt: the connection is away; connecting again', 'failed')
    return current
  }
  const filtersOf = (topic: string): readonly Filter[] => [
    { topic: topicRecord(topic), retained: true },
    { topic: groupRecords(topic), retained: true },
  ]

  /** Resolves when what this connection asked for before has come. */
  function fence(on: Wire): Promise<void> {
    return new Promise((resolve, reject) => {
      const name = String(++fenceNumber)
      const late = (): void => done(fault('TIMED_OUT', 'mqtt: the server does not answer'))
      let cancel = options.timer(silenceMs, late)
      const done = (error: Error | null): void => {
        cancel()
        fences.delete(name)
        if (error === null) resolve()
        else reject(error)
      }
      let arrived = false
      // Whatever still comes puts it off: before the echo the time for an answer begins anew, behind it the quiet does.
      fences.set(name, (isMine) => {
        if (isMine) arrived = true
        cancel()
        cancel = arrived ? options.timer(quietMs, () => done(null)) : options.timer(silenceMs, late)
      })
      // Acknowledged, so that it takes its place behind what waits for acknowledgements.
      on.store(echo, Buffer.from(name), { retain: false }).catch((error: unknown) => done(error as Error))
    })
  }

  function knownOf(topic: string): Known {
    const found = topics.get(topic)
    if (found !== undefined) return found.known
    const known: Known = { partitions: null, groups: new Map() }
    topics.set(topic, { known, looked: Promise.resolve() })
    return known
  }

  const numberIn = (packet: IPublishPacket): number | null => {
    try {
      const { partitions } = JSON.parse(packet.payload.toString()) as { partitions?: unknown }
      return typeof partitions === 'number' && Number.isInteger(partitions) && partitions > 0 ? partitions : null
    } catch {
      return null
    }
  }

  // Of one topic one after the other: a second subscription would send everything again, to the first reader too.
  const turns = new Map<string, Promise<void>>()
  function read(filters: readonly string[], each: (packet: IPublishPacket) => void): Promise<void> {
    const topic = topicIn(filters[0] ?? '')
    const mine = (turns.get(topic) ?? Promise.resolve()).then(() => readNow(filters, each))
    const over = mine.catch(() => {}).then(() => void (turns.get(topic) === over && turns.delete(topic)))
    turns.set(topic, over)
    return mine
  }

  async function readNow(filters: readonly string[], each: (packet: IPublishPacket) => void): Promise<void> {
    const on = wire()
    const reader = (packet: IPublishPacket): void => {
      if (packet.payload.length > 0 && filters.some((filter) => matches(filter, packet.topic))) each(packet)
    }
    readers.add(reader)
    try {
      await on.subscribe(filters.map((topic) => ({ topic, retained: true })))
      await fence(on)
      await on.unsubscribe(filters)
    } finally {
      readers.delete(reader)
    }
  }

  return {
    async look(topic) {
      const found = topics.get(topic)
      if (found !== undefined) {
        await found.looked
        return found.known
      }
      const known: Known = { partitions: null, groups: new Map() }
      const on = wire()
      const looked = on.subscribe(filtersOf(topic)).then(() => fence(on))
      topics.set(topic, { known, looked })
      try {
        await looked
      } catch (error) {
        topics.delete(topic)
        throw error
      }
      return known
    },
    known: (topic) => topics.get(topic)?.known,
    read,
    async members(topic) {
      const found: IPublishPacket[] = []
      await read([presences(topic, null)], (packet) => found.push(packet))
      return found
    },
    write: (topic, value) => wire().store(topic, value === null ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value)), { retain: true }),
    async greet(on) {
      await on.subscribe([{ topic: echo, retained: false }])
      // The server may have come back with less than it had.
      for (const [topic, entry] of topics) {
        entry.known.partitions = null
        entry.known.groups.clear()
        entry.looked = on.subscribe(filtersOf(topic)).then(() => fence(on))
        entry.looked.catch(() => {})
      }
    },
    take(packet) {
      const { topic } = packet
      if (topic === echo) return fences.get(packet.payload.toString())?.(true)
      for (const each of fences.values()) each(false)
      if (topic.startsWith('posthorn/topic/')) {
        const name = topic.slice('posthorn/topic/'.length)
        const known = knownOf(name)
        const partitions = numberIn(packet)
        const before = known.partitions
        known.partitions = partitions
        if (before !== null && before !== partitions) options.changed(name, before, partitions)
      } else if (topic.startsWith('posthorn/group/')) {
        const name = topic.slice(topic.indexOf('/', 'posthorn/group/'.length) + 1)
        const known = knownOf(name)
        const partitions = numberIn(packet)
        if (partitions === null) {
          if (known.groups.delete(groupIn(topic))) options.groupGone(name, groupIn(topic))
        } else known.groups.set(groupIn(topic), partitions)
      } else for (const reader of readers) reader(packet)
    },
  }
}

// One partition's messages in stored order, and how many of its readers still need each.

import type { StoredMessage } from './faults.ts'

/** A message as it is stored. A small body is a piece of a slab that the whole batch shares; a larger one is as it was given. */
export class Entry {
  offset = -1
  /** Readers that have not finished it. */
  left = 0
  /** Some reader was entitled to it once: only then `left` at 0 means "finished", not "nobody asked yet". */
  wanted = false
  gone = false
  readonly id: string | null
  readonly key: string | null
  readonly slab: Uint8Array | null
  readonly start: number
  readonly length: number
  readonly time: number | null
  readonly expiresAt: number | null
  readonly attributes: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>> | null
  readonly transport: Readonly<Record<string, string>> | null
  readonly slot: string | null
  readonly raw: RawParts | null
  readonly bytes: number
  /** When the server took it, also for a delayed one. */
  storedAt: number

  constructor(parts: EntryParts, slab: Uint8Array | null, start: number, length: number, bytes: number, storedAt: number) {
    this.id = parts.id
    this.key = parts.key
    this.slab = slab
    this.start = start
    this.length = length
    this.time = parts.time
    this.expiresAt = parts.expiresAt
    this.attributes = parts.attributes
    this.headers = parts.headers
    this.transport = parts.transport
    this.slot = parts.slot
    this.raw = parts.raw ?? null
    this.bytes = bytes
    this.storedAt = storedAt
  }

  /** A copy of the body that its receiver may do anything with. */
  body(): Buffer | null {
    if (this.slab === null) return null
    const copy = Buffer.allocUnsafe(this.length)
    copy.set(this.slab.subarray(this.start, this.start + this.length))
    return copy
  }
}

/** Room for the bodies of one batch. Small ones share Node's pool; a buffer of its own costs more than copying them. */
export function slabOf(bytes: number): Buffer {
  return bytes < 2048 ? Buffer.allocUnsafe(bytes) : Buffer.allocUnsafeSlow(bytes)
}

/** What a foreign client wrote that is no content. */
export interface RawParts {
  readonly undecodable: string
  readonly headers: Readonly<Record<string, Uint8Array>> | null
}

export interface EntryParts {
  readonly id: string | null
  readonly key: string | null
  readonly time: number | null
  readonly expiresAt: number | null
  readonly attributes: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>> | null
  readonly transport: Readonly<Record<string, string>> | null
  readonly slot: string | null
  readonly raw?: RawParts | null
}

/** Bytes and messages that share one bound. */
export class Usage {
  bytes = 0
  messages = 0

  add(bytes: number): void {
    this.bytes += bytes
    this.messages++
  }

  remove(bytes: number): void {
    this.bytes -= bytes
    this.messages--
  }
}

/** A reader of a log, as the log needs to know it. */
export interface Reader {
  /** Below it nothing is needed any more. */
  readonly low: number
  /** New entries are there. */
  arrived(): void
}

/** An append-only sequence whose finished entries leave. Offsets are never reused. */
export class Log {
  readonly partition: number
  readonly usage: Usage
  /** true: an entry that no reader needs any more leaves at once; false: it stays until it is evicted. */
  eager: boolean
  readonly readers: Reader[] = []
  /** Offset that the next entry gets. */
  end = 0
  #first = 0
  #head = 0
  #entries: (Entry | null)[] = []

  constructor(partition: number, usage: Usage, eager: boolean) {
    this.partition = partition
    this.usage = usage
    this.eager = eager
  }

  /** Offset of the oldest entry that is still kept, or `end`. */
  get start(): number {
    return this.#first + this.#head
  }

  at(offset: number): Entry | null {
    return this.#entries[offset - this.#first] ?? null
  }

  append(entry: Entry): void {
    const { length } = this.readers
    entry.offset = this.end++
    entry.left = length
    entry.wanted = length > 0
    this.#entries.push(entry)
    this.usage.add(entry.bytes)
  }

  /** Puts another entry in the place of one that is kept: same offset, so listings keep their order. */
  replace(old: Entry, entry: Entry): void {
    entry.offset = old.offset
    entry.left = old.left
    entry.wanted = old.wanted
    this.#entries[old.offset - this.#first] = entry
    old.gone = true
    this.usage.add(entry.bytes)
    this.usage.remove(old.bytes)
  }

  /** One reader is done with the entry. */
  finish(entry: Entry): void {
    if (--entry.left === 0 && this.eager) this.drop(entry)
  }

  drop(entry: Entry): void {
    if (entry.gone) return
    entry.gone = true
    this.#entries[entry.offset - this.#first] = null
    this.#advance()
    this.usage.remove(entry.bytes)
  }

  /** Drops from the oldest on, as long as `may` says so. */
  evict(may: (entry: Entry) => boolean): void {
    for (let entry = this.at(this.start); entry !== null && may(entry); entry = this.at(this.start)) this.drop(entry)
  }

  /** Calls `each` for what is kept from `offset` on, oldest first. */
  scan(offset: number, each: (entry: Entry) => void): void {
    for (let at = Math.max(offset, this.start); at < this.end; at++) {
      const entry = this.at(at)
      if (entry !== null) each(entry)
    }
  }

  #advance(): void {
    const entries = this.#entries
    let head = this.#head
    while (head < entries.length && entries[head] === null) head++
    // Cutting the array off costs its length, so it waits until half of it is dead.
    if (head > 1024 && head * 2 > entries.length) {
      this.#entries = entries.slice(head)
      this.#first += head
      head = 0
    } else if (head === entries.length) {
      entries.length = 0
      this.#first += head
      head = 0
    }
    this.#head = head
  }
}

/** What a stored message counts against the bound: its parts and a fixed share for the record around them. */
export function sizeOf(parts: EntryParts, bodyBytes: number): number {
  let bytes = 64 + bodyBytes
  if (parts.id !== null) bytes += parts.id.length
  if (parts.key !== null) bytes += parts.key.length
  if (parts.headers !== null) bytes += recordBytes(parts.headers)
  if (parts.transport !== null) bytes += recordBytes(parts.transport)
  return bytes
}

export function recordBytes(record: Readonly<Record<string, string>>): number {
  let bytes = 0
  for (const name in record) bytes += name.length + (record[name] as string).length
  return bytes
}

/** A message for the eyes of an independent client: nothing in it is shared with the server. */
export function stored(log: Log, entry: Entry, dueAt: number | null): StoredMessage {
  const { id, key, time, expiresAt, slot, storedAt, offset, raw } = entry
  return {
    partition: log.partition,
    offset,
    position: `${log.partition}:${offset}`,
    id,
    key,
    body: entry.body(),
    time,
    expiresAt,
    attributes: { ...entry.attributes },
    headers: entry.headers === null ? null : { ...entry.headers },
    transport: entry.transport === null ? null : { ...entry.transport },
    undecodable: raw?.undecodable ?? null,
    slot,
    storedAt,
    dueAt,
  }
}

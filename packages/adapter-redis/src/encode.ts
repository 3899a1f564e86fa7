// A message as fields of a stream entry: attributes as ce_<name>, the content type as content-type, the application's headers
// as h_<name>, trace and ph-* by their own names, the body as data. Strict when written, lenient when read: an entry of
// anybody's is a message, and fields that nobody knows are its headers.

import { type Content, type Received, type Undecodable, wire } from '@posthorn/core/adapter'
import { type PackReader, type PackWriter, packed } from './pack.ts'

type Texts = Readonly<Record<string, string>>

const headerPrefix = 'h_'
const nullMark = 'ph-null'
/** Fields that are addresses and no part of the message: the partition of a delayed one, the slot of a dead one. */
const partitionField = 'ph-partition'
const slotField = 'ph-slot'

// ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the messages of one producer begin with: the attributes, and the name of the id, which comes next. Packed once. */
export interface Head {
  readonly packed: Buffer
  readonly items: number
}
const heads = new WeakMap<Texts, Head>()
let lastAttributes: Texts | null = null
let lastHead: Head | null = null

/** What this message begins with; the same object for the same attributes. */
export function headOf({ attributes }: Content): Head {
  if (attributes === lastAttributes && lastHead !== null) return lastHead
  let head = heads.get(attributes)
  if (head === undefined) {
    const texts = ['ce_specversion', attributes.specversion ?? '1.0']
    for (const name in attributes) {
      if (name === 'specversion') continue
      texts.push(name === 'datacontenttype' ? 'content-type' : `ce_${name}`, attributes[name] ?? '')
    }
    texts.push('ce_id')
    head = { packed: packed(...texts), items: texts.length }
    heads.set(attributes, head)
  }
  lastAttributes = attributes
  lastHead = head
  return head
}

const keyName = packed('ce_partitionkey')
const traceName = packed('traceparent')
const bodyName = packed('data')
const nullBody = packed(nullMark, '1')

let lastTime = Number.NaN
let timeField = bodyName

// Messages of one millisecond share it.
function timeOf(ms: number): Buffer {
  if (ms === lastTime) return timeField
  timeField = packed('ce_time', wire.formatTime(ms))
  lastTime = ms
  return timeField
}

const size = (texts: Texts | null): number => {
  let count = 0
  if (texts !== null) for (const _ in texts) count++
  return count
}

/** How many items `writeFields` writes. */
export const countFields = (content: Content): number => headOf(content).items + countRest(content)

/** How many items `writeRest` writes. */
export function countRest(content: Content): number {
  let items = 3
  if (content.time !== null) items += 2
  if (content.expiresAt !== null) items += 2
  if (content.key !== null && content.attributes.partitionkey !== content.key) items += 2
  return items + 2 * (size(content.headers) + size(content.transport))
}

/** Writes names and values of all fields, in the order in which they are read fastest. */
export function writeFields(writer: PackWriter, content: Content): void {
  writer.raw(headOf(content).packed)
  writeRest(writer, content)
}

/** Writes what comes behind the head. */
export function writeRest(writer: PackWriter, content: Content): void {
  writer.text(content.id)
  if (content.time !== null) writer.raw(timeOf(content.time))
  if (content.expiresAt !== null) {
    writer.text('ce_expirytime')
    writer.text(wire.formatTime(content.expiresAt))
  }
  if (content.key !== null && content.attributes.partitionkey !== content.key) {
    writer.raw(keyName)
    writer.text(content.key)
  }
  for (const name in content.headers) {
    writer.text(headerPrefix + name)
    writer.text(content.headers[name] ?? '')
  }
  for (const name in content.transport) {
    if (name === 'traceparent') writer.raw(traceName)
    else writer.text(name)
    writer.text(content.transport[name] ?? '')
  }
  if (content.body === null) writer.raw(nullBody)
  else {
    writer.raw(bodyName)
    writer.bytes(content.body)
  }
}

/** How many items `writeUsual` writes. */
export const usualItems = 5
const usualHead = 9

/** Has it a key, a time, a trace and a body, the usual attributes and nothing else, as nearly all messages have? */
export function isUsual(content: Content): boolean {
  const { time, expiresAt, key, headers, transport, body, attributes } = content
  if (time === null || expiresAt !== null || key === null || headers !== null || transport === null || body === null) return false
  if (transport.traceparent === undefined || attributes.partitionkey === key || headOf(content).items !== usualHead) return false
  return size(transport) === 1
}

/** Writes the values alone of a usual message: the script knows their names. */
export function writeUsual(writer: PackWriter, { id, time, key, transport, body }: Content): void {
  writer.text(id)
  writer.text(wire.formatTime(time as number))
  writer.text(key as string)
  writer.text(transport?.traceparent as string)
  writer.bytes(body as Uint8Array)
}

/** Bytes of a message as its limit counts them: body and headers. */
export function bytesOf(content: Content): number {
  return (content.body?.length ?? 0) + bytesOfTexts(content.headers) + bytesOfTexts(content.transport)
}
function bytesOfTexts(texts: Texts | null): number {
  let bytes = 0
  for (const name in texts) bytes += Buffer.byteLength(name) + Buffer.byteLength(texts?.[name] ?? '')
  return bytes
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An entry of a stream; null: the server has its id and not its fields any more. */
export interface Entry {
  readonly id: string
  readonly content: Received | Undecodable | null
  /** Of a dead letter. */
  readonly slot: string
  /** Bytes on the wire. */
  readonly bytes: number
}

interface Known {
  readonly packed: Buffer
  readonly pairs: number
  readonly attributes: Texts
}
/** Attributes of the last messages read, so that those of one sender share one object. One per reader. */
export interface AttributeCache {
  last: Known | null
}

const noAttributes: Texts = Object.freeze({})
const { textAt, bodyAt, ceName } = wire
const nameAt = wire.nameReader(['data', 'ce_id', 'ce_time', 'traceparent', 'ce_partitionkey'])

/** Reads a packed list of entries, each an id and its fields. */
export function readEntries(reader: PackReader, cache: AttributeCache, into: Entry[]): void {
  const { buffer } = reader
  for (let count = reader.list(); count > 0; count--) {
    const start = reader.at
    reader.list()
    const length = reader.string()
    const id = buffer.toString('latin1', reader.at, reader.at + length)
    reader.at += length
    const items = reader.list()
    into.push(items < 0 ? { id, content: null, slot: '', bytes: 0 } : readFields(reader, id, items / 2, cache, start))
  }
}

function readFields(reader: PackReader, id: string, pairs: number, cache: AttributeCache, start: number): Entry {
  const { buffer } = reader
  const { last } = cache
  const first = reader.at
  let left = pairs
  let attributes: Record<string, string> | null = null
  let shared: Texts | null = null
  if (
    last !== null &&
    last.pairs <= pairs &&
    buffer.compare(last.packed, 0, last.packed.length, reader.at, Math.min(buffer.length, reader.at + last.packed.length)) === 0
  ) {
    shared = last.attributes
    left -= last.pairs
    reader.at += last.packed.length
  }
  let messageId: string | null = null
  let key: string | null = null
  let time: number | null = null
  let expiresAt: number | null = null
  let body: Buffer | null = null
  let headers: Record<string, string> | null = null
  let transport: Record<string, string> | null = null
  let slot = ''
  let wrong: string | null = null
  // Where the leading attributes of this message end, to be recognised in the next one.
  let chunkEnd = 0
  let chunkPairs = 0
  let leading = shared === null

  for (; left > 0; left--) {
    const nameLength = reader.string()
    const nameStart = reader.at
    reader.at += nameLength
    const length = reader.string()
    const at = reader.at
    reader.at += length
    try {
      const name = ceName(nameAt(buffer, nameStart, nameLength))
      if (name === 'data') body = bodyAt(buffer, at, length)
      else if (name === 'ce_id') messageId = textAt(buffer, at, length)
      else if (name === 'ce_time') time = wire.parseTime(textAt(buffer, at, length))
      else if (name === 'ce_partitionkey') key = textAt(buffer, at, length)
      else if (name === 'ce_expirytime') expiresAt = wire.parseTime(textAt(buffer, at, length))
      else if (name.startsWith('ce_') || name === 'content-type') {
        if (leading) {
          chunkPairs = pairs - left + 1
          chunkEnd = reader.at
        }
        attributes ??= shared === null ? {} : { ...shared }
        const attribute = name === 'content-type' ? 'datacontenttype' : name.slice(3)
        const value = textAt(buffer, at, length)
        if (attribute === 'specversion' && value !== '1.0') wrong = `the specversion is ${JSON.stringify(value.slice(0, 40))}, not "1.0"`
        if (attribute !== '__proto__') attributes[attribute] = value
        continue
      } else if (name === nullMark || name === partitionField) {
        // addresses and marks
      } else if (name === slotField) slot = textAt(buffer, at, length)
      else if (name === 'traceparent' || name === 'tracestate' || name === 'baggage' || name.startsWith('ph-')) {
        transport ??= Object.create(null) as Record<string, string>
        transport[name] = textAt(buffer, at, length)
      } else {
        headers ??= Object.create(null) as Record<string, string>
        headers[name.startsWith(headerPrefix) ? name.slice(headerPrefix.length) : name] = textAt(buffer, at, length)
      }
      leading = false
    } catch {
      wrong = `the field ${JSON.stringify(buffer.toString('latin1', nameStart, nameStart + Math.min(nameLength, 40)))} is no text`
      leading = false
    }
  }
  const bytes = reader.at - start
  if (wrong !== null) return { id, content: undecodable(buffer, first, pairs, wrong), slot, bytes }
  const all = attributes === null ? (shared ?? noAttributes) : Object.freeze(attributes)
  if (chunkPairs > 0 && Object.keys(all).length === chunkPairs) {
    cache.last = { packed: Buffer.from(buffer.subarray(first, chunkEnd)), pairs: chunkPairs, attributes: all }
  }
  return { id, content: { id: messageId, key, body, time, expiresAt, attributes: all, headers, transport }, slot, bytes }
}

// Its bytes travel on as they are: the body, and every other field as a header.
function undecodable(buffer: Buffer, first: number, pairs: number, why: string): Undecodable {
  const headers: Record<string, Uint8Array> = Object.create(null)
  let body: Uint8Array | null = null
  let at = first
  const next = (): Buffer => {
    const kind = buffer[at++] ?? 0
    let length = kind & 0x1f
    if (kind === 0xd9) length = buffer[at++] ?? 0
    else if (kind === 0xda) {
      length = buffer.readUInt16BE(at)
      at += 2
    } else if (kind === 0xdb) {
      length = buffer.readUInt32BE(at)
      at += 4
    }
    at += length
    return Buffer.from(buffer.subarray(at - length, at))
  }
  for (let left = pairs; left > 0; left--) {
    const name = next().toString('latin1')
    const value = next()
    if (name === 'data') body = value
    else headers[name.startsWith(headerPrefix) ? name.slice(headerPrefix.length) : name] = value
  }
  return { undecodable: why, body, headers }
}

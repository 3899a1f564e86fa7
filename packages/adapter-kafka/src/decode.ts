// From records to messages: lenient, because what any other client may have written is a message, or at least its bytes.

import { type Received, type Undecodable, wire } from '@posthorn/core/adapter'
import { ByteReader } from './bytes.ts'
import { bodyHeader, keyHeader, slotHeader } from './encode.ts'

/** A record as it lies in its batch: where its parts are. */
export interface RawRecord {
  readonly buffer: Buffer
  readonly offset: number
  /** Where the key is; its length is -1 for none. */
  readonly keyAt: number
  readonly keyLength: number
  readonly valueAt: number
  readonly valueLength: number
  /** Where the number of headers is. */
  readonly headersAt: number
  readonly end: number
}

type Texts = Readonly<Record<string, string>>

interface Known {
  readonly packed: Buffer
  readonly headers: number
  readonly attributes: Texts
}
/** Attributes of the last messages read, so that those of one sender share one object. One per reader. */
export interface AttributeCache {
  last: Known | null
}

const noAttributes: Texts = Object.freeze({})
const { textAt, bodyAt, ceName } = wire
const nameAt = wire.nameReader(['ce_id', 'ce_time', 'traceparent', 'ce_partitionkey'])

/** What a record holds, and its slot where it is a dead letter. */
export interface Decoded {
  readonly content: Received | Undecodable
  readonly slot: string | null
}

/** Reads a record of any client. `dead`: its record key is an address, and its own key a header. Never throws. */
export function decode(record: RawRecord, cache: AttributeCache, dead: boolean): Decoded {
  const { buffer } = record
  const reader = new ByteReader(buffer, record.headersAt)
  const total = Math.max(0, reader.varint())
  const first = reader.at
  let left = total
  const { last } = cache
  let shared: Texts | null = null
  if (last !== null && last.headers <= total) {
    const { packed } = last
    if (first + packed.length <= record.end && buffer.compare(packed, 0, packed.length, first, first + packed.length) === 0) {
      shared = last.attributes
      left -= last.headers
      reader.at += packed.length
    }
  }
  let attributes: Record<string, string> | null = null
  let id: string | null = null
  let named: string | null = null
  let ownKey: string | null = null
  let time: number | null = null
  let expiresAt: number | null = null
  let headers: Record<string, string> | null = null
  let transport: Record<string, string> | null = null
  let slot: string | null = null
  let mark: string | null = null
  let wrong: string | null = null
  // Where the leading attributes of this message end, to be recognised in the next one.
  let chunkEnd = 0
  let chunkHeaders = 0
  let leading = shared === null

  for (; left > 0; left--) {
    const nameLength = reader.varint()
    const nameStart = reader.at
    reader.at += nameLength
    const length = reader.varint()
    const at = reader.at
    if (length > 0) reader.at += length
    // A header without a value is one that says nothing.
    if (length < 0) {
      leading = false
      continue
    }
    try {
      const name = ceName(nameAt(buffer, nameStart, nameLength))
      if (name === 'ce_id') id = textAt(buffer, at, length)
      else if (name === 'ce_time') time = instant(textAt(buffer, at, length), 'time')
      else if (name === 'ce_partitionkey') named = textAt(buffer, at, length)
      else if (name === 'ce_expirytime') expiresAt = instant(textAt(buffer, at, length), 'expirytime')
      else if (name.startsWith('ce_') || name === 'content-type') {
        if (leading) {
          chunkHeaders = total - left + 1
          chunkEnd = reader.at
        }
        attributes ??= shared === null ? {} : { ...shared }
        const attribute = name === 'content-type' ? 'datacontenttype' : name.slice(3)
        const value = textAt(buffer, at, length)
        if (attribute === 'specversion' && value !== '1.0') wrong = `it is a CloudEvent of version ${value.slice(0, 20)}, not 1.0`
        if (attribute !== '__proto__') attributes[attribute] = value
        continue
      } else if (name === bodyHeader && dead) mark = textAt(buffer, at, length)
      else if (name === slotHeader && dead) slot = textAt(buffer, at, length)
      else if (name === keyHeader && dead) ownKey = textAt(buffer, at, length)
      else if (name === 'traceparent' || name === 'tracestate' || name === 'baggage' || name.startsWith('ph-')) {
        transport ??= Object.create(null) as Record<string, string>
        transport[name] = textAt(buffer, at, length)
      } else {
        // Of several with one name the last counts.
        headers ??= Object.create(null) as Record<string, string>
        headers[name] = textAt(buffer, at, length)
      }
    } catch {
      wrong = `the header "${buffer.toString('latin1', nameStart, nameStart + Math.min(nameLength, 40))}" is no UTF-8 text`
    }
    leading = false
  }

  // A point in time that is none is kept as what it is.
  function instant(text: string, attribute: string): number | null {
    const parsed = wire.parseTime(text)
    if (parsed === null) {
      attributes ??= shared === null ? {} : { ...shared }
      attributes[attribute] = text
    }
    return parsed
  }

  let key: string | null = ownKey
  if (!dead) {
    try {
      key = record.keyLength < 0 ? null : textAt(buffer, record.keyAt, record.keyLength)
    } catch {
      wrong = 'its key is no UTF-8 text'
    }
    if (key === null) key = named
    else if (named !== null && named !== key) {
      attributes ??= shared === null ? {} : { ...shared }
      attributes.partitionkey = named
    }
  }
  if (wrong !== null) return { content: undecodable(record, wrong), slot }
  const all = attributes === null ? (shared ?? noAttributes) : Object.freeze(attributes)
  if (chunkHeaders > 0 && Object.keys(all).length === chunkHeaders) {
    cache.last = { packed: Buffer.from(buffer.subarray(first, chunkEnd)), headers: chunkHeaders, attributes: all }
  }
  const { valueAt, valueLength } = record
  const body = valueLength < 0 || mark === 'null' ? null : mark === 'empty' ? Buffer.alloc(0) : bodyAt(buffer, valueAt, valueLength)
  return { content: { id, key, body, time, expiresAt, attributes: all, headers, transport }, slot }
}

// Its bytes travel on as they are.
function undecodable(record: RawRecord, why: string): Undecodable {
  const { buffer } = record
  const headers: Record<string, Uint8Array> = Object.create(null) as Record<string, Uint8Array>
  const reader = new ByteReader(buffer, record.headersAt)
  for (let left = reader.varint(); left > 0; left--) {
    const nameLength = reader.varint()
    const name = buffer.toString('latin1', reader.at, reader.at + nameLength)
    reader.at += nameLength
    const length = reader.varint()
    if (length < 0) continue
    headers[name] = Buffer.from(buffer.subarray(reader.at, reader.at + length))
    reader.at += length
  }
  const body = record.valueLength < 0 ? null : Buffer.from(buffer.subarray(record.valueAt, record.valueAt + record.valueLength))
  return { undecodable: why, body, headers }
}

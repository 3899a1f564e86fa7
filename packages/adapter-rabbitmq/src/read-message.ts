// A delivered message read from its bytes, where it has nothing but what we write ourselves: `decode` says what any other means.
// Both give the same for the same bytes (a test compares them); this one makes no object and no text that nobody asked for.

import type { Content, Received } from '@posthorn/core/adapter'
import { wire } from '@posthorn/core/adapter'
import { named } from './decode.ts'
import { has, prefix } from './encode.ts'

/** Where the parts of a message lie in what came from the socket. */
export interface Parts {
  /** Its properties, flags first. */
  properties: number
  propertiesEnd: number
  routingKey: number
  routingKeyEnd: number
  body: number
  bodyEnd: number
}

type Texts = Record<string, string>

const known = has.contentType | has.headers | has.deliveryMode | has.messageId | has.timestamp | has.type
const textTag = 'S'.charCodeAt(0)
const nameOf = {
  id: Buffer.from(`${prefix}id`),
  time: Buffer.from(`${prefix}time`),
  expires: Buffer.from(`${prefix}expirytime`),
  key: Buffer.from(`${prefix}partitionkey`),
  trace: Buffer.from('traceparent'),
}

// What the messages of one sender begin with, and what it means: learnt from one, recognised by its bytes in the next.
interface Shared {
  readonly contentType: Buffer
  readonly fields: Buffer
  readonly attributes: Content['attributes']
}
let last: Shared | null = null
const mostShared = 4096

// Messages of one millisecond are read once.
const timeBytes = Buffer.alloc(64)
let timeLength = -1
let timeMs = 0

/** What lies there, of a keyed topic or not; null: not all of it is ours, so the client has to read it. Throws RangeError for what ends too early. */
export function readMessage(bytes: Buffer, parts: Parts, keyed: boolean): Received | null {
  let at = parts.properties
  const flags = bytes.readUInt16BE(at)
  if ((flags & ~known) !== 0 || (flags & has.headers) === 0) return null
  at += 2
  const contentType = at
  if ((flags & has.contentType) !== 0) at += 1 + (bytes[at] as number)
  const contentTypeEnd = at
  const end = at + 4 + bytes.readUInt32BE(at)
  at += 4
  if (end > parts.propertiesEnd) return null

  if (!begins(bytes, contentType, contentTypeEnd, at, end)) {
    const learnt = learn(bytes, contentType, contentTypeEnd, at, end)
    if (learnt === null) return null
    last = learnt
  }
  const { fields, attributes } = last as Shared
  if ((flags & has.type) !== 0 && attributes.type === undefined) return null
  at += fields.length

  let id: string | null = null
  let key: string | null = null
  let time: number | null = null
  let expiresAt: number | null = null
  let headers: Texts | null = null
  let transport: Texts | null = null
  while (at < end) {
    const name = at + 1
    const nameEnd = name + (bytes[at] as number)
    const value = nameEnd + 5
    if (value > end || bytes[nameEnd] !== textTag) return null
    at = value + bytes.readUInt32BE(nameEnd + 1)
    if (at > end) return null
    if (is(nameOf.id, bytes, name, nameEnd)) id = textOf(bytes, value, at)
    else if (is(nameOf.time, bytes, name, nameEnd)) {
      time = timeOf(bytes, value, at)
      if (time === null) return null
    } else if (is(nameOf.key, bytes, name, nameEnd)) key = textOf(bytes, value, at)
    else if (is(nameOf.trace, bytes, name, nameEnd)) {
      if (transport === null) transport = { traceparent: textOf(bytes, value, at) }
      else transport.traceparent = textOf(bytes, value, at)
    } else if (is(nameOf.expires, bytes, name, nameEnd)) {
      expiresAt = wire.parseTime(textOf(bytes, value, at))
      if (expiresAt === null) return null
    } else {
      const header = textOf(bytes, name, nameEnd)
      const found = named(header)
      if (header === '__proto__') return null
      if (found.kind === 'header') {
        headers ??= Object.create(null) as Texts
        headers[found.name] = textOf(bytes, value, at)
      } else if (found.kind === 'transport') {
        transport ??= {}
        transport[found.name] = textOf(bytes, value, at)
      } else return null
    }
  }
  // Where one of these is missing, something else may stand in for it.
  if (id === null || (time === null && (flags & has.timestamp) !== 0)) return null
  if (key === null && keyed && !digits(bytes, parts.routingKey, parts.routingKeyEnd)) return null
  return { id, key, body: bytes.subarray(parts.body, parts.bodyEnd), time, expiresAt, attributes, headers, transport }
}

function begins(bytes: Buffer, contentType: number, contentTypeEnd: number, fields: number, end: number): boolean {
  if (last === null || !is(last.contentType, bytes, contentType, contentTypeEnd)) return false
  const { length } = last.fields
  if (fields + length > end || last.fields.compare(bytes, fields, fields + length) !== 0) return false
  // It has not one attribute more.
  const name = fields + length + 1
  if (name >= end) return true
  const nameEnd = name + (bytes[name - 1] as number)
  return is(nameOf.id, bytes, name, nameEnd) || named(textOf(bytes, name, nameEnd)).kind !== 'attribute'
}

function learn(bytes: Buffer, contentType: number, contentTypeEnd: number, fields: number, end: number): Shared | null {
  const attributes = Object.create(null) as Texts
  let at = fields
  while (at < end) {
    const name = at + 1
    const nameEnd = name + (bytes[at] as number)
    const value = nameEnd + 5
    if (value > end || bytes[nameEnd] !== textTag) return null
    const next = value + bytes.readUInt32BE(nameEnd + 1)
    if (next > end) return null
    const found = named(textOf(bytes, name, nameEnd))
    if (found.kind === 'attribute') {
      if (!found.ours) return null
      attributes[found.name] = textOf(bytes, value, next)
    } else if (found.kind !== 'version') break
    else if (textOf(bytes, value, next) !== '1.0') return null
    at = next
  }
  if (at - fields > mostShared) return null
  if (contentTypeEnd > contentType) attributes.datacontenttype = textOf(bytes, contentType + 1, contentTypeEnd)
  return {
    contentType: Buffer.from(bytes.subarray(contentType, contentTypeEnd)),
    fields: Buffer.from(bytes.subarray(fields, at)),
    attributes: Object.freeze(attributes),
  }
}

function is(wanted: Buffer, bytes: Buffer, from: number, until: number): boolean {
  const { length } = wanted
  if (until - from !== length) return false
  // From behind: names of one prefix differ there.
  for (let at = length - 1; at >= 0; at--) if (wanted[at] !== bytes[from + at]) return false
  return true
}

function digits(bytes: Buffer, from: number, until: number): boolean {
  for (let at = from; at < until; at++) {
    const byte = bytes[at] as number
    if (byte < 48 || byte > 57) return false
  }
  return true
}

// Short texts are nearly always ASCII, which is sooner seen than asked for.
const shortText = 128
function textOf(bytes: Buffer, from: number, until: number): string {
  if (until - from > shortText) return bytes.toString('utf8', from, until)
  let all = 0
  for (let at = from; at < until; at++) all |= bytes[at] as number
  return bytes.toString(all < 128 ? 'latin1' : 'utf8', from, until)
}

function timeOf(bytes: Buffer, from: number, until: number): number | null {
  const length = until - from
  if (length === timeLength) {
    let at = length - 1
    while (at >= 0 && timeBytes[at] === bytes[from + at]) at--
    if (at < 0) return timeMs
  }
  const ms = wire.parseTime(textOf(bytes, from, until))
  if (ms === null) return null
  bytes.copy(timeBytes, 0, from, until)
  timeLength = length
  timeMs = ms
  return ms
}

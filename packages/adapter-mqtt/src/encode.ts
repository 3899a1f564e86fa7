// From messages to PUBLISH packets: CloudEvents as user properties without prefix, as its MQTT binding has them, the content type
// as MQTT's own property, headers of applications under a prefix, since one may be named like an attribute.

import { type Content, wire } from '@posthorn/core/adapter'
import { Bytes, lengthBytes } from './bytes.ts'

/** Before the names of application headers. */
export const headerPrefix = 'h_'
/** Says what a body is that MQTT cannot say: `null`, or `empty` where nothing would mean to delete. */
export const bodyMark = 'ph-null'
/** Names the properties whose text is escaped: servers close connections over characters that no text of MQTT may hold. */
export const escapedMark = 'ph-escaped'
/** The trace in which a message was created: the plain names are those of its hop. */
export const createdPrefix = 'created'
export const hopNames: ReadonlySet<string> = new Set(['traceparent', 'tracestate', 'baggage'])

const forbidden = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u
const contentTypeId = 0x03
const userPropertyId = 0x26
const atLeastOnce = 0x32
const retained = 0x01
/** In the place of a body that may not be empty. */
const placeholder = Buffer.from([0])
const nothing = new Uint8Array(0)

/** What the attributes give every message, and the names of those that had to be escaped. */
interface Part {
  readonly bytes: Buffer
  readonly escaped: readonly string[]
}

// Attributes are one frozen object per producer: their part is made once.
const shared = new WeakMap<Content['attributes'], Part>()
let lastAttributes: Content['attributes'] | undefined
let lastPart: Part | undefined

function partOf(attributes: Content['attributes']): Part {
  if (attributes === lastAttributes && lastPart !== undefined) return lastPart
  const part = shared.get(attributes) ?? makePart(attributes)
  if (Object.isFrozen(attributes)) {
    shared.set(attributes, part)
    lastAttributes = attributes
    lastPart = part
  }
  return part
}

function makePart(attributes: Content['attributes']): Part {
  const bytes = new Bytes(512)
  const escaped: string[] = []
  property(bytes, 'specversion', '1.0')
  for (const name in attributes) {
    const value = attributes[name] ?? ''
    if (name === 'specversion') continue
    if (name === 'datacontenttype' && !forbidden.test(value)) {
      bytes.room(1)
      bytes.octet(contentTypeId)
      bytes.text(value)
      continue
    }
    const written = hopNames.has(name) ? createdPrefix + name : name
    property(bytes, written, safe(value, written, escaped))
  }
  return { bytes: Buffer.from(bytes.buffer.subarray(0, bytes.at)), escaped }
}

/** The text as it may be written; `name` joins `escaped` where it had to be changed. */
function safe(value: string, name: string, escaped: string[]): string {
  if (!forbidden.test(value)) return value
  escaped.push(name)
  return wire.escapeHeader(value)
}

function property(bytes: Bytes, name: string, value: string): void {
  bytes.room(1)
  bytes.octet(userPropertyId)
  bytes.text(name)
  bytes.text(value)
}

const names = new Map<string, Buffer>()
const mostNames = 1000

/** A user property's name as it is written. Few are in use: each is made once. */
function nameOf(name: string): Buffer {
  const known = names.get(name)
  if (known !== undefined) return known
  const bytes = new Bytes(64)
  bytes.room(1)
  bytes.octet(userPropertyId)
  bytes.text(name)
  const made = Buffer.from(bytes.buffer.subarray(0, bytes.at))
  if (names.size < mostNames) names.set(name, made)
  return made
}

function field(bytes: Bytes, name: Buffer, value: string): void {
  bytes.room(name.length)
  bytes.raw(name)
  bytes.text(value)
}

const idName = nameOf('id')
const timeName = nameOf('time')
const keyName = nameOf('partitionkey')
const traceName = nameOf('traceparent')

let timeAt = Number.NaN
let timeText = ''
/** Many messages are made in the same millisecond. */
function textOfTime(time: number): string {
  if (time !== timeAt) {
    timeText = wire.formatTime(time)
    timeAt = time
  }
  return timeText
}

// Properties are written here first, because their length stands before them.
const scratch = new Bytes(65_536)

function writeProperties(message: Content, mark: string | null): void {
  const bytes = scratch
  bytes.at = 0
  const part = partOf(message.attributes)
  const escaped: string[] = part.escaped.length === 0 ? [] : [...part.escaped]
  bytes.room(part.bytes.length)
  bytes.raw(part.bytes)
  field(bytes, idName, safe(message.id, 'id', escaped))
  if (message.time !== null) field(bytes, timeName, textOfTime(message.time))
  if (message.expiresAt !== null) property(bytes, 'expirytime', wire.formatTime(message.expiresAt))
  if (message.key !== null && message.attributes.partitionkey !== message.key)
    field(bytes, keyName, safe(message.key, 'partitionkey', escaped))
  for (const name in message.headers)
    field(bytes, nameOf(headerPrefix + name), safe(message.headers[name] ?? '', headerPrefix + name, escaped))
  for (const name in message.transport)
    field(bytes, name === 'traceparent' ? traceName : nameOf(name), safe(message.transport[name] ?? '', name, escaped))
  if (mark !== null) property(bytes, bodyMark, mark)
  if (escaped.length > 0) property(bytes, escapedMark, escaped.join(' '))
}

/**
 * Appends one PUBLISH, to be acknowledged. An envelope (`version` 4) has no properties: its message is in its body.
 *
 * @throws RangeError for texts that do not fit
 */
export function writePublish(to: Bytes, version: 4 | 5, topic: Buffer, packetId: number, message: Content, retain: boolean): void {
  const { body } = message
  const empty = body === null || body.length === 0
  const mark = body === null ? 'null' : empty && retain ? 'empty' : null
  const payload = empty ? (retain ? placeholder : nothing) : body
  if (version === 5) writeProperties(message, mark)
  const properties = version === 5 ? scratch.at : 0
  const head = version === 5 ? lengthBytes(properties) + properties : 0
  const length = topic.length + 2 + head + payload.length
  to.room(length + 5)
  to.octet(retain ? atLeastOnce | retained : atLeastOnce)
  to.length(length)
  to.raw(topic)
  to.short(packetId)
  if (version === 5) {
    to.length(properties)
    to.buffer.set(scratch.buffer.subarray(0, properties), to.at)
    to.at += properties
  }
  to.raw(payload)
}

/** A PUBLISH of bytes alone: records, presences, echoes. `packetId` 0: not to be acknowledged. */
export function writePlain(
  to: Bytes,
  version: 4 | 5,
  topic: Buffer,
  packetId: number,
  payload: Uint8Array,
  options: { readonly retain: boolean; readonly expirySeconds?: number },
): void {
  const expires = version === 5 && options.expirySeconds !== undefined
  const properties = version === 5 ? (expires ? 6 : 1) : 0
  const length = topic.length + (packetId === 0 ? 0 : 2) + properties + payload.length
  to.room(length + 5)
  to.octet((packetId === 0 ? 0x30 : atLeastOnce) | (options.retain ? retained : 0))
  to.length(length)
  to.raw(topic)
  if (packetId !== 0) to.short(packetId)
  if (version === 5) {
    to.octet(expires ? 5 : 0)
    if (expires) {
      to.octet(0x02)
      const seconds = options.expirySeconds ?? 0
      to.short(seconds >>> 16)
      to.short(seconds & 65_535)
    }
  }
  to.raw(payload)
}

/** A topic as packets have it: its length, its bytes. */
export function topicBytes(topic: string): Buffer {
  const bytes = new Bytes(topic.length * 3 + 2)
  bytes.text(topic)
  return Buffer.from(bytes.buffer.subarray(0, bytes.at))
}

/** Bytes of a message as its limit counts them: body and headers. */
export function bytesOf(content: Content): number {
  return (content.body?.length ?? 0) + bytesOfTexts(content.headers) + bytesOfTexts(content.transport)
}

function bytesOfTexts(texts: Readonly<Record<string, string>> | null): number {
  let bytes = 0
  for (const name in texts) bytes += Buffer.byteLength(name) + Buffer.byteLength(texts?.[name] ?? '')
  return bytes
}

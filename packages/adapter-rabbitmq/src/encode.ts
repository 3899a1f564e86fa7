// From messages to AMQP: CloudEvents in headers `cloudEvents_<name>`, the rest as AMQP's own properties.

import type { Content, Outgoing } from '@posthorn/core/adapter'
import { wire } from '@posthorn/core/adapter'
import { type Bytes, mostBytesOf } from './bytes.ts'

/** Before the names of application headers that mean something to the server or to us. */
export const aside = 'ph-header-'

/** Before the names of attributes. */
export const prefix = 'cloudEvents_'
/** What makes no difference to a message, but would to the server (copies by CC), or is written by it. */
const special =
  /^(?:B?CC|x-death|x-(?:first|last)-death-.*|x-delivery-count|x-acquired-count|x-delay|x-opt-.*|traceparent|tracestate|baggage)$/
/** AMQP's short texts hold this many bytes. What is longer travels in headers alone. */
const shortBytes = 255
/** Of all headers together. Some clients can read and write no more. */
const headerBytes = 64 * 1024
const persistent = 2
/** Of a header's text: its type, its length. */
const fieldBytes = 16
/** More than all that a message has beside its texts. */
const fixedBytes = 256

/** Bits of the properties that a message has, in the order in which they follow. */
export const has = { contentType: 0x8000, headers: 0x2000, deliveryMode: 0x1000, messageId: 0x80, timestamp: 0x40, type: 0x20 } as const

/** The name of a header as it is written, its type behind it: text. */
function nameBytes(name: string): Buffer {
  const bytes = Buffer.from(name)
  if (bytes.length > shortBytes) throw new RangeError(`a header name of ${bytes.length} bytes, at most ${shortBytes} are possible`)
  return Buffer.concat([Buffer.from([bytes.length]), bytes, Buffer.from('S')])
}

const mostNames = 1000
const ownNames = new Map<string, Buffer>()

// Few names are in use: each is made once. Beyond that many, each time.
function applicationName(name: string): Buffer {
  const known = ownNames.get(name)
  if (known !== undefined) return known
  const made = nameBytes(special.test(name) ? aside + name : name)
  if (ownNames.size < mostNames) ownNames.set(name, made)
  return made
}

const nameOf = {
  id: nameBytes(`${prefix}id`),
  time: nameBytes(`${prefix}time`),
  expires: nameBytes(`${prefix}expirytime`),
  key: nameBytes(`${prefix}partitionkey`),
  trace: nameBytes('traceparent'),
  slot: nameBytes('ph-slot'),
  body: nameBytes('ph-body'),
}

/** What all messages with the same attributes have in common. */
interface SharedPart {
  /** The attributes as headers. */
  readonly headers: Buffer
  readonly contentType: string | undefined
  readonly type: string | undefined
  readonly mostBytes: number
}

// Attributes are one frozen object per producer: their part is made once.
const shared = new WeakMap<Content['attributes'], SharedPart>()
let lastAttributes: Content['attributes'] | undefined
let lastPart: SharedPart | undefined

function sharedOf(attributes: Content['attributes']): SharedPart {
  if (attributes === lastAttributes && lastPart !== undefined) return lastPart
  const part = shared.get(attributes) ?? partOf(attributes)
  if (Object.isFrozen(attributes)) {
    shared.set(attributes, part)
    lastAttributes = attributes
    lastPart = part
  }
  return part
}

function partOf(attributes: Content['attributes']): SharedPart {
  const contentType = short(attributes.datacontenttype)
  const type = short(attributes.type)
  const parts: Buffer[] = []
  const add = (name: string, value: string): void => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(Buffer.byteLength(value))
    parts.push(nameBytes(prefix + name), length, Buffer.from(value))
  }
  add('specversion', '1.0')
  for (const [name, value] of Object.entries(attributes)) {
    if (name !== 'specversion' && (name !== 'datacontenttype' || contentType === undefined)) add(name, value)
  }
  const headers = Buffer.concat(parts)
  return { headers, contentType, type, mostBytes: headers.length + 2 * shortBytes }
}

const short = (text: string | undefined): string | undefined =>
  text === undefined || (text.length > shortBytes / 3 && Buffer.byteLength(text) > shortBytes) ? undefined : text

/** No message takes more bytes beside its body. */
export function mostPropertyBytes({ id, key, attributes, headers, transport, slot }: Outgoing): number {
  let bytes = fixedBytes + sharedOf(attributes).mostBytes + 2 * mostBytesOf(id)
  if (key !== null) bytes += mostBytesOf(key)
  if (slot !== null) bytes += mostBytesOf(slot)
  if (headers !== null) for (const name in headers) bytes += applicationName(name).length + fieldBytes + mostBytesOf(headers[name] ?? '')
  if (transport !== null) for (const name in transport) bytes += mostBytesOf(name) + fieldBytes + mostBytesOf(transport[name] ?? '')
  return bytes
}

/**
 * Writes the properties of a message: which there are, and each of them. There has to be room for `mostPropertyBytes`.
 *
 * @throws RangeError for headers that do not fit
 */
export function writeProperties(to: Bytes, message: Outgoing): void {
  const part = sharedOf(message.attributes)
  const { id, time } = message
  const messageId = short(id)
  // Whole seconds, as AMQP has it; the attribute `time` is the exact one.
  const timestamp = time === null || time < 0 ? undefined : Math.floor(time / 1000)
  to.short(
    has.headers |
      has.deliveryMode |
      (part.contentType === undefined ? 0 : has.contentType) |
      (messageId === undefined ? 0 : has.messageId) |
      (timestamp === undefined ? 0 : has.timestamp) |
      (part.type === undefined ? 0 : has.type),
  )
  if (part.contentType !== undefined) to.shortText(part.contentType)
  writeHeaders(to, message, part)
  to.octet(persistent)
  if (messageId !== undefined) to.shortText(messageId)
  if (timestamp !== undefined) to.longLong(timestamp)
  if (part.type !== undefined) to.shortText(part.type)
}

function writeHeaders(to: Bytes, { id, key, body, time, expiresAt, headers, transport, slot }: Outgoing, part: SharedPart): void {
  const length = to.at
  to.long(0)
  to.raw(part.headers)
  field(to, nameOf.id, id)
  if (time !== null) field(to, nameOf.time, wire.formatTime(time))
  if (expiresAt !== null) field(to, nameOf.expires, wire.formatTime(expiresAt))
  if (key !== null) field(to, nameOf.key, key)
  if (headers !== null) for (const name in headers) field(to, applicationName(name), headers[name] ?? '')
  if (transport !== null) {
    for (const name in transport) field(to, name === 'traceparent' ? nameOf.trace : nameBytes(name), transport[name] ?? '')
  }
  if (slot !== null) field(to, nameOf.slot, slot)
  if (body === null) field(to, nameOf.body, 'null')
  const bytes = to.at - length - 4
  if (bytes > headerBytes - 4) throw new RangeError(`${bytes} bytes of headers, ${headerBytes} are possible`)
  to.setLong(length, bytes)
}

function field(to: Bytes, name: Buffer, text: string): void {
  to.raw(name)
  to.longText(text)
}

// From AMQP to messages: lenient, because what any other client may have sent is a message, or at least its bytes.

import type { Content, Received, Undecodable } from '@posthorn/core/adapter'
import { wire } from '@posthorn/core/adapter'
import type { Message } from 'amqplib'
import { aside, prefix } from './encode.ts'

/** What the server writes into the headers of a message, and no application did. */
const serverOwn = /^(?:x-death|x-(?:first|last)-death-.*|x-delivery-count|x-acquired-count|x-opt-.*|x-delayed-.*|CC|BCC)$/

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

type Texts = Record<string, string>
const texts = (): Texts => Object.create(null) as Texts

/** The text that a header of any AMQP type stands for; null where there is none. @throws TypeError for bytes that are no UTF-8 */
function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (value === null || value === undefined) return null
  if (Buffer.isBuffer(value)) return strict.decode(value)
  if (typeof value !== 'object') return String(value)
  const tagged = value as { readonly '!'?: unknown; readonly value?: unknown }
  if (tagged['!'] === 'timestamp' && typeof tagged.value === 'number') return instant(tagged.value)
  if (tagged['!'] === 'decimal') {
    const { digits = 0, places = 0 } = tagged.value as { digits?: number; places?: number }
    return (digits / 10 ** places).toFixed(places)
  }
  return JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? Buffer.from(part).toString('base64') : part))
}

function instant(seconds: number): string {
  try {
    return wire.formatTime(seconds * 1000)
  } catch {
    return String(seconds)
  }
}

const attributeName = /^(?:cloudEvents[_:]|ce[-_])([a-z0-9]{1,64})$/i
const transportName = /^(?:traceparent|tracestate|baggage|ph-[a-z0-9-]+)$/

/** What a header is, by its name. */
export interface Named {
  readonly kind: 'attribute' | 'id' | 'key' | 'time' | 'expires' | 'version' | 'server' | 'slot' | 'body' | 'transport' | 'header'
  /** Its name in a message. */
  readonly name: string
  /** Written as we write it: no other header of the message can mean the same. */
  readonly ours: boolean
}

const kinds: ReadonlyMap<string, Named['kind']> = new Map<string, Named['kind']>([
  ['id', 'id'],
  ['partitionkey', 'key'],
  ['time', 'time'],
  ['expirytime', 'expires'],
  ['specversion', 'version'],
])
const mostNames = 1000
const names = new Map<string, Named>()

/** What a header is. Few names are in use: each is looked at once. */
export function named(header: string): Named {
  const known = names.get(header)
  if (known !== undefined) return known
  const found = look(header)
  if (names.size < mostNames) names.set(header, found)
  return found
}

function look(header: string): Named {
  if (serverOwn.test(header)) return { kind: 'server', name: header, ours: false }
  const attribute = attributeName.exec(header)?.[1]?.toLowerCase()
  if (attribute !== undefined) {
    // What we write as a property of AMQP comes from there.
    const ours = header === prefix + attribute && attribute !== 'datacontenttype'
    return { kind: kinds.get(attribute) ?? 'attribute', name: attribute, ours }
  }
  if (header === 'ph-slot') return { kind: 'slot', name: header, ours: true }
  if (header === 'ph-body') return { kind: 'body', name: header, ours: true }
  if (header.startsWith(aside)) return { kind: 'header', name: header.slice(aside.length), ours: true }
  return { kind: transportName.test(header) ? 'transport' : 'header', name: header, ours: true }
}

// One sender's messages share their attributes: one object for all in a row, so that core compares and checks them once, and
// nothing is made for a message that has the same as the one before.
let last: Content['attributes'] = Object.freeze(texts())
let lastCount = 0

function attributesOf(raw: Readonly<Record<string, unknown>>, properties: Message['properties']): Content['attributes'] {
  const attributes = texts()
  for (const header in raw) {
    const { kind, name } = named(header)
    if (kind !== 'attribute' && kind !== 'time' && kind !== 'expires') continue
    const value = textOf(raw[header])
    // A point in time that is none is kept as what it is.
    if (value !== null && (kind === 'attribute' || wire.parseTime(value) === null)) attributes[name] = value
  }
  if (typeof properties.contentType === 'string') attributes.datacontenttype = properties.contentType
  if (attributes.type === undefined && typeof properties.type === 'string') attributes.type = properties.type
  if (sameTexts(attributes, last)) return last
  last = Object.freeze(attributes)
  lastCount = Object.keys(attributes).length
  return last
}

function sameTexts(some: Content['attributes'], others: Content['attributes']): boolean {
  const all = Object.keys(some)
  return all.length === Object.keys(others).length && all.every((name) => some[name] === others[name])
}

/**
 * Reads a message of any client. `keyed`: a routing key that is no partition stands for the key where the message names none. Bytes
 * where a text must be make it `Undecodable`, with its body and headers as they are. Never throws.
 */
export function decode(message: Message, keyed: boolean): Received | Undecodable {
  const { properties, content, fields } = message
  const raw = (properties.headers ?? {}) as Readonly<Record<string, unknown>>
  let id: string | null = null
  let key: string | null = null
  let time: number | null = null
  let expiresAt: number | null = null
  let headers: Texts | null = null
  let transport: Texts | null = null
  let mark: string | null = null
  let badTime = false
  // Attributes that are those of the message before; -1: they are not the same, or not surely.
  let same = properties.contentType === last.datacontenttype ? (last.datacontenttype === undefined ? 0 : 1) : -1
  for (const header in raw) {
    const { kind, name, ours } = named(header)
    if (kind === 'server' || kind === 'slot') continue
    let value: string | null
    try {
      value = textOf(raw[header])
    } catch {
      return undecodable(message, `the header "${header.slice(0, 100)}" is no UTF-8 text`)
    }
    if (value === null) continue
    switch (kind) {
      case 'id':
        id = value
        break
      case 'key':
        key = value
        break
      case 'time':
        time = wire.parseTime(value)
        if (time === null) badTime = true
        break
      case 'expires':
        expiresAt = wire.parseTime(value)
        if (expiresAt === null) same = -1
        break
      case 'version':
        if (value !== '1.0') return undecodable(message, `it is a CloudEvent of version ${value.slice(0, 20)}, not 1.0`)
        break
      case 'attribute':
        same = same >= 0 && ours && last[name] === value ? same + 1 : -1
        break
      case 'header':
        headers ??= texts()
        headers[name] = value
        break
      default:
        if (kind === 'body' && content.length === 0) mark = value
        else {
          // Its names are known, so that no prototype can be met by them.
          transport ??= {}
          transport[name] = value
        }
    }
  }
  if (id === null && typeof properties.messageId === 'string') id = properties.messageId
  if (last.type === undefined && properties.type !== undefined) same = -1
  const attributes = same === lastCount && !badTime ? last : attributesOf(raw, properties)
  if (time === null && !badTime && typeof properties.timestamp === 'number') time = properties.timestamp * 1000
  if (key === null && keyed && !/^\d*$/.test(fields.routingKey)) key = fields.routingKey
  return { id, key, body: mark === 'null' ? null : content, time, expiresAt, attributes, headers, transport }
}

function undecodable(message: Message, why: string): Undecodable {
  const headers: Record<string, Uint8Array> = Object.create(null) as Record<string, Uint8Array>
  for (const [name, value] of Object.entries(message.properties.headers ?? {})) {
    if (serverOwn.test(name)) continue
    try {
      headers[name] = Buffer.isBuffer(value) ? value : Buffer.from(textOf(value) ?? '')
    } catch {
      headers[name] = Buffer.from(JSON.stringify(value))
    }
  }
  return { undecodable: why, body: message.content, headers }
}

/** How often the server has handed this message out, this time included. `redelivered` says nothing and is not used. */
export function deliveriesOf(message: Message): number {
  const count: unknown = message.properties.headers?.['x-delivery-count']
  return typeof count === 'number' && count >= 0 ? count + 1 : 1
}

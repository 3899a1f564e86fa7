// From PUBLISH packets to messages: lenient, because what any device may have sent is a message, or at least its bytes.

import type { Content, Received, Undecodable } from '@posthorn/core/adapter'
import { wire } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import { bodyMark, createdPrefix, escapedMark, headerPrefix, hopNames } from './encode.ts'

type Texts = Record<string, string>
type Properties = Readonly<Record<string, string | string[]>>

const none: Properties = Object.freeze({})
const texts = (): Texts => Object.create(null) as Texts
const attributeName = /^[a-z0-9]{1,20}$/
const transportName = /^(?:traceparent|tracestate|baggage|ph-[a-z0-9-]+)$/

/** A user property, the last where it is repeated. */
export function propertyOf(packet: IPublishPacket, name: string): string | null {
  const value = packet.properties?.userProperties?.[name]
  return value === undefined ? null : Array.isArray(value) ? (value.at(-1) ?? null) : value
}

// One sender's messages share their attributes: one object for all in a row, so that core compares and checks them once.
let last: Content['attributes'] = Object.freeze(texts())

function sharedOf(attributes: Texts): Content['attributes'] {
  let count = 0
  for (const name in attributes) {
    if (last[name] !== attributes[name]) return keep(attributes)
    count++
  }
  for (const _ in last) count--
  return count === 0 ? last : keep(attributes)
}

function keep(attributes: Texts): Content['attributes'] {
  last = Object.freeze(attributes)
  return last
}

const elsewhere = /^(?:ce[-_]|cloudEvents[:_])([a-z0-9]{1,20})$/i

/** The same properties, with the names of attributes as MQTT has them: libraries of other protocols put something in front. */
function inOurNames(given: Properties): Properties {
  let renamed: Record<string, string | string[]> | null = null
  for (const name in given) {
    if ((name.charCodeAt(0) | 0x20) !== 0x63) continue
    const attribute = elsewhere.exec(name)?.[1]?.toLowerCase()
    if (attribute === undefined || given[attribute] !== undefined) continue
    renamed ??= { ...given }
    renamed[attribute] = given[name] as string | string[]
    delete renamed[name]
  }
  return renamed ?? given
}

/** Reads a message of any client. Never throws. */
export function decode(packet: IPublishPacket): Received | Undecodable {
  const properties = inOurNames(packet.properties?.userProperties ?? none)
  const isEvent = properties.specversion !== undefined
  const marked = properties[escapedMark]
  const escaped = marked === undefined ? null : new Set(String(marked).split(' '))
  let id: string | null = null
  let key: string | null = null
  let time: number | null = null
  let expiresAt: number | null = null
  let headers: Texts | null = null
  let transport: Texts | null = null
  const attributes = texts()
  for (const name in properties) {
    const raw = properties[name] as string | string[]
    const given = typeof raw === 'string' ? raw : (raw.at(-1) ?? '')
    const value = escaped?.has(name) === true ? wire.unescapeHeader(given) : given
    const isAttribute = isEvent && attributeName.test(name) && name !== 'traceparent' && name !== 'tracestate' && name !== 'baggage'
    if (isAttribute && typeof raw !== 'string' && raw.some((each) => each !== given))
      return undecodable(packet, `the attribute "${name}" is there ${raw.length} times, with different values`)
    if (isAttribute) {
      if (name === 'id') id = value
      else if (name === 'partitionkey') key = value
      else if (name === 'specversion') {
        if (value !== '1.0') return undecodable(packet, `it is a CloudEvent of version ${JSON.stringify(value.slice(0, 40))}, not "1.0"`)
      } else if (name === 'time') {
        time = wire.parseTime(value)
        if (time === null) attributes.time = value
      } else if (name === 'expirytime') {
        expiresAt = wire.parseTime(value)
        if (expiresAt === null) attributes.expirytime = value
      } else {
        const created = name.startsWith(createdPrefix) ? name.slice(createdPrefix.length) : ''
        attributes[hopNames.has(created) ? created : name] = value
      }
    } else if (name === bodyMark || name === escapedMark) {
      // for the adapter
    } else if (transportName.test(name)) {
      transport ??= texts()
      transport[name] = value
    } else {
      headers ??= texts()
      headers[name.startsWith(headerPrefix) ? name.slice(headerPrefix.length) : name] = value
    }
  }
  // A sender may have said it twice, as an example of the specification does.
  const contentType = packet.properties?.contentType
  if (contentType !== undefined) attributes.datacontenttype = contentType
  return { id, key, body: bodyOf(packet), time, expiresAt, attributes: sharedOf(attributes), headers, transport }
}

// What is small is copied, so that one that is held long does not hold the whole piece that it came in.
const smallBody = 4096

function bodyOf(packet: IPublishPacket): Uint8Array | null {
  const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
  const mark = payload.length <= 1 ? propertyOf(packet, bodyMark) : null
  if (mark === 'null') return null
  if (mark === 'empty') return new Uint8Array(0)
  return payload.length > smallBody && payload.length * 2 > payload.buffer.byteLength ? payload : Uint8Array.prototype.slice.call(payload)
}

function undecodable(packet: IPublishPacket, why: string): Undecodable {
  const headers: Record<string, Uint8Array> = Object.create(null) as Record<string, Uint8Array>
  const properties = packet.properties?.userProperties ?? none
  for (const name in properties) {
    if (name === bodyMark || name === escapedMark) continue
    const value = properties[name] as string | string[]
    headers[name.startsWith(headerPrefix) ? name.slice(headerPrefix.length) : name] = Buffer.from(
      typeof value === 'string' ? value : value.join(', '),
    )
  }
  return { undecodable: why, body: bodyOf(packet), headers }
}

/** Bytes of a packet in memory, roughly. */
export const packetBytes = (packet: IPublishPacket): number => (packet.length ?? packet.payload.length) + 64

// CloudEvents 1.0 in structured mode, as JSON: one document holds the attributes and the data. Written where the wire has
// no headers (`headers: 'envelope'`), read everywhere. What has no place in the specification goes into extensions:
//
//   partitionkey          the key; absent: no key
//   expirytime            RFC 3339, as `time`
//   traceparent, …        tracestate, baggage: the trace of this hop
//   createdtraceparent, … the attributes of the same names: the trace in which the message was created
//   phheaders             the application's headers, as the text of a JSON object (extensions must be scalar)
//   phtransport           `ph-*` of copies in derived places, in the same form
//   phkey                 the key as JSON text, only where it differs from an attribute `partitionkey`
//
// No `data` and no `data_base64` is a null body; an empty body is an empty `data_base64`. Bodies survive byte by byte:
// JSON stands in `data` as it is where parsing and writing it again gives the same text, else it travels as base64.

import type { Content, Received } from './contract.ts'
import { MessagingError } from './errors.ts'
import { formatTime, parseTime } from './rfc3339.ts'

type Texts = Readonly<Record<string, string>>

/** How a content type marks an event: not at all, as one JSON document, as a batch, or in another format. */
export function structuredKind(contentType: string | undefined): 'none' | 'json' | 'batch' | 'other' {
  // The shortest is "application/cloudevents". Nearly all messages are told apart by their length.
  if (contentType === undefined || contentType.length < 23) return 'none'
  const media = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (!media.startsWith('application/cloudevents')) return 'none'
  const rest = media.slice(23)
  return rest === '' || rest === '+json' ? 'json' : rest.startsWith('-batch') ? 'batch' : 'other'
}

/** Is the body itself a CloudEvent (in any case, with any parameters)? Batches are not: they are refused. */
export function isStructured(contentType: string | undefined): boolean {
  const kind = structuredKind(contentType)
  return kind === 'json' || kind === 'other'
}

/** The content type of what `toStructured` gives. */
export const structuredContentType = 'application/cloudevents+json; charset=UTF-8'

const own: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'time',
  'expirytime',
  'data',
  'data_base64',
  'phheaders',
  'phtransport',
  'phkey',
])
const hop: ReadonlySet<string> = new Set(['traceparent', 'tracestate', 'baggage'])

// Attributes are one frozen object per producer, so their text is made once.
const attributeTexts = new WeakMap<Texts, string>()

function attributeText(attributes: Texts): string {
  let text = attributeTexts.get(attributes)
  if (text === undefined) {
    text = ''
    for (const name of Object.keys(attributes)) {
      if (own.has(name)) continue
      text += `,${JSON.stringify(hop.has(name) ? `created${name}` : name)}:${JSON.stringify(attributes[name])}`
    }
    attributeTexts.set(attributes, text)
  }
  return text
}

/** The content as one CloudEvents JSON document, in UTF-8. `fromStructured` gives back an equal content, its bodies byte for byte. */
export function toStructured(content: Content): Uint8Array {
  const { attributes, headers, transport, key } = content
  let text = `{"specversion":"1.0","id":${JSON.stringify(content.id)}${attributeText(attributes)}`
  if (content.time !== null) text += `,"time":"${formatTime(content.time)}"`
  if (content.expiresAt !== null) text += `,"expirytime":"${formatTime(content.expiresAt)}"`
  if (attributes.partitionkey === undefined) {
    if (key !== null) text += `,"partitionkey":${JSON.stringify(key)}`
  } else if (key !== attributes.partitionkey) text += `,"phkey":${JSON.stringify(JSON.stringify(key))}`
  if (headers !== null) text += `,"phheaders":${JSON.stringify(JSON.stringify(headers))}`
  if (transport !== null) text += transportText(transport)
  return Buffer.from(`${text}${dataText(content.body, attributes.datacontenttype)}}`)
}

function transportText(transport: Texts): string {
  let text = ''
  let rest: Record<string, string> | undefined
  for (const name of Object.keys(transport)) {
    const value = transport[name] ?? ''
    if (hop.has(name)) text += `,"${name}":${JSON.stringify(value)}`
    else {
      rest ??= Object.create(null) as Record<string, string>
      rest[name] = value
    }
  }
  return rest === undefined ? text : `${text},"phtransport":${JSON.stringify(JSON.stringify(rest))}`
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const isJson = (contentType: string | undefined): boolean => contentType === undefined || /^[^;]*[/+]json\s*(?:;|$)/i.test(contentType)
const isText = (contentType: string): boolean => /^\s*text\/|^[^;]*[/+]xml\s*(?:;|$)/i.test(contentType)

function dataText(body: Uint8Array | null, contentType: string | undefined): string {
  if (body === null) return ''
  if (body.length > 0 && isJson(contentType)) {
    const text = exactJson(body)
    if (text !== undefined) return `,"data":${text}`
  } else if (contentType !== undefined && isText(contentType)) {
    const text = decoded(body)
    if (text !== undefined) return `,"data":${JSON.stringify(text)}`
  }
  return `,"data_base64":"${Buffer.from(body.buffer, body.byteOffset, body.length).toString('base64')}"`
}

function decoded(body: Uint8Array): string | undefined {
  try {
    return utf8.decode(body)
  } catch {
    return undefined
  }
}

function exactJson(body: Uint8Array): string | undefined {
  try {
    const text = utf8.decode(body)
    return JSON.stringify(JSON.parse(text)) === text ? text : undefined
  } catch {
    return undefined
  }
}

/**
 * Reads one CloudEvents JSON document, of any writer: scalars of other types become text, an unreadable `time` counts as
 * none, a missing id is null, extensions with odd names are kept.
 *
 * @throws MessagingError `UNDECODABLE` for what is no such document: the message is to be set aside with these bytes
 */
export function fromStructured(bytes: Uint8Array): Received {
  return eventOf(parsed(bytes))
}

/** The same for what may be an event: null where it is none, so that it is taken as a plain message. */
export function fromMaybeStructured(bytes: Uint8Array): Received | null {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes('"specversion"')) return null
  let event: Readonly<Record<string, unknown>>
  try {
    event = parsed(bytes)
  } catch {
    return null
  }
  return typeof event.specversion === 'string' ? eventOf(event) : null
}

function parsed(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(lenient.decode(bytes))
  } catch (cause) {
    throw undecodable('the body is not JSON in UTF-8', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw undecodable('the body is not a JSON object')
  return value as Readonly<Record<string, unknown>>
}
const lenient = new TextDecoder('utf-8', { fatal: true })

const attributeName = /^[A-Za-z0-9_-]{1,64}$/

function eventOf(event: Readonly<Record<string, unknown>>): Received {
  const version = event.specversion
  if (version !== undefined && !(typeof version === 'string' && /^1(?:\.|$)/.test(version))) {
    throw undecodable(`the specversion is ${JSON.stringify(version)?.slice(0, 40)}, not "1.0"`)
  }
  const attributes = Object.create(null) as Record<string, string>
  const transport = optionalTexts(event.phtransport, 'phtransport') ?? (Object.create(null) as Record<string, string>)
  for (const name of Object.keys(event)) {
    if (own.has(name)) continue
    const value = scalar(event[name])
    if (value === undefined) continue
    if (name === '__proto__' || !attributeName.test(name))
      throw undecodable(`${JSON.stringify(name.slice(0, 60))} is not the name of an attribute`)
    if (hop.has(name)) transport[name] = value
    else if (name.startsWith('created') && hop.has(name.slice(7))) attributes[name.slice(7)] = value
    else attributes[name] = value
  }
  return {
    id: scalar(event.id) || null,
    key: keyOf(event, attributes),
    body: bodyOf(event, attributes.datacontenttype),
    time: parseTime(event.time),
    expiresAt: parseTime(event.expirytime),
    attributes: Object.freeze(attributes),
    headers: optionalTexts(event.phheaders, 'phheaders'),
    transport: Object.keys(transport).length === 0 ? null : transport,
  }
}

// The key is `partitionkey`, which then is no attribute as well: whoever writes the message again makes it from the key.
function keyOf(event: Readonly<Record<string, unknown>>, attributes: Record<string, string>): string | null {
  if (typeof event.phkey === 'string') {
    let key: unknown
    try {
      key = JSON.parse(event.phkey)
    } catch (cause) {
      throw undecodable('"phkey" is not JSON', cause)
    }
    if (typeof key !== 'string' && key !== null) throw undecodable('"phkey" is not a text')
    return key
  }
  const key = attributes.partitionkey ?? null
  delete attributes.partitionkey
  return key
}

function bodyOf(event: Readonly<Record<string, unknown>>, contentType: string | undefined): Uint8Array | null {
  const encoded = Object.hasOwn(event, 'data_base64') ? event.data_base64 : undefined
  const plain = Object.hasOwn(event, 'data')
  if (encoded !== undefined && encoded !== null) {
    if (plain && event.data !== null) throw undecodable('it has both data and data_base64')
    if (typeof encoded !== 'string' || encoded.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded))
      throw undecodable('data_base64 is not base64')
    return Buffer.from(encoded, 'base64')
  }
  if (!plain) return null
  const { data } = event
  return Buffer.from(typeof data === 'string' && !isJson(contentType) ? data : JSON.stringify(data))
}

function scalar(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (value === null || value === undefined) return undefined
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function optionalTexts(value: unknown, member: string): Record<string, string> | null {
  if (value === undefined || value === null) return null
  let given: unknown = value
  if (typeof value === 'string') {
    try {
      given = JSON.parse(value)
    } catch (cause) {
      throw undecodable(`"${member}" is not JSON`, cause)
    }
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw undecodable(`"${member}" is not an object of texts`)
  const texts = Object.create(null) as Record<string, string>
  for (const [name, text] of Object.entries(given)) {
    if (typeof text !== 'string') throw undecodable(`"${member}" is not an object of texts`)
    texts[name] = text
  }
  return texts
}

function undecodable(why: string, cause?: unknown): MessagingError {
  return new MessagingError('UNDECODABLE', `cannot read a structured CloudEvent: ${why}`, { cause })
}

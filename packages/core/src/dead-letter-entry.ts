import type { Capabilities, Content, Delivery, Received, Undecodable } from './contract.ts'
import type { DeadLetter } from './dead-letters.ts'
import { capText, textOf } from './errors.ts'
import { digestOf } from './forward-id.ts'
import { tooManyHeaders } from './headers.ts'
import { unwrapEnvelope } from './incoming.ts'
import { redactText } from './redact.ts'
import type { TopicDefinition } from './topic.ts'
import { traceOf } from './trace.ts'

type Texts = Readonly<Record<string, string>>

/** Why and where a message was set aside. */
export interface Failure {
  /** The message's id, given or made. */
  readonly id: string
  readonly reason: string
  readonly attempts: number
  readonly error: string | undefined
  /** Wall clock milliseconds. */
  readonly firstFailedAt: number
  readonly lastFailedAt: number
  readonly topic: string
  readonly group: string
  readonly position: string | null
  /** The server refuses a copy of this size: the entry says where the message lies, and its body stays there. */
  readonly withoutBody?: boolean | undefined
}

const mostErrorBytes = 2048
// Headers that are no text are kept for people up to this; a header block from outside may be of any size.
const mostRawBytes = 16_384
// Empty records delete themselves on some servers: a null or empty body travels as this byte, and a header says so.
const placeholder = Buffer.from([0])
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const noAttributes: Texts = Object.freeze({})

/** The slot of a message among a group's dead letters: one id from two sources is two. */
export function slotOf(source: string | undefined, id: string): string {
  return digestOf([source ?? null, id]).slice(0, 32)
}

/**
 * The dead letter of a message: its payload, key, id, source, headers and trace as they were, and the failure beside them.
 * Of what was never a message, the bytes, and its headers as text where they are.
 */
export function toDeadLetter(source: Received | Undecodable, failure: Failure): Content {
  const message = 'undecodable' in source ? fromBytes(source) : source
  const { body } = message
  const transport: Record<string, string> = {
    ...traceOf(message.transport),
    'ph-reason': capText(redactText(failure.reason), mostErrorBytes),
    'ph-attempts': String(failure.attempts),
    'ph-first': String(failure.firstFailedAt),
    'ph-last': String(failure.lastFailedAt),
    'ph-topic': failure.topic,
    'ph-group': failure.group,
  }
  if (failure.error !== undefined) transport['ph-error'] = capText(redactText(failure.error), mostErrorBytes)
  if (failure.position !== null) transport['ph-position'] = failure.position
  if (message.key !== null) transport['ph-key'] = message.key
  const left = failure.withoutBody === true
  if (left || body === null || body.length === 0) transport['ph-body'] = left ? 'left' : body === null ? 'null' : 'empty'
  // Kept, but out of reach of servers that delete by it: what is set aside does not expire.
  if (message.expiresAt !== null) transport['ph-expires'] = String(message.expiresAt)
  const raw = message.transport?.['ph-raw']
  if ('undecodable' in source && raw !== undefined) transport['ph-raw'] = raw
  return {
    id: failure.id,
    key: message.key,
    body: left || body === null || body.length === 0 ? placeholder : body,
    time: message.time,
    expiresAt: null,
    attributes: message.attributes,
    headers: left && tooManyHeaders(message.headers) ? null : message.headers,
    transport,
  }
}

function fromBytes(source: Undecodable): Received {
  const headers: Record<string, string> = Object.create(null)
  const raw: Record<string, string> = Object.create(null)
  let rawBytes = 0
  for (const [name, bytes] of Object.entries(source.headers ?? {})) {
    try {
      headers[name] = strict.decode(bytes)
    } catch {
      rawBytes += name.length + bytes.length
      if (rawBytes <= mostRawBytes) raw[name] = Buffer.from(bytes).toString('base64url')
    }
  }
  return {
    id: null,
    key: null,
    body: source.body,
    time: null,
    expiresAt: null,
    attributes: noAttributes,
    headers: Object.keys(headers).length > 0 ? headers : null,
    transport: Object.keys(raw).length > 0 ? { 'ph-raw': Buffer.from(JSON.stringify(raw)).toString('base64url') } : null,
  }
}

/** An entry of a group's dead letters as the tools need it: what people see, and the message as it was before it failed. */
export interface DeadEntry {
  readonly letter: DeadLetter
  readonly original: Content
  readonly slot: string
  /** Its body was too large to copy, so there is nothing that could be handed out again. */
  readonly bodyless: boolean
}

/**
 * Reads an entry that `browse` gave. Never throws: an entry that the server or another program wrote is shown as far as
 * it can be. Topic and group are the caller's, never what the entry says of itself.
 */
export function fromDeadLetter(capabilities: Capabilities, topic: TopicDefinition, group: string, delivery: Delivery): DeadEntry {
  const read = received(capabilities, delivery)
  const transport = read.content.transport ?? {}
  const ours = transport['ph-reason'] !== undefined
  const body = bodyOf(read.content, ours)
  const position = transport['ph-position'] ?? delivery.position()
  const id = read.content.id ?? (position === null ? digestOf([read.content.key, body]) : `${topic.name}@${position}`)
  const key = ours ? (transport['ph-key'] ?? null) : read.content.key
  const { attributes, time } = read.content
  const first = timeOf(transport['ph-first']) ?? time ?? 0
  const last = timeOf(transport['ph-last']) ?? first
  const expiresAt = timeOf(transport['ph-expires']) ?? read.content.expiresAt
  const original: Content = {
    id,
    key,
    body,
    time,
    expiresAt,
    attributes,
    headers: read.content.headers,
    transport: { ...traceOf(transport), 'ph-attempt': '1', ...(position === null ? {} : { 'ph-position': position }) },
  }
  const letter: DeadLetter = {
    id,
    key: key ?? undefined,
    value: decodedBody(topic, body),
    bytes: body ?? new Uint8Array(0),
    headers: { ...read.content.headers, ...rawHeaders(transport['ph-raw']) },
    type: attributes.type ?? (typeof topic.type === 'string' ? topic.type : topic.name),
    source: attributes.source,
    time: time === null ? undefined : new Date(time),
    reason: transport['ph-reason'] ?? (read.error === undefined ? 'server' : 'undecodable'),
    attempts: timeOf(transport['ph-attempts']) ?? 0,
    error: transport['ph-error'] ?? read.error,
    topic: topic.name,
    group,
    position: position ?? undefined,
    firstFailedAt: new Date(first),
    lastFailedAt: new Date(last),
  }
  return { letter, original, slot: slotOf(attributes.source, id), bodyless: ours && transport['ph-body'] === 'left' }
}

function received(capabilities: Capabilities, delivery: Delivery): { readonly content: Received; readonly error: string | undefined } {
  const { content } = delivery
  if ('undecodable' in content) return { content: fromBytes(content), error: content.undecodable }
  try {
    return { content: unwrapEnvelope(capabilities, content), error: undefined }
  } catch (error) {
    return { content, error: textOf(error) }
  }
}

function bodyOf(content: Received, ours: boolean): Uint8Array | null {
  const mark = ours ? content.transport?.['ph-body'] : undefined
  if (mark === 'null') return null
  return mark === 'empty' || mark === 'left' ? new Uint8Array(0) : content.body
}

function decodedBody(topic: TopicDefinition, body: Uint8Array | null): unknown {
  if (body === null) return null
  try {
    return topic.codec.decode(body)
  } catch {
    return undefined
  }
}

function rawHeaders(text: string | undefined): Texts {
  if (text === undefined) return {}
  const found: Record<string, string> = {}
  try {
    const raw: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (typeof raw === 'object' && raw !== null) for (const [name, value] of Object.entries(raw)) found[name] = String(value)
  } catch {
    // an entry of another program: its headers are shown without these
  }
  return found
}

function timeOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined
  return Number(text)
}

import { createHash } from 'node:crypto'
import type { Content, Received, Undecodable } from './contract.ts'
import type { DeadLetter } from './dead-letters.ts'
import { capText } from './errors.ts'
import { redactText } from './redact.ts'

/** Longest error text in a dead letter, in bytes. */
const maxErrorBytes = 2048
const oneByte = new Uint8Array([0x2d])

export interface FailureInfo {
  readonly id: string
  readonly reason: string
  readonly attempts: number
  readonly error: string | undefined
  /** Wall clock, milliseconds since 1970. */
  readonly firstFailedAt: number
  readonly lastFailedAt: number
  readonly topic: string
  readonly group: string
  readonly position: string | null
}

/**
 * The copy that is set aside: payload, key, id, source and headers as they were, with why it failed beside them. A null or
 * empty body travels as one byte with a mark, because an empty record deletes itself on some servers.
 */
export function toDeadLetter(source: Received | Undecodable, failure: FailureInfo): Content {
  const transport: Record<string, string> = {
    ...('undecodable' in source ? null : source.transport),
    'ph-reason': failure.reason,
    'ph-attempts': String(failure.attempts),
    'ph-first': String(failure.firstFailedAt),
    'ph-last': String(failure.lastFailedAt),
    'ph-topic': failure.topic,
    'ph-group': failure.group,
  }
  for (const name of ['ph-due', 'ph-hop', 'ph-attempt']) delete transport[name]
  if (failure.position !== null) transport['ph-position'] = failure.position
  if (failure.error !== undefined) transport['ph-error'] = oneLine(capText(redactText(failure.error), maxErrorBytes))
  const { body } = source
  if (body === null || body.length === 0) transport['ph-body'] = body === null ? 'null' : 'empty'
  const stored = body === null || body.length === 0 ? oneByte : body
  if ('undecodable' in source) {
    if (source.headers !== null) transport['ph-raw'] = rawHeaders(source.headers)
    return { id: failure.id, key: null, body: stored, time: null, expiresAt: null, attributes: {}, headers: null, transport }
  }
  // An expiry would take the dead letter away too.
  return { ...source, id: failure.id, body: stored, expiresAt: null, transport }
}

/** Where a dead letter is stored: one entry per source and id, so that equal ids of two producers do not overwrite each other. */
export function slotOf(source: string | undefined, id: string): string {
  return createHash('sha256').update(JSON.stringify([source ?? null, id])).digest('base64url').slice(0, 32)
}

/** The body as it was before it was set aside. */
export function bodyOfDeadLetter(content: Pick<Received, 'body' | 'transport'>): Uint8Array | null {
  const mark = content.transport?.['ph-body']
  return mark === 'null' ? null : mark === 'empty' ? new Uint8Array(0) : content.body
}

/** A dead letter as it is shown; `decode` gives its value, or undefined. */
export function fromDeadLetter(content: Received, topic: string, group: string, decode: (body: Uint8Array | null) => unknown): DeadLetter {
  const transport = content.transport ?? {}
  const body = bodyOfDeadLetter(content)
  const headers: Record<string, string> = Object.assign(Object.create(null), content.headers)
  for (const name of ['traceparent', 'tracestate', 'baggage']) if (transport[name] !== undefined) headers[name] = transport[name]
  if (transport['ph-raw'] !== undefined) for (const [name, value] of readRaw(transport['ph-raw'])) headers[name] ??= value
  return Object.freeze({
    id: content.id ?? '',
    key: content.key ?? undefined,
    value: decode(body),
    bytes: body === null ? new Uint8Array(0) : body.slice(),
    headers: Object.freeze(headers),
    type: content.attributes['type'] ?? topic,
    source: content.attributes['source'],
    time: content.time === null ? undefined : new Date(content.time),
    reason: transport['ph-reason'] ?? 'unknown',
    attempts: whole(transport['ph-attempts']),
    error: transport['ph-error'],
    topic,
    group,
    position: transport['ph-position'],
    firstFailedAt: new Date(whole(transport['ph-first'])),
    lastFailedAt: new Date(whole(transport['ph-last'])),
  })
}

function whole(text: string | undefined): number {
  const value = Number(text ?? 0)
  return Number.isSafeInteger(value) && value >= 0 ? value : 0
}

// A header value has one line on some servers.
function oneLine(text: string): string {
  return text.replace(/[\r\n\0]+/g, ' ')
}

function rawHeaders(headers: Readonly<Record<string, Uint8Array>>): string {
  const pairs = Object.keys(headers).map((name) => [name, Buffer.from(headers[name] as Uint8Array).toString('base64')])
  return Buffer.from(JSON.stringify(pairs)).toString('base64url')
}

function readRaw(text: string): readonly (readonly [string, string])[] {
  try {
    const pairs: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (!Array.isArray(pairs)) return []
    return pairs.flatMap((pair: unknown) => (Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'string' ? [[pair[0], pair[1]] as const] : []))
  } catch {
    return []
  }
}

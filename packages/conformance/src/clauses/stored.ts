// What lies at the server as its sender meant it, whatever the wire can carry, and how a client of another kind writes there.

import type { Broker, DeadLetter, MessagingError, Receipt, Topic } from '@posthorn/core'
import type { Capabilities, Place } from '@posthorn/core/adapter'
import type { RawMessage, StoredMessage } from '../harness.ts'
import type { Trial } from '../trial.ts'
import { deadLettersOf } from './support.ts'

type Texts = Readonly<Record<string, string>>

/** A stored message, out of its envelope where the wire has no headers. */
export interface Meant {
  readonly partition: number
  readonly position: string
  readonly id: string | null
  readonly key: string | null
  readonly body: Uint8Array | null
  readonly time: number | null
  readonly attributes: Texts
  readonly headers: Texts
  readonly transport: Texts
}

const hop = new Set(['traceparent', 'tracestate', 'baggage'])
const own = new Set(['specversion', 'id', 'time', 'expirytime', 'partitionkey', 'data', 'data_base64', 'phheaders', 'phtransport', 'phkey'])

/** Reads by the published form of the envelope, apart from the library, because a check that calls what it checks proves nothing. */
export function meant(stored: StoredMessage, capabilities: Capabilities): Meant {
  const { partition, position } = stored
  const event = capabilities.headers === 'envelope' ? eventIn(stored.body) : undefined
  if (event === undefined) {
    const { id, key, body, time, attributes, headers, transport } = stored
    return { partition, position, id, key, body, time, attributes, headers: headers ?? {}, transport: transport ?? {} }
  }
  const attributes: Record<string, string> = {}
  const transport: Record<string, string> = { ...texts(event['phtransport']) }
  for (const [name, value] of Object.entries(event)) {
    if (hop.has(name)) transport[name] = String(value)
    else if (name.startsWith('created') && hop.has(name.slice(7))) attributes[name.slice(7)] = String(value)
    else if (!own.has(name)) attributes[name] = String(value)
  }
  const { phkey, partitionkey } = event
  const key = typeof phkey === 'string' ? (JSON.parse(phkey) as string | null) : typeof partitionkey === 'string' ? partitionkey : null
  return {
    partition,
    position,
    id: typeof event['id'] === 'string' ? event['id'] : null,
    key,
    body: bodyOf(event, attributes['datacontenttype']),
    time: typeof event['time'] === 'string' ? Date.parse(event['time']) : null,
    attributes,
    headers: texts(event['phheaders']),
    transport,
  }
}

function eventIn(body: Uint8Array | null): Readonly<Record<string, unknown>> | undefined {
  try {
    const event = JSON.parse(Buffer.from(body ?? []).toString()) as Readonly<Record<string, unknown>> | null
    return typeof event === 'object' && event !== null && 'specversion' in event ? event : undefined
  } catch {
    return undefined
  }
}
function texts(value: unknown): Texts {
  return typeof value === 'string' ? (JSON.parse(value) as Texts) : {}
}
function bodyOf(event: Readonly<Record<string, unknown>>, contentType: string | undefined): Uint8Array | null {
  if (typeof event['data_base64'] === 'string') return Buffer.from(event['data_base64'], 'base64')
  if (!('data' in event)) return null
  const { data } = event
  return Buffer.from(typeof data === 'string' && !/json/i.test(contentType ?? 'json') ? data : JSON.stringify(data))
}

/** Headers without the trace, which travels beside the application's own. */
export function applicationHeaders(headers: Texts): Texts {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hop.has(name)))
}

/** All that a place holds, as meant. */
export async function readMeant(t: Trial, place: Place): Promise<readonly Meant[]> {
  return (await t.auditor.read(place)).map((stored) => meant(stored, t.capabilities))
}

/** Ids at a place, repeats included, in stored order. */
export async function storedIds(t: Trial, topic: Topic): Promise<readonly string[]> {
  return (await readMeant(t, t.place(topic))).map(({ id }) => id ?? '')
}

/** A foreign event in the mode that the wire has: binary, or structured where there are no headers. */
export function foreign(t: Trial, event: RawMessage): RawMessage {
  if (t.capabilities.headers === 'native') return event
  const { id, key, body, time, expiresAt, attributes, headers } = event
  const json = {
    specversion: '1.0',
    ...attributes,
    ...(id == null ? {} : { id }),
    ...(key == null ? {} : { partitionkey: key }),
    ...(time == null ? {} : { time: new Date(time).toISOString() }),
    ...(expiresAt == null ? {} : { expirytime: new Date(expiresAt).toISOString() }),
    ...(headers == null ? {} : { phheaders: JSON.stringify(headers) }),
    ...(body === null ? {} : { data_base64: Buffer.from(body).toString('base64') }),
  }
  return { body: Buffer.from(JSON.stringify(json)), ...(event.partition === undefined ? {} : { partition: event.partition }) }
}

/** Resolves when the group has this many dead letters; answers them. */
export async function lettersWhen(
  t: Trial,
  broker: Broker,
  topic: Topic,
  count: number,
  group = 'workers',
): Promise<readonly DeadLetter[]> {
  let letters: readonly DeadLetter[] = []
  await t.until(
    `${count} dead letters of ${topic.name}`,
    async () => {
      letters = await deadLettersOf(broker, topic, group)
      return letters.length >= count
    },
    { withinMs: 30_000, seen: () => letters.map(({ id, reason }) => `${id}: ${reason}`) },
  )
  return letters
}

export interface Outcomes {
  readonly stored: readonly Receipt[]
  readonly errors: readonly MessagingError[]
}
/** How many sends ended, each by its own. */
export async function outcomesOf(sends: readonly Promise<Receipt>[]): Promise<Outcomes> {
  const ended = await Promise.allSettled(sends)
  return {
    stored: ended.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : [])),
    errors: ended.flatMap((each) => (each.status === 'rejected' ? [each.reason as MessagingError] : [])),
  }
}

/** Are these the same bytes? null is not the same as empty. */
export function sameBytes(a: Uint8Array | null | undefined, b: Uint8Array | null | undefined): boolean {
  if (a == null || b == null) return a === b
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
}

/** Text as UTF-8. */
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

// Golden files: ten messages as they lie on a wire, one file per release and server, written by that server's plain client. What
// differs in every run (when it was sent, in which trace) is left open.

import { readdirSync, readFileSync } from 'node:fs'
import type { GoldenEntry, WireEntry } from './abilities.ts'
import type { RawMessage } from './harness.ts'

/** A message as an application sends it. */
export interface Shape {
  readonly name: string
  /** The topic that it goes to: each has a codec of its own. */
  readonly topic: 'keyed' | 'json' | 'text' | 'bytes'
  readonly value: unknown
  readonly key?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly expiresAt?: number
}

const json = 'application/json'
const contentTypes = { keyed: json, json, text: 'text/plain; charset=utf-8', bytes: 'application/octet-stream' } as const
/** What all have in common. */
export const goldenType = 'order.placed'
export const goldenSource = 'suite'
/** Where a golden file leaves something open, and what stands there when it is read again. */
export const openTime = '<time>'
export const openTrace = '<trace>'
export const someTime: number = Date.UTC(2026, 10, 21, 12, 30, 45, 678)
const someTrace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** INT-1's ten shapes. */
export const shapes: readonly Shape[] = [
  { name: 'json', topic: 'keyed', value: { n: 1, text: 'ü ☺' }, key: 'ada' },
  { name: 'no-key', topic: 'json', value: [1, 2.5, null, 'x'] },
  { name: 'empty-key', topic: 'keyed', value: 'text', key: '' },
  { name: 'unicode-key', topic: 'keyed', value: 0, key: 'ключ ☺' },
  { name: 'null', topic: 'keyed', value: null, key: 'ada' },
  { name: 'text', topic: 'text', value: 'grüße ☺\r\n' },
  { name: 'empty', topic: 'text', value: '' },
  { name: 'bytes', topic: 'bytes', value: Uint8Array.of(0, 255, 10, 13, 0xc3, 0x28) },
  { name: 'headers', topic: 'json', value: {}, headers: { tenant: 'nörd ☺', empty: '', 'X-Case': 'Kept', percent: '100%25 "a"' } },
  {
    name: 'everything',
    topic: 'keyed',
    value: { all: true },
    key: 'eve',
    headers: { tenant: 'south' },
    expiresAt: Date.UTC(2098, 0, 2, 3, 4, 5, 6),
  },
]

/** Its body as bytes. */
export function bodyOf({ topic, value }: Shape): Uint8Array | null {
  if (topic === 'bytes') return value as Uint8Array
  if (topic === 'text') return new TextEncoder().encode(value as string)
  return value === null ? null : new TextEncoder().encode(JSON.stringify(value))
}

/** The same message as a plain client is told to write it: what golden files are made of. */
export function foreignShape(shape: Shape): RawMessage {
  return {
    id: `golden-${shape.name}`,
    body: bodyOf(shape),
    time: someTime,
    attributes: { specversion: '1.0', source: goldenSource, type: goldenType, datacontenttype: contentTypes[shape.topic] },
    transport: { traceparent: someTrace },
    partition: 0,
    ...(shape.key === undefined ? {} : { key: shape.key }),
    ...(shape.expiresAt === undefined ? {} : { expiresAt: shape.expiresAt }),
    ...(shape.headers === undefined ? {} : { headers: shape.headers }),
  }
}

const timeName = /^(?:ce_|cloudEvents[_:])?time$/
const rightTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const rightTrace = /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/

/** An entry as golden files have it: what differs in every run is left open if it has the right form, and headers are sorted. */
export function golden(name: string, { headers, contentType, body, key }: WireEntry): GoldenEntry {
  const open = ([header, value]: readonly [string, string]): readonly [string, string] => {
    if (timeName.test(header) && rightTime.test(value)) return [header, openTime]
    return header === 'traceparent' && rightTrace.test(value) ? [header, openTrace] : [header, value]
  }
  const sorted = headers.map(open).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return { name, entry: { headers: sorted, contentType, body: body === null ? null : Buffer.from(body).toString('base64'), key } }
}

/** An entry to be written again: what was left open is filled in. */
export function filledIn({ entry }: GoldenEntry): WireEntry {
  const time = new Date(someTime).toISOString()
  return {
    ...entry,
    headers: entry.headers.map(([name, value]) => [name, value === openTime ? time : value === openTrace ? someTrace : value]),
    body: entry.body === null ? null : new Uint8Array(Buffer.from(entry.body, 'base64')),
  }
}

/** The golden files of a folder, the oldest release first. */
export function goldenFiles(folder: URL): readonly { readonly release: string; readonly entries: readonly GoldenEntry[] }[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((file) => ({
      release: file.slice(0, -'.json'.length),
      entries: JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as readonly GoldenEntry[],
    }))
}

const attribute = /^(?:ce_|cloudEvents[_:])?([a-z0-9]+)$/

/** What of this is no valid event in binary mode, by the rules of CloudEvents 1.0; nothing: all is well. */
export function faultsOf({ entry }: GoldenEntry): readonly string[] {
  const { headers, contentType } = filledIn({ name: '', entry })
  const values = new Map(headers.flatMap(([name, value]) => (attribute.test(name) ? [[name.replace(attribute, '$1'), value]] : [])))
  const faults: string[] = []
  for (const name of ['id', 'source', 'type'])
    if ((values.get(name) ?? '') === '') faults.push(`the attribute "${name}" is missing or empty`)
  if (values.get('specversion') !== '1.0') faults.push(`the specversion is ${values.get('specversion')}`)
  if (!rightTime.test(values.get('time') ?? '')) faults.push(`the time is ${values.get('time')}`)
  if (!/^[\w.+-]+\/[\w.+-]+(?:;.*)?$/.test(contentType ?? '') || /cloudevents/i.test(contentType ?? ''))
    faults.push(`the content type is ${contentType}`)
  const twice = headers.map(([name]) => name).filter((name, index, all) => all.indexOf(name) !== index)
  if (twice.length > 0) faults.push(`it says ${twice.join(', ')} twice`)
  return faults
}

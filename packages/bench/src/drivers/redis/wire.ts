import { newId, newTraceparent, shared, timeText } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'

/** A stream of the topic. All streams of one topic share a hash tag, so that one script may write to them. */
export const streamOf = (topic: string, partition: number): string => `{${topic}}:${partition}`

/** Field by field what Posthorn stores for this message. */
export const fieldsOf = (topic: string, work: Work, keyed: boolean): string[] => [
  'ce_specversion',
  shared.specversion,
  'ce_id',
  newId(),
  'ce_source',
  shared.source,
  'ce_type',
  topic,
  'ce_time',
  timeText(),
  ...(keyed ? ['ce_partitionkey', work.user] : []),
  'content-type',
  shared.datacontenttype,
  'traceparent',
  newTraceparent(),
  'data',
  JSON.stringify(work),
]

/** Field, value, field, value. */
export type Fields = readonly (Buffer | string)[]
/** What XREADGROUP answers. */
export type Reply =
  | readonly (readonly [stream: Buffer | string, entries: readonly (readonly [id: Buffer | string, fields: Fields])[]])[]
  | null

/** The value in these fields. Its own writer put the body last, where a reader that knows it looks at once. */
export function workIn(fields: Fields): Work {
  return JSON.parse(String(fields[fields.length - 1])) as Work
}

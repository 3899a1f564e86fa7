// A dead letter as JSON and as text.

import type { DeadLetter } from '@posthorn/core'
import { createTable } from './table.ts'
import { lines, oneLine } from './text.ts'

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const binary = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/

interface Body {
  /** null: there is no body, which is not the same as an empty one. */
  readonly body: string | null
  readonly encoding: 'text' | 'base64' | null
}

/** The body as text where it is one, else in base64. */
export function bodyOf(letter: Pick<DeadLetter, 'bytes' | 'value'>): Body {
  if (letter.value === null) return { body: null, encoding: null }
  try {
    const text = strict.decode(letter.bytes)
    if (!binary.test(text)) return { body: text, encoding: 'text' }
  } catch {
    // no UTF-8
  }
  return { body: Buffer.from(letter.bytes).toString('base64'), encoding: 'base64' }
}

/** What `--json` shows: all that the API gives, what is missing as null, the body as text or base64. */
export function letterJson(letter: DeadLetter): Readonly<Record<string, unknown>> {
  const { id, topic, group, type, reason, attempts, headers } = letter
  return {
    id,
    topic,
    group,
    key: letter.key ?? null,
    type,
    source: letter.source ?? null,
    time: letter.time?.toISOString() ?? null,
    reason,
    attempts,
    error: letter.error ?? null,
    firstFailedAt: letter.firstFailedAt.toISOString(),
    lastFailedAt: letter.lastFailedAt.toISOString(),
    position: letter.position ?? null,
    headers,
    ...bodyOf(letter),
    bytes: letter.bytes.length,
  }
}

const secondsOf = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`

/** The table of `list`, fed with letters as they come. */
export function letterTable(columns: number | undefined): (letters: readonly DeadLetter[]) => string {
  const rows = createTable(['LAST FAILED', 'ID', 'KEY', 'TYPE', 'REASON', 'ATTEMPTS', 'BYTES', 'ERROR'], columns)
  return (letters) =>
    rows(
      letters.map((letter) => [
        secondsOf(letter.lastFailedAt),
        oneLine(letter.id),
        oneLine(letter.key ?? '-'),
        oneLine(letter.type),
        oneLine(letter.reason),
        String(letter.attempts),
        String(letter.bytes.length),
        oneLine(letter.error ?? ''),
      ]),
    )
}

/** Everything about one letter, for people. */
export function letterText(letter: DeadLetter): string {
  const { body, encoding } = bodyOf(letter)
  const fields: readonly (readonly [string, string | undefined])[] = [
    ['id', letter.id],
    ['topic', letter.topic],
    ['group', letter.group],
    ['key', letter.key],
    ['type', letter.type],
    ['source', letter.source],
    ['time', letter.time?.toISOString()],
    ['reason', letter.reason],
    ['attempts', String(letter.attempts)],
    ['error', letter.error],
    ['first failed', letter.firstFailedAt.toISOString()],
    ['last failed', letter.lastFailedAt.toISOString()],
    ['position', letter.position],
    ...Object.entries(letter.headers).map(([name, value]) => ['header', `${name}: ${value}`] as const),
    ['body', describe(letter.bytes.length, encoding)],
  ]
  const shown = fields.flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(14)}${oneLine(value)}\n`]))
  return `${shown.join('')}${body === null || body === '' ? '' : `\n${lines(body)}\n`}`
}

function describe(bytes: number, encoding: Body['encoding']): string {
  if (encoding === null) return 'none (null)'
  const size = bytes === 1 ? '1 byte' : `${bytes} bytes`
  return encoding === 'base64' ? `${size}, not text: shown in base64` : size
}

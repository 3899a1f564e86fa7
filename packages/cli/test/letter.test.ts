import type { DeadLetter } from '@posthorn/core'
import { expect, test } from 'vitest'
import { bodyOf, letterJson, letterTable, letterText } from '../src/letter.ts'
import { jsonLine } from '../src/text.ts'

const letter = (given: Partial<DeadLetter> = {}): DeadLetter => ({
  id: '17',
  key: undefined,
  value: undefined,
  bytes: new TextEncoder().encode('{"a":1}'),
  headers: {},
  type: 'orders',
  source: undefined,
  time: undefined,
  reason: 'failed',
  attempts: 5,
  error: undefined,
  topic: 'orders',
  group: 'email',
  position: undefined,
  firstFailedAt: new Date('2026-11-22T10:00:00.123Z'),
  lastFailedAt: new Date('2026-11-22T11:00:00.456Z'),
  ...given,
})

test.each([
  ['text', { bytes: new TextEncoder().encode('päckchen\n\tzwei') }, { body: 'päckchen\n\tzwei', encoding: 'text' }],
  ['nothing in it', { bytes: new Uint8Array(0) }, { body: '', encoding: 'text' }],
  ['none at all', { bytes: new Uint8Array(0), value: null }, { body: null, encoding: null }],
  ['no UTF-8', { bytes: Uint8Array.of(0xc3, 0x28) }, { body: 'wyg=', encoding: 'base64' }],
  ['control characters', { bytes: Uint8Array.of(65, 0, 66) }, { body: 'QQBC', encoding: 'base64' }],
  ['a byte order mark', { bytes: Uint8Array.of(0xef, 0xbb, 0xbf, 65) }, { body: '\ufeffA', encoding: 'text' }],
] as const)('a body of %s', (_what, given, expected) => {
  expect(bodyOf(letter(given))).toEqual(expected)
})

test('JSON holds every field, what is missing as null, on one line', () => {
  expect(jsonLine(letterJson(letter()))).toBe(
    '{"id":"17","topic":"orders","group":"email","key":null,"type":"orders","source":null,"time":null,"reason":"failed","attempts":5,' +
      '"error":null,"firstFailedAt":"2026-11-22T10:00:00.123Z","lastFailedAt":"2026-11-22T11:00:00.456Z","position":null,"headers":{},' +
      '"body":"{\\"a\\":1}","encoding":"text","bytes":7}\n',
  )
})

test('JSON means the same with what is dangerous escaped', () => {
  const nasty = '\u001b[31m \u009b \u202e \u2028 "quoted" \\ \ud800 €'
  const line = jsonLine({ nasty })
  expect(line).not.toMatch(/[\u001b\u009b\u202e\u2028]/)
  expect(JSON.parse(line)).toEqual({ nasty })
})

test('the table keeps its columns for what comes later, and ends where the terminal ends', () => {
  const table = letterTable(90)
  const first = table([letter({ id: 'a-long-id', error: 'the mail server said no, and then it said no again and again' })])
  expect(first.split('\n').map((line) => line.length <= 90)).toEqual([true, true, true])
  expect(first).toContain('…')
  const [, row] = first.split('\n')
  const [later] = table([letter({ id: 'short' })]).split('\n')
  expect(later?.indexOf('failed')).toBe(row?.indexOf('failed'))
  expect(letterTable(undefined)([letter({ error: 'x'.repeat(300) })])).toContain('x'.repeat(300))
})

test('base64 is said to be base64, and a missing body to be missing', () => {
  expect(letterText(letter({ bytes: Uint8Array.of(0, 255) }))).toMatch(/body {10}2 bytes, not text: shown in base64\n\nAP8=\n$/)
  expect(letterText(letter({ bytes: new Uint8Array(0), value: null }))).toMatch(/body {10}none \(null\)\n$/)
})

import { expect, test } from 'vitest'
import { parseMoment } from '../src/moment.ts'

const now = Date.parse('2026-11-22T12:00:00Z')

test.each([
  ['90s', now - 90_000],
  ['30m', now - 1_800_000],
  ['2h', now - 7_200_000],
  ['7d', now - 604_800_000],
  ['2w', now - 1_209_600_000],
  ['2026-11-01', Date.parse('2026-11-01T00:00:00Z')],
  ['2026-11-01T10:30Z', Date.parse('2026-11-01T10:30:00Z')],
  ['2026-11-01T10:30:15.250+02:00', Date.parse('2026-11-01T08:30:15.250Z')],
])('%s is a point in time', (text, at) => {
  expect(parseMoment(text, now)).toBe(at)
})

test.each(['', '2', 'h', '2y', '-2h', '1.5h', 'yesterday', '2026-13-01', '2026-02-30', '2026-11-01T10:30', '2026-11-01 10:30Z', '1e3s'])(
  '"%s" is none',
  (text) => {
    expect(parseMoment(text, now)).toBeUndefined()
  },
)

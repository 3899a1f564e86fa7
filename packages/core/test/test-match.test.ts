import { describe, expect, it } from 'vitest'
import { matches, shown } from '../src/test-match.ts'

describe('matches', () => {
  it('compares the fields it is given, deeply, and no others', () => {
    const value = { id: '1', items: [{ n: 1 }], at: new Date(5) }
    expect(matches(value, undefined)).toBe(true)
    expect(matches(value, { id: '1' })).toBe(true)
    expect(matches(value, { items: [{ n: 1 }], at: new Date(5) })).toBe(true)
    expect(matches(value, { items: [{ n: 2 }] })).toBe(false)
    expect(matches(value, { missing: 1 } as object)).toBe(false)
  })

  it('compares values that are no objects as a whole, and asks functions', () => {
    expect(matches('a', 'a')).toBe(true)
    expect(matches('ab', 'a')).toBe(false)
    expect(matches(null, null as never)).toBe(true)
    expect(matches(undefined, { a: 1 })).toBe(false)
    expect(matches([1, 2], [1, 2])).toBe(true)
    expect(matches(5, (value: number) => value > 4)).toBe(true)
  })
})

describe('shown', () => {
  it('keeps texts short and secrets out', () => {
    expect(shown({ url: 'kafka://ada:hunter2hunter@host' })).toContain('[redacted]')
    expect(shown('x'.repeat(1000)).length).toBeLessThan(400)
    expect(shown((value: unknown) => value === 1)).toBe('what the given function accepts')
  })
})

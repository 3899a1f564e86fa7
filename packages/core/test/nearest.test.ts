import { describe, expect, it } from 'vitest'
import { nearest } from '../src/nearest.ts'

describe('nearest', () => {
  it.each([
    ['emial', ['email', 'push'], 'email'],
    ['timeoutMS', ['timeoutMs', 'max'], 'timeoutMs'],
    ['concurency', ['concurrency', 'group'], 'concurrency'],
    ['drain', ['group', 'drainMs'], 'drainMs'],
    ['max', ['maxUnsettled', 'max'], 'max'],
    ['kafak', ['kafka', 'redis'], 'kafka'],
    ['audit', ['email', 'push'], undefined],
    ['x', [], undefined],
    ['', ['a'], 'a'],
    ['a'.repeat(5000), ['a'.repeat(4999)], undefined],
  ])('of %s', (name, known, wanted) => {
    expect(nearest(name, known)).toBe(wanted)
  })

  it('prefers the closest, then the first', () => {
    expect(nearest('cat', ['cart', 'cats', 'cat'])).toBe('cat')
    expect(nearest('cat', ['cart', 'cats'])).toBe('cart')
    expect(nearest('a'.repeat(4999), ['b'])).toBeUndefined()
  })
})

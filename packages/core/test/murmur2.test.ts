import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { murmur2, partitionOf } from '../src/murmur2.ts'

describe('murmur2', () => {
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('hashes %j as the Java client does', (text, expected) => {
    expect(murmur2(new TextEncoder().encode(text))).toBe(expected)
    expect(partitionOf(text, 2 ** 31)).toBe(expected & 0x7fffffff)
  })

  it('gives the same partition by the short path, the UTF-8 path and the bytes of any key', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 500 }), fc.integer({ min: 1, max: 10_000 }), (key, partitions) => {
        const expected = (murmur2(Buffer.from(key)) & 0x7fffffff) % partitions
        expect(partitionOf(key, partitions)).toBe(expected)
        expect(expected).toBeLessThan(partitions)
      }),
    )
  })

  it('does not mix up keys that are hashed one after the other, long and short, empty and not', () => {
    const keys = ['', 'a', 'ä', '☺☺☺', 'x'.repeat(341), 'x'.repeat(342), 'ä'.repeat(400), 'a', '']
    const first = keys.map((key) => partitionOf(key, 1000))
    expect(keys.map((key) => partitionOf(key, 1000))).toEqual(first)
  })

  it('spreads 10,000 keys over 16 partitions evenly', () => {
    const counts = new Array<number>(16).fill(0)
    for (let i = 0; i < 10_000; i++) counts[partitionOf(`user-${i}`, 16)]! += 1
    for (const count of counts) expect(count).toBeGreaterThan(10_000 / 16 / 1.3)
  })
})

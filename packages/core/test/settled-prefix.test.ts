import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSettledPrefix, type PrefixSlot } from '../src/settled-prefix.ts'

describe('createSettledPrefix', () => {
  it('holds back what finished behind an unfinished delivery', () => {
    const prefix = createSettledPrefix<string>()
    const [a, b, c] = ['a', 'b', 'c'].map((token) => prefix.add(token)) as [PrefixSlot, PrefixSlot, PrefixSlot]
    prefix.finish(b)
    prefix.finish(c)
    expect(prefix.take()).toEqual([])
    expect([prefix.size, prefix.waiting]).toEqual([3, 2])
    prefix.finish(a)
    expect(prefix.take()).toEqual(['a', 'b', 'c'])
    expect([prefix.size, prefix.waiting]).toEqual([0, 0])
  })

  it('returns only the last token where that is enough', () => {
    const prefix = createSettledPrefix<number>()
    const slots = [10, 20, 40].map((token) => prefix.add(token))
    prefix.finish(slots[0] as PrefixSlot)
    prefix.finish(slots[1] as PrefixSlot)
    expect(prefix.takeLast()).toBe(20)
    expect(prefix.takeLast()).toBeUndefined()
    expect(prefix.size).toBe(1)
  })

  it('takes a delivery once, however often it is finished, and ignores those from before clear', () => {
    const prefix = createSettledPrefix<string>()
    const a = prefix.add('a')
    prefix.finish(a)
    prefix.finish(a)
    expect(prefix.take()).toEqual(['a'])
    prefix.finish(a)
    const b = prefix.add('b')
    prefix.clear()
    prefix.finish(b)
    expect([prefix.size, prefix.waiting]).toEqual([0, 0])
    prefix.add('c')
    expect(prefix.take()).toEqual([])
  })

  it('ignores the slot of another tracker', () => {
    const one = createSettledPrefix<string>()
    const other = createSettledPrefix<string>()
    one.add('a')
    one.finish(other.add('b'))
    expect(one.take()).toEqual([])
  })

  it('takes exactly the longest finished start, in order and once, under any order of calls', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.constant({ do: 'add' as const, at: 0 }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('finish' as const), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.constant({ do: 'take' as const, at: 0 }) },
      { weight: 1, arbitrary: fc.constant({ do: 'takeLast' as const, at: 0 }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3000, size: 'max' }), (steps) => {
        const prefix = createSettledPrefix<number>()
        const slots: PrefixSlot[] = []
        const finished: boolean[] = []
        let taken = 0
        const expected = (): number[] => {
          const tokens: number[] = []
          while (finished[taken] === true) tokens.push(taken++)
          return tokens
        }
        for (const step of steps) {
          if (step.do === 'add') {
            slots.push(prefix.add(slots.length))
            finished.push(false)
          } else if (step.do === 'finish' && slots.length > 0) {
            // Near the head more often than not, so that the prefix grows.
            const index = step.at % 2 === 0 ? Math.min(taken + (step.at % 5), slots.length - 1) : step.at % slots.length
            prefix.finish(slots[index] as PrefixSlot)
            finished[index] = true
          } else if (step.do === 'take') expect(prefix.take()).toEqual(expected())
          else if (step.do === 'takeLast') expect(prefix.takeLast()).toBe(expected().at(-1))
          expect(prefix.size).toBe(slots.length - taken)
          expect(prefix.waiting).toBe(finished.slice(taken).filter(Boolean).length)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('passes a million deliveries whose first one is late in linear time and gives the memory back', () => {
    const prefix = createSettledPrefix<number>()
    const first = prefix.add(0)
    for (let i = 1; i < 1_000_000; i++) prefix.finish(prefix.add(i))
    expect(prefix.takeLast()).toBeUndefined()
    prefix.finish(first)
    expect(prefix.takeLast()).toBe(999_999)
    expect(prefix.size).toBe(0)
  })
})

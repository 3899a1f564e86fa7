import { describe, expect, it } from 'vitest'
import { createUnconfirmed } from '../src/unconfirmed.ts'

function opened(count: number) {
  const told: number[] = []
  const unconfirmed = createUnconfirmed<{ readonly n: number }>()
  for (let n = 1; n <= count; n++) unconfirmed.add({ n })
  return { told, unconfirmed, confirm: (tag: number, upTo = false) => unconfirmed.confirm(tag, upTo, ({ n }) => told.push(n)) }
}

describe('confirms', () => {
  it('R25 the right message is told, in whatever order the server confirms', () => {
    const { told, unconfirmed, confirm } = opened(6)
    confirm(3)
    confirm(1)
    confirm(2)
    expect(told).toEqual([3, 1, 2])
    confirm(5)
    confirm(6, true)
    expect(told).toEqual([3, 1, 2, 5, 4, 6])
    expect(unconfirmed.size).toBe(0)
  })

  it('a number that is not open is nothing, whether confirmed before or never published', () => {
    const { told, unconfirmed, confirm } = opened(3)
    confirm(2)
    confirm(2)
    confirm(9)
    confirm(1, true)
    confirm(1)
    expect(told).toEqual([2, 1])
    expect(unconfirmed.size).toBe(1)
  })

  it('numbers go on after all was confirmed, and after thousands', () => {
    const { told, unconfirmed, confirm } = opened(2)
    confirm(2, true)
    for (let n = 3; n <= 10_000; n++) unconfirmed.add({ n })
    for (let n = 3; n <= 10_000; n += 2) confirm(n + 1)
    for (let n = 3; n <= 10_000; n += 2) confirm(n)
    expect(new Set(told).size).toBe(10_000)
    expect(unconfirmed.size).toBe(0)
  })

  it('what is left at the end comes out once, in order', () => {
    const { unconfirmed, confirm } = opened(5)
    confirm(2)
    expect(unconfirmed.drain().map(({ n }) => n)).toEqual([1, 3, 4, 5])
    expect(unconfirmed.drain()).toEqual([])
    expect(unconfirmed.size).toBe(0)
  })
})

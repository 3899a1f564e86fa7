import { describe, expect, it } from 'vitest'
import { createProgress, farthest, readBits } from '../src/progress.ts'

const from = (offset: number, metadata = '') => createProgress({ offset, metadata })

describe('what of a partition is done', () => {
  it('is everything before the first unfinished message, whatever finished behind it', () => {
    const progress = from(10)
    for (const offset of [10, 11, 12, 13]) expect(progress.handOut(offset)).toBe(true)
    progress.finish(11)
    progress.finish(13)
    const place = progress.place()
    expect(place.offset).toBe(10)
    expect([...readBits(place)]).toEqual([11, 13])
    progress.finish(10)
    expect(progress.place().offset).toBe(12)
    progress.finish(12)
    expect(progress.place()).toEqual({ offset: 14, metadata: '' })
  })

  it('is not handed out again by a successor, who tells it on as long as something before it is open', () => {
    const first = from(0)
    for (const offset of [0, 1, 2, 5, 9]) first.handOut(offset)
    for (const offset of [1, 5, 9]) first.finish(offset)
    const second = createProgress(first.place())
    expect([0, 1, 2].map((offset) => second.handOut(offset))).toEqual([true, false, true])
    second.finish(2)
    // 5 and 9 were not looked at yet, and are not forgotten.
    expect([...readBits(second.place())].sort((a, b) => a - b)).toEqual([1, 2, 5, 9])
    second.finish(0)
    expect(second.place().offset).toBe(3)
    expect([5, 9].map((offset) => second.handOut(offset))).toEqual([false, false])
    expect(second.place()).toEqual({ offset: 10, metadata: '' })
  })

  it('goes past holes that compaction and transactions leave', () => {
    const progress = from(0)
    progress.handOut(3)
    progress.finish(3)
    progress.reach(7)
    expect(progress.place()).toEqual({ offset: 7, metadata: '' })
  })

  it('counts what a transaction is about to finish only where it is asked to', () => {
    const progress = from(0)
    for (const offset of [0, 1, 2]) progress.handOut(offset)
    expect(progress.place(new Set([0, 2])).offset).toBe(1)
    expect([...readBits(progress.place(new Set([0, 2])))]).toEqual([2])
    expect(progress.place()).toEqual({ offset: 0, metadata: '' })
  })

  it('fits what servers allow beside a position, however far ahead', () => {
    const progress = from(0)
    for (let offset = 0; offset < farthest; offset++) progress.handOut(offset)
    for (let offset = 1; offset < farthest; offset += 2) progress.finish(offset)
    expect(Buffer.byteLength(progress.place().metadata)).toBeLessThanOrEqual(4096)
  })

  it('takes texts of others for nothing', () => {
    expect(readBits({ offset: 5, metadata: 'saved by hand' }).size).toBe(0)
    expect(from(5, 'saved by hand').handOut(5)).toBe(true)
  })
})

import { describe, expect, it } from 'vitest'
import { realRandom } from '../src/clock.ts'
import { createIds } from '../src/random-id.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

describe('ids', () => {
  it.each([
    ['real', realRandom],
    ['seeded', seeded(1)],
    ['lowest', () => 0],
    ['highest', () => 1 - Number.EPSILON],
  ])('are UUIDs of version 4 from %s randomness', (_, random) => {
    const ids = Array.from({ length: 300 }, createIds(random))
    for (const id of ids) expect(id).toMatch(uuid)
  })

  it('never repeat in real life, and every digit that is free takes every value', () => {
    const ids = Array.from({ length: 2_000 }, createIds(realRandom))
    expect(new Set(ids).size).toBe(2_000)
    for (let at = 0; at < 36; at++) {
      const values = new Set(ids.map((id) => id[at])).size
      expect(values).toBe(at === 14 || [8, 13, 18, 23].includes(at) ? 1 : at === 19 ? 4 : 16)
    }
  })

  it('repeat under the same seed, and only then', () => {
    const make = (seed: number): string[] => Array.from({ length: 1_000 }, createIds(seeded(seed)))
    expect(make(7)).toEqual(make(7))
    expect(new Set([...make(7), ...make(8)]).size).toBe(2_000)
  })
})

import { expect, test } from 'vitest'
import { activeEntries } from '../src/active-entries.ts'
import type { AssignmentRunner } from '../src/consumption.ts'
import type { Delivery } from '../src/contract.ts'
import { createEntry, type Entry } from '../src/entry.ts'
import { keyLanes } from '../src/key-lanes.ts'

const runner = { topic: { name: 'ticks' } } as AssignmentRunner
const delivery: Delivery = {
  token: null,
  content: { undecodable: '', body: null, headers: null },
  parked: false,
  deliveries: null,
  position: () => null,
}
const entryOf = (id: string, lane: string | null): Entry => createEntry(runner, delivery, null, id, lane)

test('messages of one key go one after the other, those of others beside them', () => {
  const lanes = keyLanes()
  const [first, second, third, other] = ['1', '2', '3', '4'].map((id) => entryOf(id, id === '4' ? 'b' : 'a')) as [
    Entry,
    Entry,
    Entry,
    Entry,
  ]
  expect([first, second, third, other].map((entry) => lanes.enter(entry))).toEqual([true, false, false, true])
  const next: string[] = []
  for (const entry of [first, second, third, other]) lanes.open(entry, (behind) => next.push(behind.id))
  expect(next).toEqual(['2', '3'])
  expect(lanes.enter(entryOf('5', 'a'))).toBe(true)
})

test('keys without messages are forgotten, and begin again with nothing before them', () => {
  const lanes = keyLanes()
  const held = entryOf('held', 'held')
  lanes.enter(held)
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 5000; n++) {
      const entry = entryOf(`${n}`, `${n % 2 === 0 ? 'k' : 'x'.repeat(100)}${n}`)
      expect(lanes.enter(entry)).toBe(true)
      lanes.open(entry, () => expect.unreachable('nothing is behind it'))
    }
  }
  expect(lanes.enter(entryOf('behind', 'held'))).toBe(false)
})

test('what is through keeps nothing alive that comes after it', () => {
  const lanes = keyLanes()
  const [first, second] = [entryOf('1', 'a'), entryOf('2', 'a')]
  lanes.enter(first)
  lanes.enter(second)
  lanes.open(first, () => undefined)
  expect(first.behind).toBe(null)
})

test('active entries are counted once, whatever order they leave in', () => {
  const active = activeEntries()
  const entries = Array.from({ length: 20 }, (_, n) => entryOf(`${n}`, null))
  for (const entry of [...entries, ...entries]) active.add(entry)
  expect(active.size).toBe(20)
  for (const n of [0, 19, 7, 7, 18, 3]) active.delete(entries[n] as Entry)
  expect([...active].map((entry) => Number(entry.id)).sort((a, b) => a - b)).toEqual([1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
  active.clear()
  expect([active.size, (entries[1] as Entry).place]).toEqual([0, -1])
})

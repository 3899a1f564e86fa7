import { expect, test } from 'vitest'
import { virtualClock } from '../src/virtual-clock.ts'

test('timers run in order of their due time, and of setting where that is equal', () => {
  const clock = virtualClock()
  const ran: string[] = []
  clock.timer(20, () => ran.push('late'))
  clock.timer(10, () => ran.push('first'))
  clock.timer(10, () => ran.push('second'))
  expect(clock.pending()).toBe(3)
  expect(clock.nextDue()).toBe(clock.monotonic() + 10)
  expect(clock.step()).toBe(true)
  expect(ran).toEqual(['first', 'second'])
  expect(clock.step()).toBe(true)
  expect(ran).toEqual(['first', 'second', 'late'])
  expect(clock.step()).toBe(false)
  expect(clock.pending()).toBe(0)
  expect(clock.nextDue()).toBeNull()
})

test('a step moves both times by the same amount', () => {
  const clock = virtualClock({ startMs: 1_000 })
  const from = clock.monotonic()
  expect(from).toBeGreaterThan(0)
  clock.timer(250, () => {})
  clock.step()
  expect(clock.now()).toBe(1_250)
  expect(clock.monotonic()).toBe(from + 250)
})

test('a step of the wall clock moves no timer', () => {
  const clock = virtualClock({ startMs: 0 })
  const from = clock.monotonic()
  clock.timer(100, () => {})
  clock.stepWall(-3_600_000)
  expect(clock.now()).toBe(-3_600_000)
  expect(clock.nextDue()).toBe(from + 100)
  clock.step()
  expect(clock.now()).toBe(-3_599_900)
})

test('a cancelled timer does not run, and cancelling twice or after it ran does nothing', () => {
  const clock = virtualClock()
  let ran = 0
  const cancel = clock.timer(10, () => ran++)
  const cancelOther = clock.timer(10, () => ran++)
  cancel()
  cancel()
  expect(clock.pending()).toBe(1)
  clock.step()
  expect(ran).toBe(1)
  cancelOther()
  expect(clock.pending()).toBe(0)
})

test('a timer of 0 ms that a timer sets waits for the next step', () => {
  const clock = virtualClock()
  const ran: number[] = []
  clock.timer(5, () => {
    ran.push(1)
    clock.timer(0, () => ran.push(2))
  })
  clock.step()
  expect(ran).toEqual([1])
  const at = clock.monotonic()
  clock.step()
  expect(ran).toEqual([1, 2])
  expect(clock.monotonic()).toBe(at)
})

test('what a timer throws reaches the caller after the others of its time ran', () => {
  const clock = virtualClock()
  let ran = false
  clock.timer(1, () => {
    throw new Error('broken')
  })
  clock.timer(1, () => {
    ran = true
  })
  expect(() => clock.step()).toThrow('broken')
  expect(ran).toBe(true)
})

test('ten thousand timers come in order', () => {
  const clock = virtualClock()
  const due: number[] = []
  let seed = 7
  for (let index = 0; index < 10_000; index++) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
    const at = clock.monotonic() + (seed % 1_000)
    clock.timer(seed % 1_000, () => due.push(at))
  }
  while (clock.step()) {}
  expect(due).toHaveLength(10_000)
  expect(due).toEqual([...due].sort((a, b) => a - b))
})

test('parts of a millisecond are rounded up, so that wall time stays whole', () => {
  const clock = virtualClock()
  const at = clock.monotonic()
  clock.timer(0.2, () => {})
  clock.step()
  expect(clock.monotonic()).toBe(at + 1)
  expect(Number.isInteger(clock.now())).toBe(true)
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createTimerWheel } from '../src/timer-wheel.ts'
import { virtualClock } from '../src/virtual-clock.ts'

describe('createTimerWheel', () => {
  it('runs each timer once, never early, late by less than a bucket, whatever is cancelled', () => {
    const plan = fc.array(
      fc.record({ ms: fc.oneof(fc.nat(50), fc.nat(5000), fc.double({ min: 0, max: 1e5, noNaN: true })), cancel: fc.boolean() }),
      { maxLength: 200 },
    )
    fc.assert(
      fc.property(plan, fc.integer({ min: 1, max: 50 }), (timers, bucketMs) => {
        const clock = virtualClock()
        const wheel = createTimerWheel(clock, bucketMs)
        const start = clock.monotonic()
        const ran = new Map<number, number>()
        const cancels = timers.map(({ ms }, i) =>
          wheel.timer(ms, () => {
            expect(ran.has(i)).toBe(false)
            ran.set(i, clock.monotonic() - start)
          }),
        )
        expect(wheel.size).toBe(timers.length)
        timers.forEach(({ cancel }, i) => {
          if (cancel) cancels[i]?.()
          if (cancel) cancels[i]?.()
        })
        while (clock.step());
        timers.forEach(({ ms, cancel }, i) => {
          const at = ran.get(i)
          if (cancel) expect(at).toBeUndefined()
          else {
            expect(at).toBeGreaterThanOrEqual(ms - 1e-6)
            expect(at).toBeLessThan(ms + bucketMs + 1)
          }
        })
        expect([wheel.size, clock.pending()]).toEqual([0, 0])
      }),
    )
  })

  it('sets one timer of the clock for all, and none when it is empty', () => {
    const clock = virtualClock()
    const wheel = createTimerWheel(clock)
    expect(clock.pending()).toBe(0)
    const cancels = Array.from({ length: 1000 }, (_, i) => wheel.timer(5000 - i, () => undefined))
    expect(clock.pending()).toBe(1)
    for (const cancel of cancels) cancel()
    expect([wheel.size, clock.pending()]).toEqual([0, 0])
  })

  it('lets a timer set and cancel others while it runs', () => {
    const clock = virtualClock()
    const wheel = createTimerWheel(clock)
    const ran: string[] = []
    let cancelB: () => void = () => undefined
    wheel.timer(100, () => {
      ran.push('a')
      cancelB()
      wheel.timer(0, () => ran.push('c'))
      wheel.timer(500, () => ran.push('d'))
    })
    cancelB = wheel.timer(100, () => ran.push('b'))
    while (clock.step());
    expect(ran).toEqual(['a', 'c', 'd'])
    expect(clock.pending()).toBe(0)
  })

  it('runs the timers of one time in the order they were set', () => {
    const clock = virtualClock()
    const wheel = createTimerWheel(clock)
    const ran: number[] = []
    const cancels = [0, 1, 2, 3, 4].map((i) => wheel.timer(100, () => ran.push(i)))
    cancels[2]?.()
    cancels[4]?.()
    wheel.timer(100, () => ran.push(5))
    clock.step()
    expect(ran).toEqual([0, 1, 3, 5])
  })

  it('runs the others although one throws, and lets the error surface', () => {
    const clock = virtualClock()
    const wheel = createTimerWheel(clock)
    const ran: string[] = []
    wheel.timer(10, () => {
      throw new Error('first')
    })
    wheel.timer(10, () => ran.push('second'))
    wheel.timer(100, () => ran.push('third'))
    expect(() => clock.step()).toThrow('first')
    expect(ran).toEqual(['second'])
    clock.step()
    expect(ran).toEqual(['second', 'third'])
  })

  it('forgets everything at clear and works again', () => {
    const clock = virtualClock()
    const wheel = createTimerWheel(clock)
    const ran: string[] = []
    const cancel = wheel.timer(10, () => ran.push('a'))
    wheel.clear()
    cancel()
    expect([wheel.size, clock.pending()]).toEqual([0, 0])
    wheel.timer(10, () => ran.push('b'))
    clock.step()
    expect(ran).toEqual(['b'])
  })

  it('is never early on a clock whose timers are', () => {
    const real = virtualClock()
    const clock = { ...real, timer: (ms: number, run: () => void) => real.timer(Math.max(0, ms - 0.7), run) }
    const wheel = createTimerWheel(clock)
    const start = clock.monotonic()
    let at = 0
    wheel.timer(25, () => (at = clock.monotonic() - start))
    for (let i = 0; i < 100 && clock.pending() > 0; i++) real.step()
    expect(at).toBeGreaterThanOrEqual(25)
  })
})

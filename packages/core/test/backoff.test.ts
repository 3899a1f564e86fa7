import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoff, reconnectDelay } from '../src/backoff.ts'

const policy = { firstDelayMs: 200, factor: 2, maxDelayMs: 30_000 }
const full = () => 1 - Number.EPSILON

describe('backoff', () => {
  it('doubles from the first delay to the highest one', () => {
    expect([1, 2, 3, 4, 8, 9, 50, 5000].map((failures) => backoff(policy, failures, full))).toEqual([
      200, 400, 800, 1600, 25_600, 30_000, 30_000, 30_000,
    ])
  })

  it('spreads evenly from zero to the full delay', () => {
    expect(backoff(policy, 1, () => 0)).toBe(0)
    expect(backoff(policy, 1, () => 0.5)).toBe(100)
  })

  it('is a whole number within its bounds for any policy', () => {
    const ms = fc.integer({ min: 0, max: 100_000 })
    fc.assert(
      fc.property(
        ms,
        fc.double({ min: 1, max: 10, noNaN: true }),
        ms,
        fc.integer({ min: 1, max: 1e6 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (firstDelayMs, factor, maxDelayMs, failures, part) => {
          const delay = backoff({ firstDelayMs, factor, maxDelayMs }, failures, () => part)
          expect(Number.isInteger(delay)).toBe(true)
          expect(delay).toBeGreaterThanOrEqual(0)
          expect(delay).toBeLessThanOrEqual(maxDelayMs)
        },
      ),
    )
  })

  it('waits zero where the first delay is zero, however often it failed', () => {
    expect(backoff({ firstDelayMs: 0, factor: 2, maxDelayMs: 1000 }, 100, full)).toBe(0)
  })
})

describe('reconnectDelay', () => {
  it('tries at most twice a second and at least every 30 seconds', () => {
    for (let tries = 1; tries < 100; tries++) {
      expect(reconnectDelay(tries, () => 0)).toBe(500)
      expect(reconnectDelay(tries, full)).toBe(Math.min(30_000, 1000 * 2 ** (tries - 1)))
    }
  })
})

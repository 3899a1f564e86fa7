import { describe, expect, it } from 'vitest'
import { startLease } from '../src/lease-timer.ts'
import { virtualClock } from '../src/virtual-clock.ts'

const settled = async () => {
  for (let i = 0; i < 5; i++) await Promise.resolve()
}

/** A lease of 4 s with a margin of 1 s whose server answers as `answer` says, and a way to let time pass. */
function lease(answer: (ask: number) => Promise<boolean>) {
  const clock = virtualClock()
  const start = clock.monotonic()
  const over: string[] = []
  const asked: number[] = []
  const held = startLease(
    {
      clock,
      lifeMs: 4000,
      marginMs: 1000,
      renew: () => {
        asked.push(clock.monotonic() - start)
        return answer(asked.length)
      },
      onOver: (why) => over.push(`${why} at ${clock.monotonic() - start}`),
    },
    start,
  )
  const until = async (ms: number) => {
    for (;;) {
      await settled()
      const due = clock.nextDue()
      if (due === null || due > start + ms) return
      clock.step()
    }
  }
  return { clock, start, held, over, asked, until, alive: () => held.aliveUntil - start }
}

describe('startLease', () => {
  it('proves ownership every quarter and counts from the sending of the proof', async () => {
    const it = lease(() => Promise.resolve(true))
    expect(it.alive()).toBe(3000)
    await it.until(10_000)
    expect(it.asked).toEqual([1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000])
    expect([it.alive(), it.over]).toEqual([13_000, []])
  })

  it('does not count the time an answer took', async () => {
    let answer: (yes: boolean) => void = () => undefined
    const it = lease(() => new Promise((resolve) => (answer = resolve)))
    await it.until(2500)
    expect(it.asked).toEqual([1000])
    answer(true)
    await settled()
    expect(it.alive()).toBe(4000)
  })

  it('expires a life after the last answered proof, with the doubt a margin earlier', async () => {
    const it = lease((ask) => (ask <= 2 ? Promise.resolve(true) : Promise.reject(new Error('no link'))))
    await it.until(5999)
    expect([it.alive(), it.over]).toEqual([5000, []])
    await it.until(60_000)
    expect(it.over).toEqual(['expired at 6000'])
    expect(it.held.aliveUntil).toBe(Number.NEGATIVE_INFINITY)
    expect(it.asked.at(-1)).toBeLessThanOrEqual(6000)
    expect(it.clock.pending()).toBe(0)
  })

  it('expires although a proof never answers', async () => {
    const it = lease(() => new Promise(() => undefined))
    await it.until(60_000)
    expect([it.asked, it.over]).toEqual([[1000], ['expired at 4000']])
  })

  it('is over at once when the server denies it', async () => {
    const it = lease((ask) => Promise.resolve(ask === 1))
    await it.until(60_000)
    expect(it.over).toEqual(['denied at 2000'])
    expect(it.clock.pending()).toBe(0)
  })

  it('takes other proofs, never an older one', async () => {
    const it = lease(() => new Promise(() => undefined))
    it.held.proven(it.start + 2000)
    it.held.proven(it.start + 500)
    expect(it.alive()).toBe(5000)
    await it.until(60_000)
    expect(it.over).toEqual(['expired at 6000'])
    it.held.proven(it.start + 60_000)
    expect(it.held.aliveUntil).toBe(Number.NEGATIVE_INFINITY)
  })

  it('says nothing after stop, whatever was asked before', async () => {
    const it = lease(() => Promise.resolve(false))
    await it.until(900)
    it.held.stop()
    it.held.stop()
    await it.until(60_000)
    expect([it.over, it.asked, it.clock.pending()]).toEqual([[], [], 0])
  })
})

import { describe, expect, it } from 'vitest'
import { createDriver, drive, realPause } from '../src/drive.ts'
import { virtualClock } from '../src/virtual-clock.ts'

const sleep = (clock: { timer(ms: number, run: () => void): unknown }, ms: number) =>
  new Promise<void>((resolve) => {
    clock.timer(ms, resolve)
  })

describe('drive', () => {
  it('lets a week of waiting pass at once, step by step', async () => {
    const clock = virtualClock()
    const seen: number[] = []
    const start = clock.now()
    const work = (async () => {
      for (let day = 0; day < 7; day++) {
        await sleep(clock, 86_400_000)
        seen.push(clock.now() - start)
      }
      return 'done'
    })()
    expect(await drive(clock, work)).toBe('done')
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7].map((day) => day * 86_400_000))
  })

  it('lets what a step set off settle before it takes the next one', async () => {
    const clock = virtualClock()
    const order: string[] = []
    const slow = sleep(clock, 10).then(async () => {
      for (let i = 0; i < 100; i++) await Promise.resolve()
      order.push('all that the first timer set off')
    })
    const next = sleep(clock, 20).then(() => order.push('the second timer'))
    await drive(clock, Promise.all([slow, next]))
    expect(order).toEqual(['all that the first timer set off', 'the second timer'])
  })

  it('waits for real work without moving time that is not due', async () => {
    const clock = virtualClock()
    const start = clock.now()
    await drive(clock, realPause(20))
    expect(clock.now()).toBe(start)
  })

  it('passes a rejection on', async () => {
    const clock = virtualClock()
    await expect(
      drive(
        clock,
        sleep(clock, 5).then(() => Promise.reject(new Error('no'))),
      ),
    ).rejects.toThrow('no')
  })

  it('rejects what can never end, and says why', async () => {
    const clock = virtualClock()
    await expect(drive(clock, new Promise(() => undefined), 20)).rejects.toThrow('no timer is set')
    const again = () => void clock.timer(1000, again)
    again()
    await expect(drive(clock, new Promise(() => undefined), 20)).rejects.toThrow('for ever')
  })
})

describe('createDriver', () => {
  it('takes one step for all who wait', async () => {
    const clock = virtualClock()
    const driver = createDriver(clock)
    for (let i = 1; i <= 5; i++) void sleep(clock, i * 10)
    expect(await Promise.all([driver.turn(), driver.turn(), driver.turn()])).toEqual(['moved', 'moved', 'moved'])
    expect(clock.pending()).toBe(4)
  })

  it('moves time only while it is wanted or something is driven', async () => {
    const clock = virtualClock()
    let wanted = false
    const driver = createDriver(clock, { wanted: () => wanted })
    const long = sleep(clock, 1000)
    expect(await driver.turn()).toBe('held')
    wanted = true
    expect(await driver.turn()).toBe('moved')
    await long
    wanted = false
    await driver.driven(sleep(clock, 5000))
    expect([driver.open, clock.pending()]).toEqual([0, 0])
    await realPause(1)
    expect(await driver.turn()).toBe('held')
  })

  it('stands still while it is held back', async () => {
    const clock = virtualClock()
    let hold = true
    const driver = createDriver(clock, { hold: () => hold })
    let ended = false
    const work = driver.driven(sleep(clock, 1).then(() => (ended = true)))
    await realPause(10)
    expect(ended).toBe(false)
    hold = false
    await work
  })
})

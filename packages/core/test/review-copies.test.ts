import { type Broker, retry, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

const profiles = ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const

function world(profile: (typeof profiles)[number]) {
  const clock = virtualClock()
  const server = memoryServer({ clock, profile })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let drawn = 0
  const random = (): number => (drawn = (drawn * 0.618 + 0.37) % 1)
  const open = (name: string): Promise<Broker> => connectWith({ clock, random }, memory({ server }), { name, log: false })
  return { clock, server, sleep, open }
}

const jobs = topic('copies.jobs', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })

describe('a copy of a message whose own settlement is not known', () => {
  it.each(profiles)('is handled when it comes back from the retry place (%s)', async (profile) => {
    const { clock, server, sleep, open } = world(profile)
    const attempts: number[] = []
    await drive(
      clock,
      (async () => {
        const consumer = await open('consumer')
        await consumer.consume(jobs, { group: 'workers' }, async (message) => {
          attempts.push(message.attempt)
          if (message.attempt > 2) return undefined
          for (const link of server.links()) link.withhold(['settle'])
          return retry({ afterMs: 31_000 })
        })
        await (await open('sender')).producer(jobs).send('once')
        await sleep(20_000)
        for (const link of server.links()) link.heal()
        await sleep(30_000)
        for (const link of server.links()) link.heal()
        await sleep(60_000)
        await consumer.close()
      })(),
      10_000,
    )
    expect([...new Set(attempts)]).toEqual([1, 2, 3])
  })

  it.each(profiles)('is handled when it was a dead letter and is replayed (%s)', async (profile) => {
    const { clock, server, sleep, open } = world(profile)
    let runs = 0
    await drive(
      clock,
      (async () => {
        const consumer = await open('consumer')
        await consumer.consume(jobs, { group: 'workers', retry: false }, async () => {
          runs++
          if (runs > 1) return
          for (const link of server.links()) link.withhold(['settle'])
          throw new Error('fails once')
        })
        await (await open('sender')).producer(jobs).send('once')
        await sleep(8_000)
        for (const link of server.links()) link.heal()
        await sleep(2_000)
        expect(await consumer.deadLetters(jobs, 'workers').replay({ all: true })).toEqual({ replayed: 1, left: 0 })
        await sleep(10_000)
        await consumer.close()
      })(),
      10_000,
    )
    expect(runs).toBe(2)
  })
})

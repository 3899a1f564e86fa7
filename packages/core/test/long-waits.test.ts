import { type Broker, postpone, retry, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

const minute = 60_000
const jobs = topic('waits.jobs', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })

function world(profile: 'default' | 'kafka' | 'rabbitmq' | 'redis' | 'mqtt') {
  const clock = virtualClock()
  const server = memoryServer({ clock, profile, capabilities: { limits: { delayMs: 10 * minute } } })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let drawn = 0
  const random = (): number => (drawn = (drawn * 0.618 + 0.37) % 1)
  const open = (name: string): Promise<Broker> => connectWith({ clock, random }, memory({ server }), { name, log: false })
  return { clock, server, sleep, open }
}

describe('a wait that is longer than the server holds a message', () => {
  it.each(['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const)('is not cut short, and costs no attempt (%s)', async (profile) => {
    const { clock, server, sleep, open } = world(profile)
    const starts: { readonly attempt: number; readonly at: number }[] = []
    const waits = [25 * minute, 10 * minute + 20_000, 31 * minute]
    await drive(
      clock,
      (async () => {
        let broker = await open('consumer')
        const consume = () =>
          broker.consume(jobs, { group: 'workers' }, (message) => {
            starts.push({ attempt: message.attempt, at: clock.now() })
            const afterMs = waits[starts.length - 1]
            if (afterMs === undefined) return undefined
            return starts.length === 2 ? postpone({ afterMs }) : retry({ afterMs })
          })
        await consume()
        await (await open('sender')).producer(jobs).send('once')
        await sleep(15 * minute)
        // What waits is at the server, not in the memory of who consumes.
        await broker.close()
        broker = await open('consumer')
        await consume()
        await sleep(120 * minute)
        expect(server.remaining(jobs.name, 'workers')).toBe(0)
        await broker.close()
      })(),
      10_000,
    )
    expect(starts.map(({ attempt }) => attempt)).toEqual([1, 2, 2, 3])
    for (const [index, waitMs] of waits.entries()) {
      const took = (starts[index + 1]?.at ?? 0) - (starts[index]?.at ?? 0)
      expect(took).toBeGreaterThanOrEqual(waitMs)
      expect(took).toBeLessThan(waitMs + 5_000)
    }
  })
})

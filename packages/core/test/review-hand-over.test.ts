import { type Broker, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

function world() {
  const clock = virtualClock()
  const server = memoryServer({ clock })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let drawn = 0
  const random = (): number => (drawn = (drawn * 0.618 + 0.37) % 1)
  const open = (name: string): Promise<Broker> => connectWith({ clock, random }, memory({ server }), { name, log: false })
  return { clock, server, sleep, open }
}

const keyed = topic('hand-over.keyed', {
  schema: unchecked<string>(),
  key: (value) => value.slice(0, 1),
  groups: ['workers'],
  partitions: 8,
})
const plain = topic('hand-over.plain', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })

describe('a handler that outlived its time, and a partition that goes and comes back', () => {
  it('keeps its key closed in the newer assignment while it runs', async () => {
    const { clock, sleep, open } = world()
    const running = new Map<string, number>()
    const begun = new Set<string>()
    let most = 0
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        const options = { group: 'workers', handlerTimeoutMs: 100, retry: { attempts: 9, firstDelayMs: 30_000, factor: 1 } }
        await broker.consume(keyed, options, async ({ value }) => {
          const here = (running.get(value) ?? 0) + 1
          running.set(value, here)
          most = Math.max(most, here)
          await sleep(begun.has(value) ? 10 : 60_000)
          begun.add(value)
          running.set(value, here - 1)
        })
        // One key per partition at least, so that some of them change hands.
        for (const key of 'abcdefghijklmnop') await broker.producer(keyed).send(`${key}1`)
        await sleep(6_000)
        // Timed out and waiting for its next attempt, its first handler still running: another member takes the partition and gives it back.
        const visitor = await open('visitor')
        await visitor.consume(keyed, { group: 'workers', concurrency: 1 }, () => sleep(3_600_000))
        await sleep(5_000)
        await visitor.close({ drainMs: 0 })
        await sleep(60_000)
        await broker.close()
      })(),
      10_000,
    )
    expect(most).toBe(1)
  })

  it('holds back no message without a key', async () => {
    const { clock, server, sleep, open } = world()
    let runs = 0
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        await broker.consume(plain, { group: 'workers', handlerTimeoutMs: 100, retry: { firstDelayMs: 20_000 } }, async () => {
          if (runs++ === 0) await new Promise<void>(() => undefined)
        })
        await broker.producer(plain).send('first')
        await sleep(6_000)
        for (const link of server.links()) link.cut()
        await sleep(60_000)
        expect(server.remaining(plain.name, 'workers')).toBe(0)
        await broker.close({ drainMs: 100 })
      })(),
      10_000,
    )
    expect(runs).toBe(2)
  })
})

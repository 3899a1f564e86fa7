import { type Broker, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

function world(capacityMessages = 1_000) {
  const clock = virtualClock()
  const server = memoryServer({ clock, capacityMessages })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let drawn = 0
  const random = (): number => (drawn = (drawn * 0.618 + 0.37) % 1)
  const open = (name: string): Promise<Broker> => connectWith({ clock, random }, memory({ server }), { name, log: false })
  return { clock, server, sleep, open }
}

const keyed = topic('repeats.keyed', {
  schema: unchecked<string>(),
  key: (value) => value.slice(0, 1),
  groups: ['workers'],
  partitions: 1,
  retentionMs: 3_600_000,
})
const target = topic('repeats.target', { schema: unchecked<string>(), groups: ['targets'], partitions: 1 })
const plain = topic('repeats.plain', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })

describe('a message that comes again while its first copy is still at work', () => {
  it('is settled and not run again when it waits behind another message of its key meanwhile', async () => {
    const { clock, server, sleep, open } = world()
    const runs: string[] = []
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        await broker.consume(keyed, { group: 'workers' }, async ({ value }) => {
          runs.push(value)
          if (value === 'k2' && runs.length === 2) await sleep(5_000)
        })
        for (const value of ['k1', 'k2']) await broker.producer(keyed).send(value)
        await sleep(1_000)
        // An administrator sets the group back to the start while the second message runs: both come again.
        server.remove({ topic: keyed.name, group: 'workers' })
        await sleep(20_000)
        expect(server.remaining(keyed.name, 'workers')).toBe(0)
        await broker.close()
      })(),
      10_000,
    )
    expect(runs).toEqual(['k1', 'k2', 'k1'])
  })

  it('is settled and not run again when it waits for a free slot meanwhile', async () => {
    const { clock, server, sleep, open } = world(2)
    const runs: string[] = []
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        await broker.declare(target)
        await broker.consume(plain, { group: 'workers', concurrency: 1 }, async (message) => {
          runs.push(message.value)
          if (message.value === 'long') await sleep(10_000)
          else message.forward(target, 'output')
        })
        const other = await open('other')
        for (const value of ['full', 'full', 'forwards', 'long']) await other.producer(value === 'full' ? target : plain).send(value)
        await sleep(1_000)
        // Its output waits for room, and the slot is taken: the assignment is lost, and both come again.
        expect(runs).toEqual(['forwards', 'long'])
        for (const instance of server.owners(plain.name, 'workers').values()) server.expel(instance)
        await sleep(3_000)
        await other.consume(target, { group: 'targets' }, () => undefined)
        await sleep(30_000)
        expect(server.remaining(plain.name, 'workers')).toBe(0)
        await broker.close()
      })(),
      10_000,
    )
    expect(runs).toEqual(['forwards', 'long'])
  })
})

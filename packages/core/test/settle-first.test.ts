import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

const ticks = topic('settle-first.ticks', {
  schema: unchecked<{ key: string }>(),
  key: (tick) => tick.key,
  groups: ['once'],
  partitions: 1,
})

describe('at most once', () => {
  it('counts what was settled and never started when its consumer closes', async () => {
    const clock = virtualClock()
    const server = memoryServer({ clock })
    const dropped: { id: string; reason: string }[] = []
    const note = (event: unknown): void => void dropped.push(event as { id: string; reason: string })
    subscribe('posthorn:dropped', note)
    try {
      const broker = await connectWith({ clock, random: () => 0.5 }, memory({ server }), { name: 'settle-first', log: false })
      const started: string[] = []
      const run = async (): Promise<void> => {
        const consumer = await broker.consume(ticks, { group: 'once', settle: 'before', concurrency: 4 }, async (message) => {
          started.push(message.id)
          await new Promise<void>((resolve) => void clock.timer(100, resolve))
        })
        const producer = broker.producer(ticks)
        await Promise.all(['a', 'b', 'c', 'd'].map((id) => producer.send({ key: 'one' }, { id })))
        while (server.remaining(ticks.name, 'once') > 0) await new Promise<void>((resolve) => void clock.timer(1, resolve))
        await consumer.close()
        await broker.close()
      }
      await drive(clock, run())
      const lost = dropped.filter((each) => each.reason === 'not-started').map((each) => each.id)
      expect(started.length).toBeGreaterThan(0)
      expect([...started, ...lost].sort()).toEqual(['a', 'b', 'c', 'd'])
      expect(lost.length).toBeGreaterThan(0)
    } finally {
      unsubscribe('posthorn:dropped', note)
    }
  })
})

// Many messages that wait: all of them are handled, each time, whatever the window and however fast the handlers.

import { until } from '@posthorn/conformance/live'
import { afterEach, expect, it } from 'vitest'
import { keyed, live, orders, unkeyed } from './server.ts'

const count = 20_000

live('a backlog', {}, (on) => {
  afterEach(() => on.reset())

  for (let round = 1; round <= 3; round++) {
    it(`of 20,000 in four partitions is consumed to its end by handlers that return at once (${round})`, async () => {
      const topic = keyed()
      const broker = await on.connect()
      await broker.producer(topic).sendBatch(orders(count, 64).map((value) => ({ value })))
      const seen = new Set<number>()
      let handled = 0
      const consumer = await broker.consume(topic, { group: 'email', concurrency: 100, maxUnsettled: 1000 }, ({ value }) => {
        seen.add(value.n)
        handled++
      })
      let before = -1
      let since = performance.now()
      await until(
        `all are handled (${round})`,
        () => {
          if (handled !== before) [before, since] = [handled, performance.now()]
          if (performance.now() - since > 8000) throw new Error(`it stands still at ${handled} of ${count}`)
          return seen.size === count
        },
        40_000,
      )
      expect(handled).toBe(count)
      await consumer.close()
    })
  }

  it('of 20,000 in one shared queue is consumed to its end', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(count, 64).map((value) => ({ value })))
    const seen = new Set<number>()
    await broker.consume(topic, { group: 'email', concurrency: 100, maxUnsettled: 1000 }, ({ value }) => void seen.add(value.n))
    await until('all are handled', () => seen.size === count, 40_000)
  })
})

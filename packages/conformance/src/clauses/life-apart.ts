// One of several consumers stops; the others do not notice.

import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'

export const lifeApart: readonly Clause[] = [
  {
    id: 'LIFE-13',
    title: 'One stops, the others run',
    needs: 'memory',
    async run(t) {
      const broker = await t.connect()
      const sender = await t.connect()
      for (let round = 0; round < 3; round++) {
        const parts = await Promise.all(
          [0, 1, 2].map(async (index) => {
            const topic = t.topic(`round-${round}.part-${index}`)
            const seen = t.recorder(topic.name)
            const consumer = await broker.consume(
              topic,
              t.consumeOptions(),
              seen.handler(() => t.sleep(2)),
            )
            return { topic, seen, consumer, orders: [] as Order[] }
          }),
        )
        const send = async (count: number): Promise<void> => {
          await Promise.all(
            parts.map(async ({ topic, orders }) => {
              const made = t.orders(count)
              orders.push(...made)
              await t.send(sender, topic, made)
            }),
          )
        }
        await send(50)
        const closed = parts[round]
        if (closed === undefined) return
        await closed.consumer.close()
        const starts = closed.seen.starts.length
        await send(50)
        const others = parts.filter((part) => part !== closed)
        for (const part of others) {
          await t.fence(sender, part.topic, part.seen)
          await t.until('the others have ended', () => part.seen.running === 0)
        }
        for (const part of others) part.seen.exactly(part.orders, part.topic.name)
        t.equal(closed.seen.starts.length, starts, 'starts of the one that was closed')
        t.equal(
          others.map((part) => part.consumer.state),
          ['running', 'running'],
          'state of the others',
        )
        const again = await broker.consume(closed.topic, t.consumeOptions(), closed.seen.handler())
        await t.fence(sender, closed.topic, closed.seen)
        await t.until('its handlers have ended', () => closed.seen.running === 0)
        closed.seen.exactly(closed.orders, closed.topic.name)
        for (const part of [...others.map((each) => each.consumer), again]) await part.close()
      }
    },
  },
]

// ACK-4: a settlement that the server calls stale is told as stale, to whoever pulled the message and on the channel.

import type { Message, Pulled } from '@posthorn/core'
import type { Assignment } from '@posthorn/core/adapter'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { idsOf } from './figures.ts'
import { connectChanged } from './spied.ts'

/** The server took the messages away, and the client hears of it only by the answers to its settlements. */
export async function staleIsTold(t: Trial): Promise<void> {
  const topic = t.topic('unaware', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare(topic)
  let refused = 0
  const broker = await connectChanged(t, (session) => ({
    async subscribe(source, signal) {
      const assignments = await session.subscribe(source, signal)
      return (async function* (): AsyncGenerator<Assignment> {
        for await (const inner of assignments) {
          yield {
            topic: inner.topic,
            role: inner.role,
            partition: inner.partition,
            leaving: inner.leaving,
            lost: inner.lost,
            get aliveUntil() {
              return inner.aliveUntil
            },
            read: (max) => inner.read(max),
            settle(tokens) {
              refused += tokens.length
              return Promise.resolve('stale')
            },
            release: () => inner.release(),
          }
        }
      })()
    },
  }))
  const puller = await broker.pull(topic, { group: 'workers', maxUnsettled: 32 })
  const orders = t.orders(4, { keys: 4 })
  await t.send(sender, topic, orders)
  const pulled: Pulled<Message<Order>>[] = []
  while (pulled.length < orders.length) pulled.push(...(await puller.receive({ max: orders.length, waitMs: 5000 })))
  const answers = await Promise.all(pulled.map((message) => message.done()))
  await t.until('the settlements are answered', () => refused >= 1)
  // Where only prefixes are settled, done() tells that it is recorded here; the server's answer comes later, on the channel.
  const expected = t.capabilities.settlement === 'each' ? 'stale' : 'done'
  t.equal(
    answers,
    answers.map(() => expected),
    'what done() answers when the server says stale',
  )
  await t.until('each is told to be stale', () => orders.every(({ id }) => idsOf(t, 'settle-stale').includes(id)), {
    seen: () => idsOf(t, 'settle-stale'),
  })
  const settled = t.events('settled').filter(({ event }) => event.topic === topic.name)
  t.equal(settled.length, 0, 'events that call a stale settlement settled')
  t.equal(await t.auditor.remaining(topic.name, 'workers'), orders.length, 'messages left at the server')
  await broker.close()
}

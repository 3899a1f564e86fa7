// DLQ-12: an entry that is replaced in its slot between the look at it and its removal.

import type { Delivery } from '@posthorn/core/adapter'
import type { Order } from '../orders.ts'
import type { Opened, Trial } from '../trial.ts'
import { writeEntry } from './dlq-replay.ts'
import { lettersWhen } from './stored.ts'
import { deadIds, failing } from './support.ts'

/** DLQ-12 */
export async function newerEntryStays(t: Trial): Promise<void> {
  await byItsToken(t)
  await whileReplayed(t)
}

/** At the contract itself: a token means the entry that was seen, not whatever lies in its slot now. */
async function byItsToken(t: Trial): Promise<void> {
  const topic = t.topic('replaced')
  const broker = await t.connect()
  await broker.declare(topic)
  const [order] = t.orders(1) as [Order]
  const [before, after, other] = [order, { ...order, seq: order.seq + 7 }, { ...order, id: `${order.id}-other` }]
  await writeEntry(t, topic, before, null)
  await writeEntry(t, topic, other, null)
  const direct = await t.open()
  const dead = t.place(topic, 'dead')
  const seen = await entriesOf(t, direct, topic.name, 2)
  await writeEntry(t, topic, after, null)
  const { signal } = new AbortController()
  // Where entries are only ever added, the older one still lies there, and goes.
  const stillThere = (await t.auditor.read(dead)).length === 3
  const removal = await direct.session.remove(dead, seen, signal)
  t.equal(removal, stillThere ? 'settled' : 'stale', 'the removal of an entry that was replaced meanwhile')
  const left = await entriesOf(t, direct, topic.name, 1)
  const letters = await lettersWhen(t, broker, topic, 1)
  t.equal(
    letters.map(({ value }) => value),
    [after],
    'what is left: the newer entry',
  )
  t.equal(await direct.session.remove(dead, left, signal), 'settled', 'the removal of the newer entry')
  await entriesOf(t, direct, topic.name, 0)
  await direct.close()
}

async function entriesOf(t: Trial, direct: Opened, topic: string, count: number): Promise<readonly Delivery[]> {
  let entries: readonly Delivery[] = []
  await t.until(
    `${count} entries`,
    async () => {
      const { signal } = new AbortController()
      entries = (await direct.session.browse({ topic, role: 'dead', group: 'workers' }, null, 10, signal)).entries
      return entries.length === count
    },
    { seen: () => entries.length },
  )
  return entries
}

/** With the tools: each message fails again before the entry of its first failure is removed. */
async function whileReplayed(t: Trial): Promise<void> {
  const topic = t.topic('failing')
  const [broker, tools] = [await t.connect(), await t.connect()]
  const seen = t.recorder()
  await broker.consume(topic, t.consumeOptions({ retry: false }), seen.handler(failing))
  const orders = t.orders(5)
  await t.send(broker, topic, orders)
  await lettersWhen(t, broker, topic, orders.length)
  // Between the copy that is stored and the removal of its entry lies a way there and back.
  t.link(tools).delay(t.virtual ? 1000 : 200)
  const { replayed } = await tools.deadLetters(topic, 'workers').replay({ all: true })
  t.equal(replayed, orders.length, 'replayed')
  t.struck('messages that failed again before their entries were removed', orders.filter((order) => seen.of(order).length >= 2).length)
  await t.settled(topic)
  t.equal([...(await deadIds(broker, topic))].sort(), orders.map(({ id }) => id).sort(), 'dead letters after each failed again')
}

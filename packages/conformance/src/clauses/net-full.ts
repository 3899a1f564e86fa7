// NET-19: a server that has no room for anything more.

import { isMessagingError } from '@posthorn/core'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'

/** NET-19 */
export async function fullBroker(t: Trial): Promise<void> {
  const { auditor } = t
  if (auditor.fill === undefined) t.notProven('this auditor cannot take the room away from its server (fill)')
  const topic = t.topic('jobs')
  const seen = t.recorder()
  const gate = t.gate()
  const [producer, consumer] = [await t.connect(), await t.connect()]
  const handle = await consumer.consume(
    topic,
    t.consumeOptions(),
    seen.handler(() => gate.wait()),
  )
  const before = t.orders(40)
  await t.send(producer, topic, before)
  await t.until('handlers run', () => seen.running === 8, { seen: () => seen.running })
  const statuses = t.events('status').length
  const during = t.orders(30)
  const [first, later, patient] = [during.slice(0, 10), during.slice(10, 20), during.slice(20)]
  const stored: Order[] = []
  const outcomes = new Map<Order, string>()
  const send = async (orders: readonly Order[], timeoutMs: number): Promise<void> => {
    await Promise.all(orders.map((order) => ended(producer.producer(topic, { timeoutMs }).send(order, { id: order.id }), order)))
  }
  let waiting: Promise<void>
  await auditor.fill(true)
  try {
    // Some have little time, some have much: the first fail and the others wait. What was on its way when the server said that it
    // is full may be stored one day; of what comes later it is certain that it is not.
    await send(first, 2000)
    t.struck('sends that a full server kept waiting or refused', during.length - stored.length)
    await send(later, 2000)
    t.equal(stored.length, 0, 'sends that a full server stored')
    waiting = send(patient, 60_000)
    for (const order of later) t.equal(outcomes.get(order), 'failed', 'the outcome of a send to a server that is known to be full')
    // Whoever consumes goes on, for longer than a lease, and makes room by it.
    gate.open()
    await t.until('what is there is handled', () => before.every((order) => seen.of(order).length > 0), { seen: () => seen.finished })
    await t.until('and settled', async () => (await auditor.remaining(topic.name, 'workers')) === 0, {
      withinMs: 10_000,
      seen: () => seen.finished,
    })
    await t.pass(t.leaseMs + 1000)
    t.equal(handle.state, 'running', 'the consumer while the server is full')
    t.equal(t.events('lost').length, 0, 'assignments lost while the server is full')
  } finally {
    await auditor.fill(false)
  }
  const healed = t.now()
  await waiting
  t.fact('recovery ms', t.now() - healed)
  t.atMost(t.now() - healed, t.slack(t.recoverMs + 5000), 'milliseconds until what waited has ended')
  for (const order of patient) t.ok(stored.includes(order), 'a send that had the time to wait is stored', [order.id])
  const after = t.orders(10)
  await t.send(producer, topic, after)
  await t.until('all that was stored is handled', () => [...stored, ...after].every((order) => seen.of(order).length > 0), {
    withinMs: t.recoverMs,
  })
  await t.fence(producer, topic, seen)
  await t.settled(topic)
  // What was told to have failed is not there; what nobody knows of may be.
  for (const [order, outcome] of outcomes) if (outcome === 'failed') t.equal(seen.of(order).length, 0, 'starts of a send that failed')
  t.equal(seen.repeats, 0, 'repeats')
  t.equal(t.events('status').length, statuses, 'changes of status')

  async function ended(sending: Promise<unknown>, order: Order): Promise<void> {
    try {
      await sending
      stored.push(order)
    } catch (error) {
      if (!isMessagingError(error)) throw error
      t.ok(['UNAVAILABLE', 'TIMED_OUT'].includes(error.code), `how a send to a full server ends: ${error.code}: ${error.message}`)
      outcomes.set(order, error.outcome)
    }
  }
}

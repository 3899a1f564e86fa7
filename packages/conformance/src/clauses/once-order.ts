// ONCE-14: the order of a key, where the answer to an atomic step is bad or does not come.

import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { readMeant } from './stored.ts'

/** ONCE-14 */
export async function orderOfSteps(t: Trial): Promise<void> {
  await refusedForAWhile(t)
  await answerLost(t)
}

/** The outputs are refused for a while: none of the messages is done, and none may overtake another. */
async function refusedForAWhile(t: Trial): Promise<void> {
  const topic = t.topic('refused', { partitions: 1 })
  const target = t.topic('refused-target', { partitions: 1 })
  const [sender, broker] = [await t.connect(), await t.connect()]
  await sender.declare([topic, target])
  const seen = t.recorder('refused')
  await t.auditor.deny('publish', target.name)
  await broker.consume(
    topic,
    t.consumeOptions({ forward: { atomic: true, to: [target] } }),
    seen.handler(async (message) => {
      await t.sleep(50)
      message.forward(target, message.value)
    }),
  )
  const orders = t.orders(4, { keys: 1 })
  await t.send(sender, topic, orders)
  await t.until('the first message runs again and again', () => seen.of(orders[0] as Order).length >= 3, {
    withinMs: t.takeoverMs + 30_000,
    seen: () => seen.starts.length,
  })
  t.struck('messages whose outputs are refused', await t.auditor.remaining(topic.name, 'workers'))
  await t.auditor.allow()
  await t.settled(topic, 'workers', t.takeoverMs + 30_000)
  // Where only prefixes are settled, a repeat begins at the first that is not done and brings all behind it again.
  if (t.capabilities.settlement === 'each') {
    const order = seen.starts.map(({ seq }) => seq)
    const overtaken = order.filter((seq, index) => seq < Math.max(-1, ...order.slice(0, index)))
    t.equal(overtaken, [], `messages that ran again after a later one of their key had run: ${order.join(' ')}`)
  }
  await inOrder(t, target, orders)
}

/** The answers vanish: what is behind goes on in the end, after what may have to run again. */
async function answerLost(t: Trial): Promise<void> {
  const topic = t.topic('lost', { partitions: 1 })
  const target = t.topic('lost-target', { partitions: 1 })
  const [sender, broker] = [await t.connect(), await t.connect()]
  await sender.declare([topic, target])
  const seen = t.recorder('lost')
  const link = t.link(broker)
  await broker.consume(
    topic,
    t.consumeOptions({ forward: { atomic: true, to: [target] } }),
    seen.handler((message) => message.forward(target, message.value)),
  )
  link.withhold(['settle'])
  const orders = t.orders(4, { keys: 1 })
  await t.send(sender, topic, orders)
  await t.until('the answer to a step is withheld', () => link.withheld > 0, t.takeoverMs)
  t.struck('steps without an answer', link.withheld)
  link.heal()
  await t.settled(topic, 'workers', t.takeoverMs + 60_000)
  await inOrder(t, target, orders)
}

async function inOrder(t: Trial, target: ReturnType<Trial['topic']>, orders: readonly Order[]): Promise<void> {
  const outputs = (await readMeant(t, t.place(target))).map(({ body }) => (JSON.parse(Buffer.from(body ?? []).toString()) as Order).id)
  t.equal(
    outputs,
    orders.map(({ id }) => id),
    `outputs in ${target.name}`,
  )
}

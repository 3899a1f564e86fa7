// ACK-10 and ACK-13 to 16: what decisions and batches do.

import { type Decision, deadLetter, drop, type Message, postpone, retry } from '@posthorn/core'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { deadIds } from './support.ts'

function batchOptions(t: Trial): {
  group: string
  max: number
  waitMs: number
  maxUnsettled: number
  retry: { attempts: number; firstDelayMs: number; factor: number }
} {
  const { group, maxUnsettled } = t.consumeOptions()
  return { group, max: 10, waitMs: 200, maxUnsettled: maxUnsettled as number, retry: { attempts: 3, firstDelayMs: 100, factor: 1 } }
}

export async function decisions(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const seen = t.recorder()
  const made: Record<string, () => Decision> = {
    retry: () => retry({ afterMs: 300 }),
    postpone: () => postpone({ afterMs: 300 }),
    dead: () => deadLetter('r'),
    drop: () => drop('r'),
  }
  const kinds = ['done', 'throw', ...Object.keys(made).flatMap((name) => [`${name}-returned`, `${name}-thrown`])]
  const keyNames = kinds.flatMap((kind) => Array.from({ length: 10 }, (_, n) => `${kind}.${n}`))
  const orders = t.orders(keyNames.length, { keyNames })
  const kindOf = (order: Order): string => (order.key as string).split('.')[0] as string
  await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler((message) => {
      const [name, how] = kindOf(message.value).split('-') as [string, string | undefined]
      if (name === 'done' || (name === 'postpone' && seen.of(message.value).length > 1)) return
      const decision = made[name]?.()
      if (decision === undefined) throw new Error('on purpose')
      if (how === 'thrown') throw decision
      return decision
    }),
  )
  await t.send(broker, topic, orders)
  await t.settled(topic, 'workers', 30_000)
  const expected: Record<string, readonly number[]> = {
    done: [1],
    throw: [1, 2, 3],
    retry: [1, 2, 3],
    postpone: [1, 1],
    dead: [1],
    drop: [1],
  }
  for (const order of orders) {
    const kind = kindOf(order)
    const starts = seen.of(order)
    t.equal(
      starts.map((start) => start.attempt),
      expected[kind.split('-')[0] as string],
      `attempts of ${order.key}`,
    )
    if (kind.startsWith('retry') || kind.startsWith('postpone')) {
      for (const [index, start] of starts.entries())
        if (index > 0) t.atLeast(start.at - (starts[index - 1]?.endedAt as number), 300, `milliseconds between starts of ${order.key}`)
    }
  }
  const dead = await deadIds(broker, topic)
  const wanted = orders.filter((order) => /^(?:throw|retry|dead)/.test(kindOf(order))).map((order) => order.id)
  t.equal([...dead].sort(), [...wanted].sort(), 'dead letters')
  t.equal(t.events('dropped').length, 20, 'drops that were reported')
}

/** ACK-13 */
export async function batchPerMessage(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const broker = await t.connect()
  const seen = t.recorder()
  const orders = t.orders(10, { keys: 10 })
  const [third, poison, seventh] = [orders[2] as Order, orders[4] as Order, orders[6] as Order]
  const decide = (message: Message<Order>): Decision | undefined =>
    message.id === poison.id || ((message.id === third.id || message.id === seventh.id) && message.attempt === 1) ? retry() : undefined
  await t.send(broker, topic, orders)
  await broker.consumeBatch(topic, batchOptions(t), seen.batchHandler<Order>(async (messages) => messages.map(decide)) as never)
  await t.until('the poison one is dead-lettered', async () => (await deadIds(broker, topic)).length > 0)
  await t.settled(topic)
  t.equal(await deadIds(broker, topic), [poison.id], 'dead letters')
  const expected = orders.map((order) => (order === poison ? 3 : order === third || order === seventh ? 2 : 1))
  t.equal(
    orders.map((order) => seen.of(order).length),
    expected,
    'starts of each',
  )
}

/** ACK-14 */
export async function noneRepeatsOthers(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { groups: ['good', 'bad'] })
  const broker = await t.connect()
  const good = t.recorder('good')
  const bad = t.recorder('bad')
  await broker.consume(topic, t.consumeOptions({ group: 'good' }), good.handler())
  await broker.consume(
    topic,
    t.consumeOptions({ group: 'bad' }),
    bad.handler(() => {
      throw new Error('on purpose')
    }),
  )
  const orders = t.orders(20, { keys: 20 })
  await t.send(broker, topic, orders)
  await t.until('the failing group is through', () => bad.starts.length === 60, { withinMs: 30_000, seen: () => bad.starts.length })
  await t.settled(topic, 'bad')
  await t.settled(topic, 'good')
  good.exactly(orders)
  t.equal((await deadIds(broker, topic, 'bad')).length, orders.length, 'dead letters of the failing group')
  t.equal(await deadIds(broker, topic, 'good'), [], 'dead letters of the other group')

  const shared = t.topic('shared')
  const seen = t.recorder('shared')
  for (const name of ['a', 'b']) await broker.consume(shared, t.consumeOptions(), seen.handler(undefined, name))
  t.equal((await t.auditor.members(shared.name, 'workers')).length, 2, 'members of a group that one broker object joined twice')
  const more = t.orders(100)
  await t.send(broker, shared, more)
  await t.settled(shared)
  seen.exactly(more)
}

/** ACK-15 */
export async function batchOneByOne(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const broker = await t.connect()
  const seen = t.recorder()
  const sizes: number[] = []
  const orders = t.orders(10, { keys: 10 })
  const fifth = orders[4] as Order
  await t.send(broker, topic, orders)
  await broker.consumeBatch(
    topic,
    batchOptions(t),
    seen.batchHandler<Order>(async (messages) => {
      sizes.push(messages.length)
      if (messages.some((message) => message.id === fifth.id)) throw new Error('on purpose')
    }) as never,
  )
  await t.until('the fifth is dead-lettered', async () => (await deadIds(broker, topic)).length > 0)
  await t.settled(topic)
  t.equal(await deadIds(broker, topic), [fifth.id], 'dead letters')
  t.equal(sizes, [10, ...new Array<number>(11).fill(1)], 'messages in each call')
  t.equal(
    orders.map((order) => seen.of(order).map((start) => start.attempt)),
    orders.map((order) => (order === fifth ? [1, 2, 3] : [1, 2])),
    'attempts of each',
  )
}

/** ACK-16 */
export async function postponeCountsNothing(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const broker = await t.connect()
  const seen = t.recorder()
  const [first, successor] = t.orders(2, { keys: 1 }) as [Order, Order]
  const options = t.consumeOptions({ retry: { attempts: 1 } })
  const consumer = await broker.consume(
    topic,
    options,
    seen.handler((message) => (message.value.id === first.id && seen.of(first).length <= 5 ? postpone({ afterMs: 200 }) : undefined)),
  )
  await t.send(broker, topic, [first, successor])
  await t.until('both are done', () => seen.finished === 2, { seen: () => seen.starts.length })
  const starts = seen.of(first)
  t.equal(
    starts.map((start) => start.attempt),
    [1, 1, 1, 1, 1, 1],
    'attempts of the postponed one',
  )
  for (const [index, start] of starts.entries())
    if (index > 0) t.atLeast(start.at - (starts[index - 1]?.endedAt as number), 200, 'milliseconds of a postponement')
  t.ok((seen.of(successor)[0]?.at as number) >= (starts[5]?.endedAt as number), 'the successor of its key waited')
  t.equal(await deadIds(broker, topic), [], 'dead letters')
  await consumer.close()

  const other = t.topic('others', { partitions: 1 })
  const leaving = await t.connect()
  const orders = t.orders(5, { keys: 5 })
  const before = t.recorder('before')
  await leaving.consume(
    other,
    options,
    before.handler(() => postpone({ afterMs: 60_000 })),
  )
  await t.send(broker, other, orders)
  await t.until('all are postponed', () => before.starts.length === 5 && before.running === 0)
  await leaving.close()
  const after = t.recorder('after')
  await broker.consume(other, options, after.handler())
  await t.until('all came back', () => after.finished === 5, { withinMs: 120_000, seen: () => after.finished })
  t.equal(
    after.starts.map((start) => start.attempt),
    [1, 1, 1, 1, 1],
    'attempts after the close',
  )
  await t.settled(other)
}

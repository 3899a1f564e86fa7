// ACK-4 to 7, 12 and 17: what settlements survive.

import type { Message } from '@posthorn/core'
import { partitionOfKey } from '../murmur2.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { heldOf, waitFor } from './support.ts'

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const mixed = [...items]
  for (let index = mixed.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[mixed[index], mixed[other]] = [mixed[other] as T, mixed[index] as T]
  }
  return mixed
}

function placesOf(orders: readonly Order[]): ReadonlyMap<string, { readonly partition: number; readonly offset: number }> {
  const next = [0, 0, 0, 0]
  return new Map(
    orders.map((order) => {
      const partition = partitionOfKey(order.key as string, 4)
      const offset = next[partition] as number
      next[partition] = offset + 1
      return [order.id, { partition, offset }]
    }),
  )
}

function positionOf(orders: readonly Order[], order: Order): number {
  return placesOf(orders).get(order.id)?.offset as number
}

export async function finishedAgain(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const seen = t.recorder()
  const orders: Order[] = []
  let gate = t.gate()
  await broker.consume(
    topic,
    t.consumeOptions({ concurrency: 20 }),
    seen.handler(() => gate.wait()),
  )
  // First the frames are lost, so that the server hands the messages out again; then only the answers.
  for (const lose of ['frames', 'answers']) {
    gate = t.gate()
    const some = t.orders(20, { keys: 20 })
    orders.push(...some)
    await t.send(sender, topic, some)
    await t.until('20 handlers run', () => seen.running === 20, { seen: () => seen.running, withinMs: t.recoverMs + 10_000 })
    if (lose === 'frames') t.link(broker).silence('up')
    else t.link(broker).withhold(['settle'])
    gate.open()
    await t.until('settlements wait for their answers', () => t.calls(broker).openSettles > 0)
    t.struck('settlements', t.calls(broker).openSettles)
    t.link(broker).cut()
    t.link(broker).heal()
    await t.fence(sender, topic, seen)
    await t.settled(topic, 'workers', t.recoverMs + 10_000)
    t.equal(seen.repeats, 0, `second starts in the same process after ${lose} of settlements were lost`)
  }
  seen.exactly(orders)

  const elsewhere = t.recorder('elsewhere')
  const other = t.topic('elsewhere')
  const blocked = t.gate()
  const dying = await t.member({ topic: other, recorder: elsewhere, options: { concurrency: 20 }, acts: [{ gate: blocked }] })
  const more = t.orders(20, { keys: 20 })
  await t.send(sender, other, more)
  await t.until('20 handlers run', () => dying.running === 20)
  dying.link.silence('up')
  blocked.open()
  await t.until('settlements wait for their answers', () => dying.calls.openSettles > 0)
  t.struck('settlements', dying.calls.openSettles)
  dying.kill()
  await t.member({ topic: other, recorder: elsewhere })
  await waitFor(t, () => elsewhere.starts.length >= 20, 'the other process has them')
  await t.fence(sender, other, elsewhere)
  elsewhere.each(more)
  t.atMost(elsewhere.repeats, 20, 'repeats at another process')
  await t.settled(other)
}

/** ACK-3 */
export async function settledStays(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const orders = t.orders(t.size(1000))
  const seen = t.recorder()
  const sender = await t.connect({ jitter: 'free' })
  const first = await t.member({ topic, recorder: seen, jitter: 'free' })
  await t.send(sender, topic, orders)
  await t.until('all are done', () => seen.finished === orders.length, { withinMs: 60_000, seen: () => seen.finished })
  await t.settled(topic)

  t.struck('assignments', first.calls.assignments.length)
  first.cut()
  await t.fence(sender, topic, seen)
  t.equal(seen.starts.length, orders.length, 'starts after a cut')

  first.kill()
  await t.member({ topic, recorder: seen, jitter: 'free' })
  await t.fence(sender, topic, seen)
  t.equal(seen.starts.length, orders.length, 'starts after the client was killed')

  await t.crash('SIGKILL')
  await t.restart()
  await t.fence(sender, topic, seen)
  // Where the profile lets the server forget what it settled, what it repeats is the server's loss, not ours.
  if (t.profile === 'durable') t.equal(seen.starts.length, orders.length, 'starts after the server was killed')
  seen.each(orders)
}

/** ACK-5 */
export async function onlyTheFinished(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const orders = t.orders(10, { keys: 10 })
  const seventh = orders[6] as Order
  const rest = orders.filter((order) => order !== seventh)
  const gate = t.gate()
  const first = t.recorder('first')
  const second = t.recorder('second')
  const sender = await t.connect()
  const member = await t.member({
    topic,
    recorder: first,
    options: { concurrency: 10 },
    acts: [{ when: { ids: rest.map((order) => order.id) }, gate }],
  })
  await t.send(sender, topic, orders)
  await t.until('nine run and the seventh is done', () => member.running === 9 && first.of(seventh).some((start) => start.end === 'done'))
  if (t.capabilities.settlement === 'each') await t.until('the seventh is settled', () => member.calls.settled === 1)
  else await t.pass(1000)
  t.struck('running handlers', member.running)
  member.kill()
  await t.member({ topic, recorder: second })
  await t.until('the others are done', () => rest.every((order) => second.of(order).some((start) => start.end === 'done')), {
    withinMs: t.takeoverMs + 10_000,
  })
  await t.fence(sender, topic, second)
  second.each(t.capabilities.settlement === 'each' ? rest : orders, 'unfinished orders')
  t.equal(second.repeats, 0, 'repeats at the next member')
  if (t.capabilities.settlement === 'each') t.equal(second.of(seventh).length, 0, 'starts of the one that was settled')
  await t.settled(topic)
}

/** ACK-6 */
export async function stuckPartition(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const gate = t.gate()
  const seen = t.recorder()
  const orders = t.orders(t.size(10_000))
  const stuck = orders.find((order) => partitionOfKey(order.key as string, 4) === 0) as Order
  const others = orders.filter((order) => partitionOfKey(order.key as string, 4) !== 0)
  await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler((message) => (message.value.id === stuck.id ? gate.wait() : undefined)),
  )
  await t.send(broker, topic, orders)
  await t.until('all of the other partitions are done', () => others.every((order) => seen.of(order).length > 0), {
    withinMs: 60_000,
    seen: () => `${seen.done} done of ${orders.length}`,
  })
  const ends = [1, 2, 3].map((partition) => others.filter((order) => partitionOfKey(order.key as string, 4) === partition).length)
  await t.until(
    'their positions are at the end',
    async () => (await t.auditor.positions(topic.name, 'workers')).slice(1).every((position, index) => position === ends[index]),
    { seen: () => ends },
  )
  t.atMost(await heldOf(t, topic.name, t.calls(broker)), 32, 'held of the partition that is stuck')
  t.equal((await t.auditor.positions(topic.name, 'workers'))[0], positionOf(orders, stuck), 'position of the partition that is stuck')
  gate.open()
  await t.settled(topic, 'workers', 30_000)
  seen.exactly(orders)
  seen.ordered()
}

/** ACK-7 */
export async function anyOrder(t: Trial): Promise<void> {
  const broker = await t.connect()
  for (let round = 0; round < 6; round++) {
    const topic = t.topic(`jobs-${round}`)
    const seen = t.recorder()
    const orders = t.orders(100, { keys: 100 })
    const ends = new Map<string, () => void>()
    const handle = (message: Message<Order>): Promise<void> => new Promise((resolve) => ends.set(message.value.id, resolve))
    const consumer = await broker.consume(topic, t.consumeOptions({ concurrency: 100, maxUnsettled: 128 }), seen.handler(handle))
    await t.send(broker, topic, orders)
    await t.until('100 handlers run', () => seen.running === 100, { seen: () => seen.running })
    const order = round === 0 ? [...orders].reverse() : shuffled(orders, t.random)
    const left = new Set(orders.map((each) => each.id))
    const places = placesOf(orders)
    for (const [index, each] of order.entries()) {
      ends.get(each.id)?.()
      left.delete(each.id)
      if (index % 10 !== 0) continue
      await t.sleep(20)
      const positions = await t.auditor.positions(topic.name, 'workers')
      for (const id of left) {
        const place = places.get(id) as { partition: number; offset: number }
        t.ok(
          (positions[place.partition] as number) <= place.offset,
          `the position of partition ${place.partition} passed ${id}, which still runs`,
          [id],
        )
      }
    }
    await t.settled(topic)
    seen.exactly(orders)
    await consumer.close()
  }
}

/** ACK-12 */
export async function atMostOnce(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const seen = t.recorder()
  const sender = await t.connect()
  const orders = t.orders(t.size(1000))
  await t.send(sender, topic, orders)
  const script = {
    topic,
    recorder: seen,
    options: { settle: 'before' as const },
    acts: [{ holdMs: [5, 50] as const }],
    jitter: 'free' as const,
  }
  const members = []
  for (let round = 0; round < 5; round++) {
    const member = await t.member(script)
    members.push(member)
    const goal = member.starts + t.size(100)
    await t.until('it handles', () => member.starts >= goal && member.running > 0, {
      withinMs: t.takeoverMs + 20_000,
      seen: () => member.starts,
    })
    member.link.withhold(['settle'])
    await t.until('4 settle replies are lost', () => member.link.withheld >= 4 || member.calls.openSettles > 0)
    t.struck('handlers or settlements', member.running + member.calls.openSettles)
    member.kill()
  }
  const last = await t.member(script)
  members.push(last)
  await t.fence(sender, topic, seen)
  await t.until('nothing runs', () => seen.running === 0)
  t.equal(seen.repeats, 0, 'second starts')
  t.equal(seen.starts.length, new Set(seen.starts.map((start) => start.id)).size, 'starts against different messages started')
  const notStarted = orders.filter((order) => seen.of(order).length === 0).length
  const givenUp = members.reduce((sum, member) => sum + member.calls.handedOut - member.starts, 0)
  t.atMost(notStarted, givenUp, 'messages never started, against those handed out and given up')
  t.atMost(notStarted, members.length * 4 * 32, 'messages never started, against what five kills can take with them')
  await startsOnlyWhenSettled(t)
}

/** The link stands and only the answers to settlements vanish: what may be settled is not handled, and what is handled was. */
async function startsOnlyWhenSettled(t: Trial): Promise<void> {
  const topic = t.topic('unanswered')
  const seen = t.recorder('unanswered')
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  await broker.consume(topic, t.consumeOptions({ settle: 'before' }), seen.handler())
  const first = t.orders(8, { keys: 8 })
  await t.send(sender, topic, first)
  await t.settled(topic)
  t.link(broker).withhold(['settle'])
  const orders = t.orders(8, { keys: 8 })
  await t.send(sender, topic, orders)
  await t.until('answers to settlements are lost', () => t.link(broker).withheld > 0)
  t.struck('settlements', t.link(broker).withheld)
  const given = (): readonly string[] =>
    t
      .events('dropped')
      .filter(({ event }) => event.topic === topic.name)
      .map(({ event }) => String(event.id))
  await t.until('what may be settled is given up', () => given().length > 0, t.takeoverMs + 10_000)
  // Whoever begins anew at once may lose answers once more.
  await t.pass(1000)
  t.link(broker).heal()
  await t.settled(topic, 'workers', t.takeoverMs + 20_000)
  await t.fence(sender, topic, seen)
  for (const id of given()) t.equal(seen.of(id).length, 0, `starts of ${id}, whose settlement is not confirmed`)
  t.equal(seen.repeats, 0, 'second starts')
  for (const order of orders)
    t.ok(seen.of(order).length === 1 || given().includes(order.id), `${order.id} was started or given up`, [order.id])
}

import { type Decision, deadLetter, drop, type Message, postpone, type Pulled, retry } from '@posthorn/core'
import type { Assignment, Delivery } from '@posthorn/core/adapter'
import type { Clause } from '../clause.ts'
import { partitionOfKey } from '../murmur2.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { deadIds, waitFor } from './support.ts'

/** The ACK clauses, in the order of the page: when a delivery counts as done. */
export const ack: readonly Clause[] = [
  {
    id: 'ACK-1',
    title: 'Nothing is settled before its handler ends',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const gate = t.gate()
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions({ concurrency: 10 }), seen.handler(() => gate.wait()))
      const orders = t.orders(10, { keys: 10 })
      await t.send(broker, topic, orders)
      await t.until('10 handlers run', () => seen.running === 10, { seen: () => seen.running })
      t.equal(await t.auditor.unsettled(topic.name, 'workers'), 10, 'unsettled while 10 handlers run')
      const before = await t.auditor.settles(topic.name, 'workers')
      await t.pass(2000)
      t.equal(await t.auditor.unsettled(topic.name, 'workers'), 10, 'unsettled after two more seconds')
      t.equal((await t.auditor.settles(topic.name, 'workers')).settled, before.settled, 'settled by the server meanwhile')
      gate.open()
      await t.settled(topic)
      seen.exactly(orders)
    },
  },
  {
    id: 'ACK-2',
    title: 'One settle per delivery',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const puller = await broker.pull(topic, { group: 'workers', maxUnsettled: 32 })
      const orders = t.orders(100)
      await t.send(broker, topic, orders)
      const ids: string[] = []
      while (ids.length < orders.length) {
        const messages = await puller.receive({ max: 10, waitMs: 5000 })
        t.ok(messages.length > 0, `only ${ids.length} of ${orders.length} messages were pulled`)
        for (const message of messages) {
          ids.push(message.id)
          t.equal(await message.done(), 'done', `the first done() of ${message.id}`)
          const second = ids.length % 2 === 0 ? await message.done() : await message.settle(retry())
          t.equal(second, 'stale', `the second settlement of ${message.id}`)
        }
      }
      t.equal(new Set(ids).size, orders.length, 'different messages pulled')
      await t.settled(topic)
      const counts = await t.auditor.settles(topic.name, 'workers')
      t.equal({ settled: counts.settled, stale: counts.stale, repeated: counts.repeated }, { settled: 100, stale: 0, repeated: 0 }, 'settlements at the server')
      t.equal(t.link(broker).connects().length, 1, 'connections made')
    },
  },
  {
    id: 'ACK-3',
    title: 'Settled stays settled',
    needs: 'memory',
    async run(t) {
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
    },
  },
  {
    id: 'ACK-4',
    title: 'A late settle is stale and harmless',
    needs: 'memory',
    async run(t) {
      await lateAtTheContract(t)
      await lateByPull(t)
      await lateHandlers(t)
    },
  },
  {
    id: 'ACK-5',
    title: 'Only the finished message is settled',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 1 })
      const orders = t.orders(10, { keys: 10 })
      const seventh = orders[6] as Order
      const rest = orders.filter((order) => order !== seventh)
      const gate = t.gate()
      const first = t.recorder('first')
      const second = t.recorder('second')
      const sender = await t.connect()
      const member = await t.member({
        topic, recorder: first, options: { concurrency: 10 }, acts: [{ when: { ids: rest.map((order) => order.id) }, gate }],
      })
      await t.send(sender, topic, orders)
      await t.until('nine run and the seventh is done', () => member.running === 9 && first.of(seventh).some((start) => start.end === 'done'))
      if (t.capabilities.settlement === 'each') await t.until('the seventh is settled', () => member.calls.settled === 1)
      else await t.pass(1000)
      t.struck('running handlers', member.running)
      member.kill()
      await t.member({ topic, recorder: second })
      await t.until('the others are done', () => rest.every((order) => second.of(order).some((start) => start.end === 'done')), { withinMs: t.takeoverMs + 10_000 })
      await t.fence(sender, topic, second)
      second.each(t.capabilities.settlement === 'each' ? rest : orders, 'unfinished orders')
      t.equal(second.repeats, 0, 'repeats at the next member')
      if (t.capabilities.settlement === 'each') t.equal(second.of(seventh).length, 0, 'starts of the one that was settled')
      await t.settled(topic)
    },
  },
  {
    id: 'ACK-6',
    title: 'A stuck message holds only its own partition',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const gate = t.gate()
      const seen = t.recorder()
      const orders = t.orders(t.size(10_000))
      const stuck = orders.find((order) => partitionOfKey(order.key as string, 4) === 0) as Order
      const others = orders.filter((order) => partitionOfKey(order.key as string, 4) !== 0)
      await broker.consume(topic, t.consumeOptions(), seen.handler((message) => (message.value.id === stuck.id ? gate.wait() : undefined)))
      await t.send(broker, topic, orders)
      await t.until('all of the other partitions are done', () => others.every((order) => seen.of(order).length > 0), {
        withinMs: 60_000, seen: () => `${seen.done} done of ${orders.length}`,
      })
      const ends = [1, 2, 3].map((partition) => others.filter((order) => partitionOfKey(order.key as string, 4) === partition).length)
      await t.until(
        'their positions are at the end',
        async () => (await t.auditor.positions(topic.name, 'workers')).slice(1).every((position, index) => position === ends[index]),
        { seen: () => ends },
      )
      t.atMost(await t.auditor.unsettled(topic.name, 'workers'), 32, 'held of the partition that is stuck')
      t.equal((await t.auditor.positions(topic.name, 'workers'))[0], positionOf(orders, stuck), 'position of the partition that is stuck')
      gate.open()
      await t.settled(topic, 'workers', 30_000)
      seen.exactly(orders)
      seen.ordered()
    },
  },
  {
    id: 'ACK-7',
    title: 'Ends in any order are safe',
    needs: 'memory',
    async run(t) {
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
            t.ok((positions[place.partition] as number) <= place.offset, `the position of partition ${place.partition} passed ${id}, which still runs`, [id])
          }
        }
        await t.settled(topic)
        seen.exactly(orders)
        await consumer.close()
      }
    },
  },
  {
    id: 'ACK-8',
    title: 'Unsettled comes back',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const gate = t.gate()
      const first = t.recorder('first')
      const second = t.recorder('second')
      const leaving = await t.connect()
      const staying = await t.connect()
      const orders = t.orders(40, { keys: 40 })
      await leaving.consume(topic, t.consumeOptions(), first.handler(() => gate.wait()))
      await t.send(leaving, topic, orders)
      await t.until('8 handlers run', () => first.running === 8)
      const before = t.now()
      await leaving.close({ drainMs: 500 })
      t.atMost(t.now() - before, t.slack(1500), 'milliseconds that the close took')
      await staying.consume(topic, t.consumeOptions(), second.handler())
      await t.until('all came back', () => second.finished === orders.length, { withinMs: t.takeoverMs, seen: () => second.finished })
      await t.fence(staying, topic, second)
      second.exactly(orders)
      t.equal(first.starts.length, 8, 'starts at the member that left')
      await t.settled(topic)
    },
  },
  {
    id: 'ACK-9',
    title: 'A failed settle is seen',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const broker = await t.connect({ jitter: 'free' })
      const gate = t.gate()
      const seen = t.recorder()
      const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler(() => gate.wait()))
      const orders = t.orders(8, { keys: 8 })
      await t.send(sender, topic, orders)
      await t.until('8 handlers run', () => seen.running === 8)
      t.link(broker).withhold(['settle'])
      gate.open()
      await t.until('settlements wait for their answers', () => t.calls(broker).openSettles > 0)
      t.struck('settlements', t.calls(broker).openSettles)
      t.link(broker).cut()
      t.link(broker).heal()
      const told = (): readonly string[] => t.events('settle-unknown').flatMap(({ event }) => [...((event['ids'] as readonly string[] | undefined) ?? []), event['id'] as string])
      await t.until('each is reported as unknown', () => orders.every((order) => told().includes(order.id)), { seen: told, withinMs: t.recoverMs + 10_000 })
      await t.until('the consumer runs again', () => consumer.state === 'running', { withinMs: t.recoverMs + 5000, seen: () => consumer.state })
      await t.fence(sender, topic, seen)
      seen.each(orders)
      await t.settled(topic)
    },
  },
  {
    id: 'ACK-10',
    title: 'Each decision does what it says',
    needs: 'memory',
    run: decisions,
  },
  {
    id: 'ACK-11',
    title: 'Settles flush when idle',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions(), seen.handler())
      let total = 0
      for (const count of [1, 7, 33]) {
        await t.send(broker, topic, t.orders(count))
        total += count
        await t.until(`${total} are done`, () => seen.done === total, { seen: () => seen.done })
        await t.settled(topic, 'workers', 1000)
      }
    },
  },
  {
    id: 'ACK-12',
    title: 'At-most-once means at most one start',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const seen = t.recorder()
      const sender = await t.connect()
      const orders = t.orders(t.size(1000))
      await t.send(sender, topic, orders)
      const script = { topic, recorder: seen, options: { settle: 'before' as const }, acts: [{ holdMs: [5, 50] as const }], jitter: 'free' as const }
      const members = []
      for (let round = 0; round < 5; round++) {
        const member = await t.member(script)
        members.push(member)
        const goal = member.starts + t.size(100)
        await t.until('it handles', () => member.starts >= goal && member.running > 0, { withinMs: t.takeoverMs + 20_000, seen: () => member.starts })
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
    },
  },
  {
    id: 'ACK-13',
    title: 'A batch fails per message',
    needs: 'memory',
    async run(t) {
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
      t.equal(orders.map((order) => seen.of(order).length), expected, 'starts of each')
    },
  },
  {
    id: 'ACK-14',
    title: 'Handlers do not repeat each other',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { groups: ['good', 'bad'] })
      const broker = await t.connect()
      const good = t.recorder('good')
      const bad = t.recorder('bad')
      await broker.consume(topic, t.consumeOptions({ group: 'good' }), good.handler())
      await broker.consume(topic, t.consumeOptions({ group: 'bad' }), bad.handler(() => {
        throw new Error('on purpose')
      }))
      const orders = t.orders(20, { keys: 20 })
      await t.send(broker, topic, orders)
      await t.until('the failing group is through', () => bad.starts.length === 60, { withinMs: 30_000, seen: () => bad.starts.length })
      await t.settled(topic, 'bad')
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
    },
  },
  {
    id: 'ACK-15',
    title: 'A batch that throws is handed out one by one',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 1 })
      const broker = await t.connect()
      const seen = t.recorder()
      const sizes: number[] = []
      const orders = t.orders(10, { keys: 10 })
      const fifth = orders[4] as Order
      await t.send(broker, topic, orders)
      await broker.consumeBatch(topic, batchOptions(t), seen.batchHandler<Order>(async (messages) => {
        sizes.push(messages.length)
        if (messages.some((message) => message.id === fifth.id)) throw new Error('on purpose')
      }) as never)
      await t.until('the fifth is dead-lettered', async () => (await deadIds(broker, topic)).length > 0)
      await t.settled(topic)
      t.equal(await deadIds(broker, topic), [fifth.id], 'dead letters')
      t.equal(sizes, [10, ...new Array<number>(11).fill(1)], 'messages in each call')
      t.equal(orders.map((order) => seen.of(order).map((start) => start.attempt)), orders.map((order) => (order === fifth ? [1, 2, 3] : [1, 2])), 'attempts of each')
    },
  },
  {
    id: 'ACK-16',
    title: 'postpone counts nothing',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 1 })
      const broker = await t.connect()
      const seen = t.recorder()
      const [first, successor] = t.orders(2, { keys: 1 }) as [Order, Order]
      const options = t.consumeOptions({ retry: { attempts: 1 } })
      const consumer = await broker.consume(topic, options, seen.handler((message) =>
        message.value.id === first.id && seen.of(first).length <= 5 ? postpone({ afterMs: 200 }) : undefined))
      await t.send(broker, topic, [first, successor])
      await t.until('both are done', () => seen.finished === 2, { seen: () => seen.starts.length })
      const starts = seen.of(first)
      t.equal(starts.map((start) => start.attempt), [1, 1, 1, 1, 1, 1], 'attempts of the postponed one')
      for (const [index, start] of starts.entries()) if (index > 0) t.atLeast(start.at - (starts[index - 1]?.endedAt as number), 200, 'milliseconds of a postponement')
      t.ok((seen.of(successor)[0]?.at as number) >= (starts[5]?.endedAt as number), 'the successor of its key waited')
      t.equal(await deadIds(broker, topic), [], 'dead letters')
      await consumer.close()

      const other = t.topic('others', { partitions: 1 })
      const leaving = await t.connect()
      const orders = t.orders(5, { keys: 5 })
      const before = t.recorder('before')
      await leaving.consume(other, options, before.handler(() => postpone({ afterMs: 60_000 })))
      await t.send(broker, other, orders)
      await t.until('all are postponed', () => before.starts.length === 5 && before.running === 0)
      await leaving.close()
      const after = t.recorder('after')
      await broker.consume(other, options, after.handler())
      await t.until('all came back', () => after.finished === 5, { withinMs: 120_000, seen: () => after.finished })
      t.equal(after.starts.map((start) => start.attempt), [1, 1, 1, 1, 1], 'attempts after the close')
      await t.settled(other)
    },
  },
  {
    id: 'ACK-17',
    title: 'Finished is not run again',
    needs: 'memory',
    run: finishedAgain,
  },
  {
    id: 'ACK-18',
    title: 'A pulled message does not stay out for ever',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const puller = await broker.pull(topic, { group: 'workers', maxUnsettled: 32, settleWithinMs: 500, retry: { attempts: 3, firstDelayMs: 100, factor: 1 } })
      await t.send(broker, topic, t.orders(1))
      const [first] = await puller.receive({ max: 1, waitMs: 5000 })
      t.equal(first?.attempt, 1, 'attempt of the first handing out')
      const began = t.now()
      const [second] = await puller.receive({ max: 1, waitMs: 10_000 })
      t.equal({ id: second?.id, attempt: second?.attempt }, { id: first?.id, attempt: 2 }, 'what is handed out again')
      t.atLeast(t.now() - began, 450, 'milliseconds until then')
      t.equal(await first?.done(), 'stale', 'the late done()')
      t.atLeast(await t.auditor.remaining(topic.name, 'workers'), 1, 'messages that are not settled by a late done()')
      t.equal(await second?.done(), 'done', 'the done() in time')
      await t.settled(topic)
    },
  },
]

function batchOptions(t: Trial): { group: string; max: number; waitMs: number; maxUnsettled: number; retry: { attempts: number; firstDelayMs: number; factor: number } } {
  const { group, maxUnsettled } = t.consumeOptions()
  return { group, max: 10, waitMs: 200, maxUnsettled: maxUnsettled as number, retry: { attempts: 3, firstDelayMs: 100, factor: 1 } }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const mixed = [...items]
  for (let index = mixed.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1))
    ;[mixed[index], mixed[other]] = [mixed[other] as T, mixed[index] as T]
  }
  return mixed
}

/** Where each order lies, as its key says, in send order. */
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

/** Tokens of a connection that ended touch nothing on the next one. */
async function lateAtTheContract(t: Trial): Promise<void> {
  const topic = t.topic('contract', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare(topic)
  await t.send(sender, topic, t.orders(2, { keys: 2 }))
  const opened = await t.open()
  const stop = new AbortController()
  const found: Assignment[] = []
  const all: Assignment[] = []
  const source = { topic: topic.name, kind: 'group', group: 'workers', keyed: true, settleFirst: false, maxUnsettled: 32, maxBytes: 1_048_576, native: undefined, atomic: false, handOverMs: 5000 } as const
  const assignments = await opened.session.subscribe(source, stop.signal)
  const collecting = (async () => {
    for await (const assignment of assignments) {
      all.push(assignment)
      if (assignment.role === 'main') found.push(assignment)
    }
  })()
  await t.until('an assignment', () => found.length === 1)
  const old = found[0] as Assignment
  const tokens = (await readAll(t, old, 2)).map((delivery) => delivery.token)
  t.struck('unsettled deliveries', tokens.length)
  t.link(opened).cut()
  await t.until('the assignment is lost and comes again', () => old.lost.aborted && found.length === 2, { withinMs: t.recoverMs + t.leaseMs })
  const fresh = found[1] as Assignment
  const again = await readAll(t, fresh, 2)
  t.equal(await old.settle(tokens), 'stale', 'settling tokens of the connection before')
  t.equal(await t.auditor.unsettled(topic.name, 'workers'), 2, 'unsettled after it')
  t.equal(await fresh.settle(again.map((delivery) => delivery.token)), 'settled', 'settling the new tokens')
  await t.settled(topic)
  stop.abort()
  await t.until('the member may leave', () => fresh.leaving.aborted || fresh.lost.aborted)
  await Promise.all(all.map((assignment) => assignment.release()))
  await collecting
}
async function readAll(t: Trial, assignment: Assignment, count: number): Promise<readonly Delivery[]> {
  const all: Delivery[] = []
  while (all.length < count) {
    const some = await assignment.read(count)
    if (some.length === 0) t.fail(`the assignment ended after ${all.length} of ${count} deliveries`)
    all.push(...some)
  }
  return all
}

async function lateByPull(t: Trial): Promise<void> {
  const topic = t.topic('pulled', { partitions: 1 })
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const puller = await broker.pull(topic, { group: 'workers', maxUnsettled: 32 })
  await t.send(sender, topic, t.orders(2, { keys: 2 }))
  const old: Pulled<Message<Order>>[] = []
  while (old.length < 2) old.push(...(await puller.receive({ max: 2, waitMs: 5000 })))
  t.struck('unsettled deliveries', old.length)
  const before = t.now()
  t.link(broker).cut()
  await t.until('it owns the partition again', () => t.calls(broker).assignments.some((each) => each.role === 'main' && each.since > before), t.recoverMs + t.leaseMs)
  for (const message of old) t.equal(await message.done(), 'stale', `done() of ${message.id} after its connection ended`)
  // What was done here is not handed out here again (ACK-17): at most it comes, and its own settlement counts.
  for (const message of await puller.receive({ max: 2, waitMs: 3000 })) t.equal(await message.done(), 'done', `done() of ${message.id}`)
  await t.settled(topic)
}

async function lateHandlers(t: Trial): Promise<void> {
  const topic = t.topic('handled', { partitions: 1 })
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const gate = t.gate()
  const seen = t.recorder('handled')
  const orders = t.orders(2, { keys: 2 })
  await broker.consume(topic, t.consumeOptions(), seen.handler(() => gate.wait()))
  await t.send(sender, topic, orders)
  await t.until('2 handlers run', () => seen.running === 2)
  t.struck('running handlers', seen.running)
  const before = t.now()
  t.link(broker).cut()
  await t.until('it owns the partition again', () => t.calls(broker).assignments.some((each) => each.role === 'main' && each.since > before), t.recoverMs + t.leaseMs)
  await t.until('the server counts the new deliveries', async () => (await t.auditor.unsettled(topic.name, 'workers')) === 2)
  gate.open()
  await t.settled(topic)
  await t.fence(sender, topic, seen)
  seen.each(orders)
  t.atMost(seen.repeats, 2, 'repeats')
}

async function decisions(t: Trial): Promise<void> {
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
  await broker.consume(topic, t.consumeOptions(), seen.handler((message) => {
    const [name, how] = kindOf(message.value).split('-') as [string, string | undefined]
    if (name === 'done' || (name === 'postpone' && seen.of(message.value).length > 1)) return
    const decision = made[name]?.()
    if (decision === undefined) throw new Error('on purpose')
    if (how === 'thrown') throw decision
    return decision
  }))
  await t.send(broker, topic, orders)
  await t.settled(topic, 'workers', 30_000)
  const expected: Record<string, readonly number[]> = {
    done: [1], throw: [1, 2, 3], retry: [1, 2, 3], postpone: [1, 1], dead: [1], drop: [1],
  }
  for (const order of orders) {
    const kind = kindOf(order)
    const starts = seen.of(order)
    t.equal(starts.map((start) => start.attempt), expected[kind.split('-')[0] as string], `attempts of ${order.key}`)
    if (kind.startsWith('retry') || kind.startsWith('postpone')) {
      for (const [index, start] of starts.entries()) if (index > 0) t.atLeast(start.at - (starts[index - 1]?.endedAt as number), 300, `milliseconds between starts of ${order.key}`)
    }
  }
  const dead = await deadIds(broker, topic)
  const wanted = orders.filter((order) => /^(?:throw|retry|dead)/.test(kindOf(order))).map((order) => order.id)
  t.equal([...dead].sort(), [...wanted].sort(), 'dead letters')
  t.equal(t.events('dropped').length, 20, 'drops that were reported')
}

async function finishedAgain(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const seen = t.recorder()
  const orders: Order[] = []
  let gate = t.gate()
  await broker.consume(topic, t.consumeOptions({ concurrency: 20 }), seen.handler(() => gate.wait()))
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

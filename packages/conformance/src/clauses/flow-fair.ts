// Who waits for whom: hot keys and topics, stalled loops, batches and pulls.

import type { Clause } from '../clause.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { p99 } from './figures.ts'
import { loopStaysFree } from './net-bytes.ts'
import { heldOf } from './support.ts'

const handleMs = 5

/** Rounds of a burst of hot orders and then the others; answers the p99 of the others, from send to the handler's end. */
async function latencyOfOthers(
  t: Trial,
  topics: readonly OrderTopic[],
  rounds: number,
  everyMs: number,
  burst: (round: number) => {
    readonly hot: readonly Order[]
    readonly others: readonly Order[]
    readonly hotTopic: OrderTopic
    otherTopic(index: number): OrderTopic
  },
): Promise<number> {
  const sender = await t.connect()
  const broker = await t.connect()
  const seen = t.recorder()
  const sentAt = new Map<string, number>()
  const all: Order[] = []
  const work: Promise<void>[] = []
  const consumer = await broker.consume(
    topics,
    t.consumeOptions(),
    seen.handler(() => t.sleep(handleMs)),
  )
  for (let round = 0; round < rounds; round++) {
    const { hot, others, hotTopic, otherTopic } = burst(round)
    if (hot.length > 0) work.push(t.send(sender, hotTopic, hot))
    for (const [index, order] of others.entries()) {
      sentAt.set(order.id, t.now())
      work.push(t.send(sender, otherTopic(index), [order]))
    }
    all.push(...hot, ...others)
    await t.sleep(everyMs)
  }
  await Promise.all(work)
  await t.until('all are handled', () => seen.finished === all.length, {
    withinMs: 60_000,
    seen: () => `${seen.finished} of ${all.length}`,
  })
  seen.exactly(all)
  seen.ordered()
  await consumer.close()
  await broker.close()
  return p99([...sentAt].map(([id, at]) => (seen.of(id)[0]?.endedAt ?? Number.POSITIVE_INFINITY) - at))
}

/** FLOW-10, FLOW-11, FLOW-12, FLOW-13. */
export const flowFair: readonly Clause[] = [
  {
    id: 'FLOW-10',
    title: 'A hot key or topic starves nobody',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      const none: readonly Order[] = []
      // 18 of 20 messages are of one key, whose own handlers take 90 of every 100 ms: behind them in one line, others would wait for that.
      // On a real machine 5 ms take longer: the hot key's own handlers must not need more time than there is.
      const [rounds, everyMs] = t.virtual ? [t.size(500), 100] : [30, 600]
      const key = async (hot: boolean): Promise<number> => {
        const topic = t.topic(hot ? 'hot-key' : 'cool-key')
        return latencyOfOthers(t, [topic], rounds, everyMs, (round) => ({
          hot: hot ? t.orders(18, { keyNames: ['hot'] }) : none,
          others: t.orders(2, { keyNames: [`key-${(round * 2) % 64}`, `key-${(round * 2 + 1) % 64}`] }),
          hotTopic: topic,
          otherTopic: () => topic,
        }))
      }
      const coolKey = await key(false)
      t.atMost(await key(true), t.slack(3 * Math.max(coolKey, handleMs)), `p99 of other keys beside a hot key (alone: ${coolKey} ms)`)

      const count = 20
      const half = Math.floor(rounds / 2)
      const topic = async (hot: boolean): Promise<number> => {
        const topics = Array.from({ length: count }, (_, index) => t.topic(`${hot ? 'hot' : 'cool'}-${index}`))
        const [first, ...rest] = topics as [OrderTopic, ...OrderTopic[]]
        return latencyOfOthers(t, topics, half, everyMs / 2, (round) => ({
          hot: hot ? t.orders(36) : none,
          others: t.orders(4),
          hotTopic: first,
          otherTopic: (index) => rest[(round * 4 + index) % rest.length] as OrderTopic,
        }))
      }
      const coolTopic = await topic(false)
      t.atMost(await topic(true), t.slack(3 * Math.max(coolTopic, handleMs)), `p99 of 19 topics beside a hot one (alone: ${coolTopic} ms)`)
    },
  },
  {
    id: 'FLOW-11',
    title: 'The event loop stays free',
    needs: 'process',
    run: loopStaysFree,
  },
  {
    id: 'FLOW-12',
    title: 'A stalled loop wakes up sane',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const member = await t.member({ topic, recorder: seen, acts: [{ holdMs: 200 }] })
      await t.until('it owns all', () => member.calls.assignments.length >= 4)
      const orders = t.orders(200)
      await t.send(sender, topic, orders)
      await t.until('it is in full swing', () => seen.done > 20 && member.running > 0)
      const held = await t.auditor.unsettled(topic.name, 'workers')
      const before = await t.auditor.settles(topic.name, 'workers')
      t.struck('running handlers', member.running)
      const running = member.running
      // A loop that is blocked is a process that stands still: no timer fires, nothing is read or written.
      member.freeze()
      await t.pass(2 * t.leaseMs)
      const wakes = t.now()
      member.thaw()
      await t.until('it goes on', () => seen.finished === orders.length, {
        withinMs: t.takeoverMs + t.recoverMs + 10_000,
        seen: () => seen.finished,
      })
      await t.fence(sender, topic, seen)
      seen.each(orders)
      t.atMost(seen.repeats, held, 'repeats after the loop was blocked')
      const after = await t.auditor.settles(topic.name, 'workers')
      t.atMost(after.stale - before.stale, running, 'stale settlements after the loop was blocked')
      const said = t
        .events()
        .filter(
          ({ at, name, event }) =>
            at >= wakes && (name === 'stalled' || name === 'lost' || (name === 'adapter' && event['reason'] !== undefined)),
        )
      t.atLeast(said.length, 1, 'events that say that it was stalled')
      // The object of a member in another process cannot be asked; that it goes on was seen.
      if (member.consumer !== undefined) t.equal(member.consumer.state, 'running', 'state of the consumer afterwards')
    },
  },
  {
    id: 'FLOW-13',
    title: 'Batch and pull wait no longer than they say',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('batches', { partitions: 1 })
      const broker = await t.connect()
      const seen = t.recorder('batches')
      const batches: { readonly at: number; readonly count: number }[] = []
      await broker.consumeBatch(
        topic,
        { group: 'workers', max: 100, waitMs: 500, maxUnsettled: 100 },
        seen.batchHandler<Order>(async (messages) => {
          if (messages.length > 0) batches.push({ at: t.now(), count: messages.length })
        }),
      )
      const owned = (name: string) => (): boolean =>
        t.calls(broker).assignments.some(({ topic: of, role }) => of === name && role === 'main')
      // What is measured is the wait of a consumer that has its partition.
      await t.until('it has its partition', owned(topic.name))
      const orders = t.orders(7, { keys: 7 })
      const sentAt = t.now()
      await t.send(broker, topic, orders)
      await t.until('the batch is handled', () => seen.finished === 7, { withinMs: 2000, seen: () => batches })
      t.equal(
        batches.map(({ count }) => count),
        [7],
        'sizes of the batches',
      )
      t.atMost((batches[0]?.at ?? 0) - sentAt, t.slack(600), 'time until a batch that is not full')
      t.atLeast((batches[0]?.at ?? 0) - sentAt, 400, 'time until a batch that is not full')
      await t.fence(broker, topic, seen)
      seen.exactly(orders)

      const full = t.orders(100, { keys: 100 })
      batches.length = 0
      seen.reset()
      const fullAt = t.now()
      await t.send(broker, topic, full)
      await t.until('the full batch is handled', () => seen.finished === 100, { withinMs: 2000, seen: () => batches })
      t.atMost((seen.starts[0]?.at ?? 0) - fullAt, t.slack(600), 'time until the full batch')

      const pulled = t.topic('pulled', { partitions: 1 })
      const puller = await broker.pull(pulled, { group: 'workers', maxUnsettled: 100 })
      await t.until('it has its partition', owned(pulled.name))
      const seven = t.orders(7, { keys: 7 })
      await t.send(broker, pulled, seven)
      const askedAt = t.now()
      const messages = await puller.receive({ max: 100, waitMs: 500 })
      t.equal(
        messages.map((message) => message.id),
        seven.map((order) => order.id),
        'ids that receive() gave',
      )
      t.atMost(t.now() - askedAt, t.slack(600), 'time of receive() with waitMs 500')
      const emptyAt = t.now()
      t.equal((await puller.receive({ max: 10, waitMs: 500 })).length, 0, 'messages where there are none')
      t.atLeast(t.now() - emptyAt, 500, 'time of receive() where there is nothing')
      t.atMost(t.now() - emptyAt, t.slack(600), 'time of receive() where there is nothing')
      for (const message of messages) t.equal(await message.done(), 'done', `done() of ${message.id}`)

      const more = t.orders(500, { keys: 500 })
      await t.send(broker, pulled, more)
      await t.pass(2000)
      const calls = t.calls(broker)
      const held = t.server.overrunsWindow === true ? calls.handedOut - calls.settled : await heldOf(t, pulled.name, calls)
      t.atMost(held, 100, 'fetched while nobody asks, with maxUnsettled 100')
      const rest: string[] = []
      while (rest.length < more.length) {
        const page = await puller.receive({ max: 50, waitMs: 500 })
        t.ok(page.length > 0, `only ${rest.length} of ${more.length} were pulled`)
        t.atMost(page.length, 50, 'messages of one receive() with max 50')
        rest.push(...page.map((message) => message.id))
        await Promise.all(page.map((message) => message.done()))
      }
      t.equal(
        rest,
        more.map((order) => order.id),
        'ids pulled',
      )
      await t.settled(pulled)

      const small = t.topic('small')
      await t.rejects(
        broker.consumeBatch(small, { group: 'workers', max: 100, maxUnsettled: 50 }, async () => {}),
        'INVALID_ARGUMENT',
        {
          naming: ['maxUnsettled', 'max'],
          what: 'consumeBatch that could never fill a batch',
        },
      )
      t.equal(await t.auditor.exists(small.name), false, 'a topic made by what was refused')
    },
  },
]

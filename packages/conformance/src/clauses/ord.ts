import { retry } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import { keysOfPartitions, partitionOfKey } from '../murmur2.ts'
import { type Order, orderTopic } from '../orders.ts'
import type { Recorder } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { connectChanged } from './spied.ts'

/** The ORD clauses, in the order of the page: order per key. */
export const ord: readonly Clause[] = [
  { id: 'ORD-1', title: 'Per key, in order', needs: 'memory', run: (t) => manyKeys(t, [0, 20]) },
  { id: 'ORD-2', title: 'One handler per key at a time', needs: 'memory', run: (t) => manyKeys(t, [5, 30]) },
  {
    id: 'ORD-3',
    title: "Retry keeps the key's order",
    needs: 'memory',
    async run(t) {
      for (const afterMs of [undefined, 31_000]) {
        const topic = t.topic(afterMs === undefined ? 'short' : 'long')
        const broker = await t.connect()
        const seen = t.recorder()
        const orders = t.orders(200, { keys: 10 })
        const [first] = orders as readonly [Order, ...Order[]]
        const tenth = new Set(orders.filter((order) => order.seq === first.seq + 9).map((order) => order.id))
        await broker.consume(
          topic,
          t.consumeOptions({ concurrency: 16, maxUnsettled: 256 }),
          seen.handler(async (message) => {
            await t.sleep(1 + t.random() * 5)
            if (!tenth.has(message.value.id) || message.attempt > 2) return
            if (afterMs !== undefined) return retry({ afterMs })
            throw new Error('on purpose')
          }),
        )
        await t.send(broker, topic, orders)
        await t.until('all are done', () => seen.finished === orders.length, { withinMs: 120_000, seen: () => seen.finished })
        await t.settled(topic)
        t.equal(tenth.size, 10, 'messages that fail')
        for (const order of orders)
          t.equal(
            seen.of(order).map((start) => start.attempt),
            tenth.has(order.id) ? [1, 2, 3] : [1],
            `attempts of ${order.id}`,
          )
        seen.ordered()
        t.equal(t.events('parked').length, 0, 'keyed messages that were parked')
        const gaps = [...tenth].map((id) => seen.of(id)).map(([first, second]) => (second?.at as number) - (first?.endedAt as number))
        if (afterMs !== undefined) for (const gap of gaps) t.atLeast(gap, afterMs, 'milliseconds of a long wait')
      }
    },
  },
  {
    id: 'ORD-4',
    title: 'Replay after a crash is contiguous',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const orders = t.orders(t.size(5000), { keys: 50 })
      const script = { topic, recorder: seen, options: { concurrency: 16 }, acts: [{ holdMs: [1, 10] as const }] }
      await t.send(sender, topic, orders)
      let bound = 0
      for (let round = 1; round <= 3; round++) {
        const member = await t.member(script)
        const goal = Math.floor((orders.length * round) / 4)
        await t.until(`${goal} are done`, () => seen.finished >= goal && member.running > 0, {
          withinMs: t.takeoverMs + 60_000,
          seen: () => seen.finished,
        })
        t.struck('running handlers', member.running)
        bound += await t.auditor.unsettled(topic.name, 'workers')
        member.kill()
      }
      await t.member(script)
      await t.until('all are done', () => seen.finished === orders.length, { withinMs: t.takeoverMs + 60_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      seen.each(orders)
      seen.ordered()
      t.atMost(seen.repeats, bound, 'repeats, against what was unsettled at three kills')
    },
  },
  {
    id: 'ORD-5',
    title: 'Order holds over a rebalance',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const orders = t.orders(t.size(5000), { keys: 50 })
      const script = { topic, recorder: seen, options: { concurrency: 16 }, acts: [{ holdMs: [1, 10] as const }] }
      await t.member(script)
      const sending = t.send(sender, topic, orders)
      for (let round = 1; round <= 3; round++) {
        const goal = Math.floor((orders.length * round) / 5)
        await t.until(`${goal} are done`, () => seen.finished >= goal, { withinMs: 60_000, seen: () => seen.finished })
        const joining = await t.member(script)
        await t.until('it owns something', () => joining.calls.assignments.length > 0, t.takeoverMs)
        await t.until('it has handled something', () => joining.starts > 0 || seen.finished === orders.length, t.takeoverMs)
        await joining.close()
      }
      await sending
      await t.until('all are done', () => seen.finished === orders.length, { withinMs: 120_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      if (t.capabilities.settlement === 'each') seen.exactly(orders)
      else onlyBehindUnfinished(t, seen, orders)
      seen.ordered()
    },
  },
  {
    id: 'ORD-6',
    title: 'Awaited sends are stored in order',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const orders = t.orders(t.size(1000) * 4, { keys: 4 })
      await t.send(broker, topic, orders, { awaited: true })
      t.equal(await logOf(t, topic.name), byKey(orders), 'ids per key in the log')
    },
  },
  {
    id: 'ORD-7',
    title: 'Un-awaited sends of a key keep their order',
    needs: 'memory',
    async run(t) {
      for (const retryUnknown of [true, false]) {
        const topic = t.topic(retryUnknown ? 'repeated' : 'given-up')
        const broker = await t.connect({ jitter: 'free' })
        await broker.declare(topic)
        const orders = t.orders(t.size(1000) * 4, { keys: 4 })
        const producer = broker.producer(topic, { retryUnknown, timeoutMs: 30_000 })
        t.link(broker).delay(5, 4)
        const sends = orders.map((order) =>
          producer.send(order, { id: order.id }).then(
            () => order.id,
            () => undefined,
          ),
        )
        await t.until('publishes are on their way', () => t.calls(broker).openPublishes > 0)
        await t.sleep(3)
        t.struck('publishes', t.calls(broker).openPublishes)
        t.link(broker).cut()
        t.link(broker).heal()
        const stored = new Set((await Promise.all(sends)).filter((id) => id !== undefined))
        if (retryUnknown) t.equal(stored.size, orders.length, 'sends that resolved')
        const log = await logOf(t, topic.name)
        for (const [key, ids] of Object.entries(log)) {
          const first = ids.filter((id, index) => ids.indexOf(id) === index)
          const expected = (byKey(orders)[key] as readonly string[]).filter((id) => first.includes(id))
          t.equal(first, expected, `first copies of key ${key} in the log (retryUnknown ${retryUnknown})`)
        }
        const kept = new Set(Object.values(log).flat())
        t.equal(
          [...stored].filter((id) => !kept.has(id)),
          [],
          'stored according to the library, and not in the log',
        )
      }
    },
  },
  {
    id: 'ORD-8',
    title: 'No key is not the empty key',
    needs: 'memory',
    async run(t) {
      const broker = await t.connect()
      const plain = t.topic('plain', { keyed: false, partitions: 4 })
      for (const order of t.orders(40, { keyNames: [] })) await t.send(broker, plain, [order])
      const used = new Set((await t.auditor.read(t.place(plain))).map((message) => message.partition))
      if ((await t.auditor.positions(plain.name, 'workers')).length > 1)
        t.atLeast(used.size, 2, 'partitions used by messages without a key')

      const topic = t.topic('empty')
      const orders = t.orders(20, { keyNames: [''] })
      const seen = t.recorder()
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(async (message) => {
          t.equal(message.key, '', `key of ${message.id} at the handler`)
          await t.sleep(5)
        }),
      )
      await t.send(broker, topic, orders)
      const stored = await t.auditor.read(t.place(topic))
      t.equal(new Set(stored.map((message) => message.partition)).size <= 1, true, 'messages of the empty key lie in one partition')
      await t.until('all are done', () => seen.finished === orders.length)
      t.equal(seen.mostRunning, 1, 'handlers of the empty key at once')
      seen.exactly(orders)
      seen.ordered()
    },
  },
  {
    id: 'ORD-9',
    title: 'A key stays in its partition',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const keyNames = Array.from({ length: 200 }, (_, index) => `user-${index}`)
      const first = await t.connect()
      await t.send(first, topic, t.orders(200, { keyNames }))
      await first.close()
      if (t.profile === 'durable') {
        await t.crash('SIGKILL')
        await t.restart()
      }
      // Another process knows nothing of the first one's count.
      const again = orderTopic(topic.name, { partitions: null })
      const second = await t.connect()
      await t.send(second, again, t.orders(200, { keyNames }))
      const places = new Map<string, Set<number>>()
      for (const { key, partition, body } of await t.auditor.read(t.place(topic))) {
        const name = key ?? (JSON.parse(Buffer.from(body ?? []).toString()) as { data?: Order }).data?.key ?? ''
        places.set(name, (places.get(name) ?? new Set()).add(partition))
      }
      for (const key of keyNames) t.equal([...(places.get(key) ?? [])], [partitionOfKey(key, 4)], `partitions of key ${key}`)
    },
  },
  {
    id: 'ORD-10',
    title: "A repeated unknown keeps its key's order",
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect({ jitter: 'free' })
      await broker.declare(topic)
      const keyNames = keysOfPartitions(4, 'key')
      const orders = t.orders(t.size(1000) * 4, { keyNames })
      const link = t.link(broker)
      const producer = broker.producer(topic, { timeoutMs: 60_000 })
      link.delay(5)
      const sends = orders.map((order) => producer.send(order, { id: order.id }))
      let overlapping = 0
      for (let round = 0; round < 5; round++) {
        await t.until(
          'publishes are on their way',
          () => t.calls(broker).openPublishes > 0 || producerIsDone(t, orders.length),
          t.recoverMs + 20_000,
        )
        if (producerIsDone(t, orders.length)) break
        link.withhold(['publish'])
        const before = link.withheld
        await t.until('answers are withheld', () => link.withheld > before || producerIsDone(t, orders.length), 10_000)
        if (round === 0) t.struck('publishes', t.calls(broker).openPublishes)
        overlapping = Math.max(overlapping, t.calls(broker).openPublishes)
        link.cut()
        link.heal()
        link.delay(5)
      }
      await Promise.all(sends)
      const log = await logOf(t, topic.name)
      for (const [key, ids] of Object.entries(log)) {
        const first = ids.filter((id, index) => ids.indexOf(id) === index)
        t.equal(first, byKey(orders)[key], `first copies of key ${key} in the log`)
      }
      t.atMost(overlapping, 4, 'publishes that were open at once for four partitions')
      await noneOvertakes(t)
    },
  },
]

/** Where only prefixes can be settled, a hand-over repeats what finished behind a message that had not; and nothing else. */
export function onlyBehindUnfinished(t: Trial, seen: Recorder, orders: readonly Order[]): void {
  seen.each(orders)
  const doneAt = (order: Order): number => seen.of(order).find((start) => start.end === 'done')?.endedAt as number
  const latest = new Map<number, number>()
  for (const order of orders) {
    const partition = partitionOfKey(order.key as string, 4)
    const before = latest.get(partition) ?? Number.NEGATIVE_INFINITY
    if (seen.of(order).length > 1)
      t.ok(before > doneAt(order), `${order.id} was repeated by a polite hand-over, though all before it in its partition were done`, [
        order.id,
      ])
    latest.set(partition, Math.max(before, doneAt(order)))
  }
}

/** No publish of a partition leaves while an earlier one of it is open, also where answers are slow or never come. */
async function noneOvertakes(t: Trial): Promise<void> {
  const topic = t.topic('watched')
  const open = new Set<string>()
  const overtaking: string[] = []
  let calls = 0
  const broker = await connectChanged(t, (session) => ({
    async publish(batch, signal) {
      const call = ++calls
      const places = [...new Set(batch.map(({ place, partition }) => `${place.topic} ${place.role} ${partition}`))]
      for (const message of batch)
        if (open.has(`${message.place.topic} ${message.place.role} ${message.partition}`)) overtaking.push(message.id)
      for (const place of places) open.add(place)
      const report = await session.publish(batch, signal)
      await t.sleep(5 + t.random() * 20)
      for (const place of places) open.delete(place)
      if (call % 5 !== 0) return report
      return {
        failures: batch.map((_, index) => ({ index, outcome: 'unknown' as const, error: new Error('the answer was lost') })),
        position: () => null,
      }
    },
  }))
  await broker.declare(topic)
  const orders = t.orders(400, { keyNames: keysOfPartitions(4, 'key') })
  const producer = broker.producer(topic, { timeoutMs: 60_000 })
  const sends: Promise<unknown>[] = []
  for (const order of orders) {
    sends.push(producer.send(order, { id: order.id }))
    if (sends.length % 8 === 0) await t.sleep(t.virtual ? 4 : 20)
  }
  await Promise.all(sends)
  t.atLeast(calls, 20, 'publishes')
  t.equal(overtaking, [], 'messages that left while an earlier publish of their partition was open')
  for (const [key, ids] of Object.entries(await logOf(t, topic.name))) {
    const first = ids.filter((id, index) => ids.indexOf(id) === index)
    t.equal(first, byKey(orders)[key], `first copies of key ${key} in the log of the watched topic`)
  }
  await broker.close()
}

function producerIsDone(t: Trial, count: number): boolean {
  return t.sends.filter((send) => send.outcome === 'stored').length >= count
}

function byKey(orders: readonly Order[]): Record<string, readonly string[]> {
  const found: Record<string, string[]> = {}
  for (const { key, id } of orders) {
    const ids = found[key as string] ?? []
    ids.push(id)
    found[key as string] = ids
  }
  return found
}

/** Ids in the log, by key. Where the wire has no headers, id and key are in the body. */
async function logOf(t: Trial, topic: string): Promise<Record<string, readonly string[]>> {
  const orders: Order[] = []
  for (const { id, key, body } of await t.auditor.read(t.place(topic))) {
    if (id !== null && key !== null) orders.push({ id, key, seq: 0, hash: '', pad: '' })
    else orders.push((JSON.parse(Buffer.from(body ?? []).toString()) as { data: Order }).data)
  }
  return byKey(orders)
}

async function manyKeys(t: Trial, holdMs: readonly [number, number]): Promise<void> {
  const topic = t.topic('jobs')
  const sender = await t.connect()
  const seen = t.recorder()
  await t.team(2, { topic, recorder: seen, options: { concurrency: 16 }, acts: [{ holdMs }] })
  const orders = t.orders(t.size(5000), { keys: 50 })
  await t.send(sender, topic, orders)
  await t.until('all are done', () => seen.finished === orders.length, { withinMs: 120_000, seen: () => seen.finished })
  await t.fence(sender, topic, seen)
  seen.exactly(orders)
  seen.ordered()
  t.atLeast(seen.mostRunning, 8, 'handlers that ran at once: without them an overlap could not show')
}

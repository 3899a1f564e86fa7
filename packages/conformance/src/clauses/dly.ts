import type { Clause } from '../clause.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Recorder } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { dlyMoving } from './dly-moving.ts'
import { idsOf } from './figures.ts'

/** Each started no earlier than its due time and soon after; `due` by id, monotonic. */
function onTime(t: Trial, seen: Recorder, due: ReadonlyMap<string, { readonly at: number; readonly delayMs: number }>): void {
  for (const [id, { at, delayMs }] of due) {
    const [start] = seen.of(id)
    if (start === undefined) t.fail(`${id} never started`, [id])
    if (start.at < at) t.fail(`${id} started ${at - start.at} ms before its time`, [id])
    const late = start.at - at
    if (late > t.slack(Math.max(500, delayMs / 10))) t.fail(`${id}, delayed by ${delayMs} ms, started ${late} ms late`, [id])
  }
}

/** Sends these delayed, un-awaited, and resolves when all are stored; answers when each is due. */
async function sendDelayed(
  t: Trial,
  topic: OrderTopic,
  orders: readonly Order[],
  delayOf: (index: number) => number,
): Promise<Map<string, { at: number; delayMs: number }>> {
  const broker = await t.connect()
  await broker.declare(topic)
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  const due = new Map<string, { at: number; delayMs: number }>()
  await Promise.all(
    orders.map((order, index) => {
      const delayMs = delayOf(index)
      due.set(order.id, { at: t.now() + delayMs, delayMs })
      return producer.send(order, { id: order.id, delayMs })
    }),
  )
  await broker.close()
  return due
}

/** DLY-3: what is stored survives; with a server that forgets, what it kept is all handled. */
async function survives(t: Trial, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const topic = t.topic('later')
  const seen = t.recorder()
  const first = await t.member({ topic, recorder: seen })
  const orders = t.orders(100)
  const due = await sendDelayed(t, topic, orders, () => 5000)
  await t.pass(2000)
  const waiting = async (): Promise<number> =>
    (await t.auditor.read(t.place(topic))).length +
    (t.capabilities.delay === 'none' ? (await t.auditor.read(t.place(topic, 'delay'))).length : 0)
  t.struck('delayed messages', await waiting())
  t.equal(seen.starts.length, 0, 'starts before the time')
  first.kill()
  await t.crash(signal)
  await t.pass(500)
  await t.restart()
  const kept = signal === 'SIGKILL' && t.profile !== 'durable' ? await waiting() : orders.length
  t.note(`the server kept ${kept} of ${orders.length}`)
  await t.member({ topic, recorder: seen })
  await t.until('what was kept is handled', () => seen.finished === kept, { withinMs: t.takeoverMs + 10_000, seen: () => seen.finished })
  for (const start of seen.starts) if (start.at < (due.get(start.id)?.at ?? 0)) t.fail(`${start.id} started before its time`, [start.id])
  t.equal(seen.starts.length, kept, 'starts')
  if (kept === orders.length) seen.exactly(orders)
  await t.settled(topic)
}

/** The DLY clauses, in the order of the page. */
export const dly: readonly Clause[] = [
  {
    id: 'DLY-1',
    title: 'Not early, not late',
    needs: 'memory',
    async run(t) {
      for (const keyed of [true, false]) {
        const topic = t.topic(keyed ? 'keyed' : 'plain', { keyed })
        const broker = await t.connect()
        const seen = t.recorder()
        await broker.consume(topic, t.consumeOptions(), seen.handler())
        const orders = t.orders(80)
        const producer = broker.producer(topic, { timeoutMs: 5000 })
        const due = new Map<string, { at: number; delayMs: number }>()
        // The longest first, so that what holds up what is behind it shows.
        const delays = [5000, 1000, 100, 1700]
        await Promise.all(
          orders.map((order, index) => {
            const delayMs = delays[Math.floor(index / 20)] as number
            due.set(order.id, { at: t.now() + delayMs, delayMs })
            return producer.send(order, { id: order.id, ...(index < 60 ? { delayMs } : { notBefore: new Date(t.wall() + delayMs) }) })
          }),
        )
        await t.until('all are handled', () => seen.finished === orders.length, { withinMs: 15_000, seen: () => seen.finished })
        onTime(t, seen, due)
        await t.fence(broker, topic, seen)
        seen.exactly(orders)
      }
    },
  },
  {
    id: 'DLY-2',
    title: 'Shorter overtakes longer',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('later', { keyed: false })
      const broker = await t.connect()
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions(), seen.handler())
      const orders = t.orders(3)
      const [slow, quick, now] = orders as readonly [Order, Order, Order]
      await t.send(broker, topic, [slow], { delayMs: 5000 })
      await t.send(broker, topic, [quick], { delayMs: 1000 })
      await t.send(broker, topic, [now])
      await t.until('all three are handled', () => seen.finished === 3, {
        withinMs: 10_000,
        seen: () => seen.starts.map((start) => start.id),
      })
      t.equal(
        seen.starts.map((start) => start.id),
        [now.id, quick.id, slow.id],
        'order of the starts',
      )
      await t.fence(broker, topic, seen)
      seen.exactly(orders)
    },
  },
  {
    id: 'DLY-3',
    title: 'Delays survive restarts',
    needs: 'memory',
    gate: (_, profile) => (profile === 'durable' ? 'run' : 'other'),
    run: (t) => survives(t, 'SIGKILL'),
    other: (t) => survives(t, t.profile === 'graceful' ? 'SIGTERM' : 'SIGKILL'),
  },
  ...dlyMoving.slice(0, 1),
  {
    id: 'DLY-5',
    title: 'Bounds are refused, not bent',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('later')
      const broker = await t.connect()
      await broker.declare(topic)
      const producer = broker.producer(topic, { timeoutMs: 5000 })
      const { delayMs: most } = t.capabilities.limits
      const [order] = t.orders(1)
      if (order === undefined) return
      const stored = async (): Promise<number> =>
        (await t.auditor.read(t.place(topic))).length +
        (t.capabilities.delay === 'none' ? (await t.auditor.read(t.place(topic, 'delay'))).length : 0)
      const wrong: readonly unknown[] = [-1, Number.NaN, 0.5, 1000.5, most + 1, Number.POSITIVE_INFINITY, '5000']
      for (const delayMs of wrong) {
        await t.rejects(producer.send(order, { delayMs: delayMs as number }), 'INVALID_ARGUMENT', {
          naming: ['delayMs'],
          what: `send with delayMs ${String(delayMs)}`,
        })
        await t.rejects(producer.sendBatch([{ value: order, delayMs: delayMs as number }]), 'INVALID_ARGUMENT', {
          what: `sendBatch with delayMs ${String(delayMs)}`,
        })
      }
      for (const notBefore of [new Date(Number.NaN), new Date(t.wall() + most + 10_000)]) {
        await t.rejects(producer.send(order, { notBefore }), 'INVALID_ARGUMENT', {
          naming: ['notBefore'],
          what: `send with notBefore ${String(notBefore.getTime())}`,
        })
      }
      t.equal(await stored(), 0, 'stored of what was refused')
      await producer.send(order, { delayMs: most })
      t.equal(await stored(), 1, 'stored with the longest delay')
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions(), seen.handler())
      await t.fence(broker, topic, seen)
      t.equal(seen.starts.length, 0, 'starts of what waits the longest')
      t.equal((await stored()) >= 1, true, 'it still waits')
    },
  },
  ...dlyMoving.slice(1, 2),
  {
    id: 'DLY-8',
    title: 'Expired is not handled',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('offers')
      const sender = await t.connect()
      const orders = t.orders(40)
      const brief = orders.slice(0, 20)
      const lasting = orders.slice(20)
      await t.send(sender, topic, brief, { expiresAt: new Date(t.wall() + 1000) })
      await t.send(sender, topic, lasting, { expiresAt: new Date(t.wall() + 600_000) })
      await t.pass(3000)
      const seen = t.recorder()
      const broker = await t.connect()
      const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler())
      await t.fence(sender, topic, seen)
      seen.exactly(lasting, 'orders that had not expired')
      t.equal([...idsOf(t, 'expired')].sort(), brief.map((order) => order.id).sort(), 'ids reported as expired')
      await t.settled(topic)
      t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 0, 'dead letters')
      t.equal(consumer.stats().handled >= lasting.length, true, 'handled, counted')
      t.ok(
        t.logs.some((entry) => entry.event === 'expired'),
        'the log says that messages had expired',
      )
      await expiresDuringRetry(t)
    },
  },
  ...dlyMoving.slice(2),
]

/** DLY-8: a wait for the next attempt, in memory or parked, does not make it live longer. */
async function expiresDuringRetry(t: Trial): Promise<void> {
  for (const [name, waitMs, livesMs] of [
    // In real time the way there and back takes its part of it.
    ['waiting', t.virtual ? 100 : 2000, t.virtual ? 150 : 3000],
    ['parked', 31_000, 20_000],
  ] as const) {
    const topic = t.topic(name, { keyed: name === 'waiting' })
    const broker = await t.connect()
    const seen = t.recorder(name)
    await broker.consume(
      topic,
      t.consumeOptions({ retry: { attempts: 10, firstDelayMs: waitMs, factor: 1, maxDelayMs: waitMs } }),
      seen.handler(() => {
        throw new Error('fails on purpose')
      }),
    )
    const orders = t.orders(5)
    const before = idsOf(t, 'expired').length
    await t.send(broker, topic, orders, { expiresAt: new Date(t.wall() + livesMs) })
    await t.until(`those ${name} have expired`, () => idsOf(t, 'expired').length === before + orders.length, {
      withinMs: waitMs + 15_000,
      seen: () => ({ starts: seen.starts.length, expired: idsOf(t, 'expired').length - before }),
    })
    await t.settled(topic)
    const attempts = Math.floor(livesMs / waitMs) + 1
    for (const order of orders) t.equal(seen.of(order).length, attempts, `starts of ${order.id} before it expired (${name})`)
    t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 0, `dead letters (${name})`)
  }
}

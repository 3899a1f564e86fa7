import { topic as makeTopic } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { outcomesOf, storedIds } from './stored.ts'

async function faster(t: Trial): Promise<void> {
  const topic = t.topic('faster', { keyed: false })
  const broker = await t.connect()
  const maxBuffered = 10_000
  const producer = broker.producer(topic, { timeoutMs: t.slack(5000), maxBuffered })
  await producer.send(t.orders(1)[0] as Order)
  t.link(broker).throttle(256 * 1024)
  const orders = t.orders(t.size(50_000), { keyNames: ['none'], bytes: 1024 })
  const baseline = memory()
  const since = t.sends.length
  const sending = outcomesOf(orders.map((order) => producer.send(order, { id: order.id })))
  await t.pass(100)
  const records = t.sends.slice(since)
  const held = records.filter(({ outcome }) => outcome === 'open').length
  t.struck('held sends', held)
  t.atMost(held, maxBuffered, 'sends held by the producer')
  // 1 KiB each as a value, as bytes and on the wire, and what the suite itself writes down of each send.
  t.atMost(memory() - baseline, maxBuffered * 1024 * 4 + orders.length * 4096, 'bytes held above the baseline')
  for (const { outcome, error } of records)
    if (outcome !== 'open' && outcome !== 'stored') t.equal(error?.code, 'UNAVAILABLE', 'the code of a send that is held back')
  const ended = await sending
  t.equal(ended.stored.length + ended.errors.length, orders.length, 'sends that ended')
  t.link(broker).heal()
  await t.pass(10_000)
  const stored = new Set(await storedIds(t, topic))
  t.equal(ended.stored.filter(({ id }) => !stored.has(id)).length, 0, 'resolved sends that are not stored')
  const surely = ended.errors.filter(({ outcome, messageId }) => outcome === 'failed' && stored.has(messageId as string))
  t.equal(
    surely.map(({ messageId }) => messageId),
    [],
    'sends that failed for sure and are stored',
  )
  await t.send(broker, topic, t.orders(10, { keyNames: ['none'] }))
}

function memory(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function chain(t: Trial): Promise<void> {
  const [a, b, c] = [t.topic('a'), t.topic('b'), t.topic('c')]
  const broker = await t.connect()
  const [first, second, last] = [t.recorder('a'), t.recorder('b'), t.recorder('c')]
  const next = (topic: typeof a) => async (message: { readonly value: Order }) => {
    await broker.producer(topic).send(message.value, { id: message.value.id })
  }
  const one = t.consumeOptions({ concurrency: 1 })
  await broker.consume(a, one, first.handler(next(b)))
  await broker.consume(b, one, second.handler(next(c)))
  await broker.consume(c, one, last.handler())
  const orders = t.orders(100)
  await t.send(broker, a, orders)
  await t.until('all have come through the chain', () => last.done >= orders.length, {
    withinMs: 10_000,
    seen: () => [first.done, second.done, last.done],
  })
  for (const topic of [a, b, c]) await t.settled(topic)
  for (const recorder of [first, second, last]) recorder.exactly(orders)
}

async function apart(t: Trial): Promise<void> {
  const [work, out] = [t.topic('work'), t.topic('out')]
  const broker = await t.connect()
  const gate = t.gate()
  const seen = t.recorder()
  const orders = t.orders(100, { keys: 100 })
  await t.send(broker, out, t.orders(1))
  await broker.consume(
    work,
    t.consumeOptions({ concurrency: 100, maxUnsettled: 100 }),
    seen.handler(() => gate.wait()),
  )
  await t.send(broker, work, orders)
  await t.until('100 handlers run', () => seen.running === 100, { seen: () => seen.running })

  // Nothing that is sent is answered any more.
  t.link(broker).withhold(['publish'])
  const stuck = outcomesOf(t.orders(20).map((order) => broker.producer(out, { timeoutMs: 5000 }).send(order, { id: order.id })))
  await t.until('sends are stuck', () => t.calls(broker).openPublishes > 0)
  t.struck('stuck publishes', t.calls(broker).openPublishes)
  gate.open()
  await t.settled(work, 'workers', 5000)
  seen.exactly(orders)
  t.atLeast(t.calls(broker).openPublishes, 1, 'publishes that were still stuck when all deliveries had settled')
  t.link(broker).heal()
  await stuck

  // Nothing that is received or settled is answered any more.
  t.link(broker).withhold(['read', 'settle'])
  const more = t.orders(100)
  await t.send(broker, work, t.orders(20))
  const since = t.now()
  await t.send(broker, out, more)
  t.atMost(t.now() - since, t.slack(5000), 'milliseconds until 100 sends resolved while the consumer got no answers')
  t.link(broker).heal()
  await t.settled(work, 'workers', t.takeoverMs + 10_000)
}

async function fewConnections(t: Trial): Promise<void> {
  const topics = Array.from({ length: 50 }, (_, n) => t.topic(`t${n}`))
  const broker = await t.connect()
  for (const topic of topics) await t.send(broker, topic, t.orders(1))
  const warm = await t.auditor.counters()
  const connects = t.link(broker).connects().length
  const producers = topics.map((topic) => broker.producer(topic))
  const orders = t.orders(1000)
  for (const [n, order] of orders.entries()) {
    const topic = topics[n % topics.length] as (typeof topics)[number]
    t.ok(broker.producer(topic) === producers[n % topics.length], 'the producer of a topic stays the same')
    await broker.producer(topic).send(order, { id: order.id })
    if (n % 100 === 0) t.equal((await t.auditor.counters()).connections, warm.connections, `connections after ${n} sends`)
  }
  const after = await t.auditor.counters()
  t.equal(after.connections, warm.connections, 'connections after 1,000 sends over 50 topics')
  t.equal(after.requests.connect ?? 0, warm.requests.connect ?? 0, 'tries to connect during 1,000 sends')
  t.equal(after.requests.declare ?? 0, warm.requests.declare ?? 0, 'declares during 1,000 sends')
  t.equal(t.link(broker).connects().length, connects, 'connections that the broker object made')
  for (const producer of producers) await producer.flush()
}

async function slowRhythm(t: Trial): Promise<void> {
  const topic = makeTopic(t.name('slow'), { groups: ['workers'], codec: 'text' })
  const broker = await t.connect()
  const producer = broker.producer(topic)
  await producer.send('warm-up')
  const open: Promise<void>[] = []
  const took: number[] = []
  for (let n = 0; n < 40; n++) {
    const since = t.now()
    open.push(producer.send(`beat ${n}`).then(() => void took.push(t.now() - since)))
    await t.pass(125)
  }
  await Promise.all(open)
  t.equal(took.length, 40, 'sends')
  // What waits for more delays every message; a machine that is busy for a moment delays a few.
  const judged = [...took].sort((a, b) => a - b).slice(0, t.virtual ? took.length : took.length / 2)
  t.atMost(Math.max(...judged), t.slack(100), 'milliseconds until a message of a slow rhythm was stored')
}

/** PUB-10 and PUB-13 to PUB-16. */
export const pubFlow: readonly Clause[] = [
  { id: 'PUB-10', title: 'Faster than the broker is bounded', needs: 'memory', run: faster, withinMs: 60_000 },
  { id: 'PUB-13', title: 'Sending inside a handler cannot deadlock', needs: 'memory', run: chain },
  { id: 'PUB-14', title: 'Sending and consuming do not block each other', needs: 'memory', run: apart },
  { id: 'PUB-15', title: 'No connection or channel per message, no eviction', needs: 'memory', run: fewConnections },
  { id: 'PUB-16', title: 'A slow rhythm is not delayed', needs: 'memory', run: slowRhythm },
]

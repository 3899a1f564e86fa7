import { type MessagingError, topic as makeTopic } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { pubFaults } from './pub-faults.ts'
import { pubFlow } from './pub-flow.ts'
import { type Counted, counted } from './schema.ts'
import { outcomesOf, readMeant, storedIds } from './stored.ts'

async function quiet(t: Trial): Promise<void> {
  const topic = t.topic('quiet')
  const seen = t.recorder()
  const [sender, receiver] = [await t.connect(), await t.connect()]
  const values = new Map<string, Order>()
  const wrong: string[] = []
  await receiver.consume(
    topic,
    t.consumeOptions(),
    seen.handler((message: { readonly id: string; readonly value: Order }) => {
      if (JSON.stringify(message.value) !== JSON.stringify(values.get(message.id))) wrong.push(message.id)
    }),
  )
  const batch = t.orders(t.size(1000))
  const single = t.orders(t.size(1000))
  for (const order of [...batch, ...single]) values.set(order.id, order)
  await t.send(sender, topic, batch, { batch: true })
  const queue = [...single]
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      for (let order = queue.shift(); order !== undefined; order = queue.shift()) await t.send(sender, topic, [order])
    }),
  )
  await t.fence(sender, topic, seen)
  seen.exactly([...batch, ...single])
  t.equal(wrong, [], 'messages whose value differs from what was sent')
  await t.settled(topic)
  const counts = await t.auditor.settles(topic.name, 'workers')
  t.equal(counts.repeated, 0, 'deliveries that were handed out again in a quiet run')
}

/** What a server of this kind does with a message that no group would get. */
async function nowhere(t: Trial): Promise<void> {
  const { retention } = t.capabilities
  const broker = await t.connect()
  const topic = t.topic('nowhere', { groups: [] })
  const orders = t.orders(100)
  if (retention === 'log') {
    await t.send(broker, topic, orders)
    const later = t.recorder()
    await broker.consume(topic, t.consumeOptions({ group: 'later' }), later.handler())
    await t.until('a group declared later gets all', () => later.done >= orders.length)
    await t.settled(topic, 'later')
    later.exactly(orders)
    return
  }
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  for (const order of orders.slice(0, 10)) {
    const error = await t.rejects(producer.send(order, { id: order.id }), 'NOT_FOUND', { naming: [topic.name], what: 'a send to nowhere' })
    t.equal(error.outcome, 'failed', 'the outcome of a send to nowhere')
    t.equal(error.messageId, order.id, 'the id of a send to nowhere')
  }
  const error = await t.rejects(producer.sendBatch(orders.slice(10, 20).map((value) => ({ value, id: value.id }))), 'NOT_FOUND', {
    what: 'a batch to nowhere',
  })
  t.equal(
    error.outcomes.map(({ status }) => status),
    Array.from({ length: 10 }, () => 'failed'),
    'outcomes of a batch to nowhere',
  )

  const dropping = t.topic('dropped', { groups: [], with: { unrouted: 'drop' } })
  await t.send(broker, dropping, orders)
  const dropped = t.events('dropped').filter(({ event }) => event['topic'] === dropping.name)
  t.equal(dropped.length, orders.length, 'messages counted as dropped')
  t.equal(new Set(dropped.map(({ event }) => event['reason'])), new Set(['unrouted']), 'why they were dropped')

  await behindItsBack(t)
}

/** A group that was removed by somebody else: the server says so, or the auditor sees what it dropped. */
async function behindItsBack(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = t.topic('removed')
  await t.send(broker, topic, t.orders(5))
  const before = await t.auditor.counters()
  await t.auditor.remove({ topic: topic.name, group: 'workers' })
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  const orders = t.orders(10)
  const ended = await outcomesOf(orders.map((order) => producer.send(order, { id: order.id })))
  const { dropped } = await t.auditor.counters()
  const kept = new Set(await storedIds(t, topic))
  const vanished = ended.stored.filter(({ id }) => !kept.has(id))
  if (t.capabilities.unroutable === 'reported') {
    t.equal(
      vanished.map(({ id }) => id),
      [],
      'resolved sends that lie nowhere, though the server reports them',
    )
    // Reported or kept: an adapter that makes again what its topic names has kept them all.
    t.equal(ended.stored.length + ended.errors.length, orders.length, 'sends to a group that was removed, each with its outcome')
    t.equal(
      new Set(ended.errors.map(({ code }) => code).filter((code) => code !== 'NOT_FOUND')),
      new Set(),
      'other codes of sends to a group that was removed',
    )
  } else {
    t.equal(vanished.length, dropped - before.dropped, 'resolved sends that lie nowhere, and what the auditor saw dropped')
    t.note(`broker loss: ${vanished.length} messages dropped silently after a group was removed`)
  }
}

async function tooLarge(t: Trial): Promise<void> {
  const broker = await t.connect()
  const limit = 10_000
  const topic = makeTopic(t.name('bytes'), { codec: 'bytes', maxBytes: limit, groups: ['workers'] })
  const producer = broker.producer(topic)
  await producer.send(new Uint8Array(1))
  for (const bytes of [limit + 1, 2 * limit]) {
    const before = t.calls(broker).publish
    const error = await t.rejects(producer.send(new Uint8Array(bytes)), 'TOO_LARGE', {
      naming: [String(limit)],
      what: `a body of ${bytes} bytes`,
    })
    t.equal(error.outcome, 'failed', 'the outcome of a body that is too large')
    t.ok(!error.retryable, 'a body that is too large stays so')
    t.equal(t.calls(broker).publish, before, 'publishes of a body that is too large')
    const { errors } = await outcomesOf(Array.from({ length: 10 }, () => producer.send(new Uint8Array(10))))
    t.equal(errors.length, 0, 'failures of the next 10 sends')
  }
  await producer.send(new Uint8Array(limit))

  // The server's own limit: body and headers together, whatever the topic allows.
  const most = t.capabilities.limits.messageBytes
  const large = makeTopic(t.name('large'), { codec: 'bytes', maxBytes: most * 4, groups: ['workers'] })
  const sender = broker.producer(large, { timeoutMs: 5000 })
  const headers = { 'x-long': 'h'.repeat(200) }
  for (const [bytes, given] of [
    [most + 1, undefined],
    [2 * most, undefined],
    [most - 100, headers],
  ] as const) {
    const error = await t.rejects(sender.send(new Uint8Array(bytes), given === undefined ? {} : { headers: given }), 'TOO_LARGE', {
      what: `${bytes} bytes and ${given === undefined ? 'no' : 'long'} headers`,
    })
    t.equal(error.outcome, 'failed', 'the outcome of a message above the limit of the server')
    const { errors } = await outcomesOf(Array.from({ length: 10 }, () => sender.send(new Uint8Array(10))))
    t.equal(errors.length, 0, 'failures of the next 10 sends')
  }
  t.equal((await t.auditor.read(t.place(topic))).length, 22, 'messages of the first topic')
  t.equal((await t.auditor.read(t.place(large))).length, 30, 'messages of the second topic')
  t.equal(broker.status, 'connected', 'the link after messages that were too large')
}

async function batches(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('batch'), { schema: counted, key: () => 'one', groups: ['workers'], partitions: 4, maxBytes: 100 })
  const producer = broker.producer(topic)
  const good = await producer.sendBatch(Array.from({ length: 10 }, (_, n) => ({ value: { n }, id: `good-${n}` })))
  t.equal(
    good.map(({ id }) => id),
    Array.from({ length: 10 }, (_, n) => `good-${n}`),
    'receipts of 10 good ones',
  )

  const entries = Array.from({ length: 10 }, (_, n) => {
    if (n === 3) return { value: { n: 'three' } as unknown as Counted, id: 'bad-3' }
    if (n === 7) return { value: { n, pad: 'x'.repeat(200) } as Counted, id: 'bad-7' }
    return { value: { n }, id: `mixed-${n}` }
  })
  const error = await t.rejects(producer.sendBatch(entries), ['INVALID_MESSAGE', 'TOO_LARGE'], {
    what: 'a batch with an invalid and an oversized entry',
  })
  t.equal(error.outcomes.length, 10, 'outcomes')
  const shown = error.outcomes.map((outcome) =>
    outcome.status === 'stored' ? outcome.receipt.id : `${outcome.status} ${outcome.error.code} ${outcome.error.messageId}`,
  )
  t.equal(
    shown,
    entries.map(({ id }, n) => (n === 3 ? 'failed INVALID_MESSAGE bad-3' : n === 7 ? 'failed TOO_LARGE bad-7' : (id as string))),
    'outcomes of the batch, in the order given',
  )
  const stored = (await storedIds(t, topic)).filter((id) => id.startsWith('mixed'))
  t.equal(
    stored,
    entries.flatMap(({ id }, n) => (n === 3 || n === 7 ? [] : [id as string])),
    'what is stored, in order',
  )
}

async function signals(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = t.topic('signals')
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  await t.send(broker, topic, t.orders(1))
  const before = t.orders(20)
  const aborted = await outcomesOf(before.map((order) => producer.send(order, { id: order.id, signal: AbortSignal.abort() })))
  t.equal(
    aborted.errors.map(({ code, outcome }) => `${code} ${outcome}`),
    Array.from({ length: 20 }, () => 'CANCELLED failed'),
    'sends whose signal was aborted before',
  )
  t.equal(new Set(await storedIds(t, topic)).size, 1, 'messages stored of sends whose signal was aborted before')

  // Bytes are out and nobody answers.
  t.link(broker).withhold(['publish'])
  await abortWhile(
    t,
    'after they left',
    topic,
    async (orders, signal) => {
      const sends = orders.map((order) => producer.send(order, { id: order.id, signal }))
      const published = t.calls(broker).published
      await t.until('they have left', () => t.calls(broker).published >= published + orders.length, {
        seen: () => t.calls(broker).published,
      })
      t.struck('publishes', t.calls(broker).openPublishes)
      return sends
    },
    ['unknown'],
  )
  t.link(broker).heal()

  // No bytes are out: there is no link.
  t.link(broker).cut()
  t.link(broker).refuse(true)
  await t.until('the link is away', () => !t.link(broker).connected)
  const blocked = await abortWhile(
    t,
    'while the link is away',
    topic,
    async (orders, signal) => {
      const sends = orders.map((order) => producer.send(order, { id: order.id, signal }))
      await t.pass(500)
      return sends
    },
    ['failed', 'unknown'],
  )
  t.link(broker).heal()
  await t.until('the link is back', () => broker.status === 'connected', t.recoverMs)
  await t.send(broker, topic, t.orders(4))
  const stored = new Set(await storedIds(t, topic))
  const surely = blocked.filter(({ outcome }) => outcome === 'failed').filter(({ messageId }) => stored.has(messageId as string))
  t.equal(
    surely.map(({ messageId }) => messageId),
    [],
    'messages that surely were not stored, and are',
  )
}

async function abortWhile(
  t: Trial,
  when: string,
  topic: { readonly name: string },
  begin: (
    orders: readonly Order[],
    signal: AbortSignal,
  ) => Promise<readonly Promise<never | { readonly id: string; readonly position: string | null }>[]>,
  outcomes: readonly string[],
): Promise<readonly MessagingError[]> {
  const controller = new AbortController()
  const orders = t.orders(20)
  const sends = await begin(orders, controller.signal)
  const ending = outcomesOf(sends)
  const since = t.now()
  controller.abort()
  const ended = await ending
  t.atMost(t.now() - since, t.slack(1000), `milliseconds from abort to the end of all sends ${when}`)
  t.equal(ended.stored.length, 0, `sends of ${topic.name} that resolved though they were aborted ${when}`)
  for (const error of ended.errors) {
    t.equal(error.code, 'CANCELLED', `the code of a send that was aborted ${when}`)
    t.ok(
      outcomes.includes(error.outcome),
      `the outcome of a send that was aborted ${when} is ${outcomes.join(' or ')}, not ${error.outcome}`,
    )
    t.ok(
      orders.some(({ id }) => id === error.messageId),
      `a send that was aborted ${when} tells its id`,
    )
  }
  return ended.errors
}

async function receipts(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = t.topic('receipts')
  const producer = broker.producer(topic)
  const orders = t.orders(100)
  const given = await Promise.all(orders.map((order) => producer.send(order, { id: order.id })))
  const own = await Promise.all(t.orders(10).map((order) => producer.send(order)))
  t.equal(
    given.map(({ id }) => id),
    orders.map(({ id }) => id),
    'ids of the receipts',
  )
  t.equal(new Set(own.map(({ id }) => id)).size, 10, 'different ids where none was given')
  const stored = new Map((await readMeant(t, t.place(topic))).map((each) => [each.id, each]))
  t.equal(stored.size, 110, 'messages stored')
  for (const { id, position } of [...given, ...own]) {
    t.ok(stored.has(id), `the message of receipt ${id} is stored`, [id])
    t.equal(position, t.capabilities.positions === 'native' ? (stored.get(id)?.position ?? 'nowhere') : null, `the position of ${id}`)
  }
}

async function workload(t: Trial): Promise<void> {
  const topic = t.topic('ends')
  const broker = await t.connect()
  await t.send(broker, topic, t.orders(20))
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  const link = t.link(broker)
  const sends: Promise<{ readonly id: string; readonly position: string | null }>[] = []
  for (const fault of [() => link.withhold(['publish']), () => link.silence('both'), () => link.cut(), () => link.throttle(1000)]) {
    fault()
    sends.push(...t.orders(25).map((order) => producer.send(order, { id: order.id })))
    await t.pass(700)
    link.heal()
  }
  const ended = await outcomesOf(sends)
  t.equal(ended.stored.length + ended.errors.length, 100, 'sends that ended')
  await producer.flush()
}

/** The PUB clauses, in the order of the page. */
const own: readonly Clause[] = [
  { id: 'PUB-1', title: 'In a quiet run everything sent is delivered, once', needs: 'memory', run: quiet },
  { id: 'PUB-6', title: 'A message to nowhere is reported or kept', needs: 'memory', run: nowhere },
  { id: 'PUB-7', title: 'Too large is definite and harmless', needs: 'memory', run: tooLarge },
  { id: 'PUB-8', title: 'A batch reports per message, in order', needs: 'memory', run: batches },
  { id: 'PUB-9', title: 'Every send ends once', needs: 'memory', standing: true, run: workload },
  { id: 'PUB-11', title: 'Send obeys its signal', needs: 'memory', run: signals },
  { id: 'PUB-12', title: 'The receipt is true', needs: 'memory', run: receipts },
]

const number = ({ id }: Clause): number => Number(id.slice(4))
/** The PUB clauses, in the order of the page. */
export const pub: readonly Clause[] = [...own, ...pubFaults, ...pubFlow].sort((a, b) => number(a) - number(b))

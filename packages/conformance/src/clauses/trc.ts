import { deadLetter, retry } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { foreign, lettersWhen, readMeant } from './stored.ts'
import { failing } from './support.ts'
import { hopOf, isHop, type Seen, traced, traceIdOf } from './traced.ts'
import { countersAreTrue, telemetryIsSafe } from './trc-telemetry.ts'

const given = {
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  tracestate: 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7',
  baggage: 'userId=alice,serverNode=DF%2028',
}

async function travels(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const { seen, headers } = traced<Order>(t)
  const [withTrace, without] = [t.orders(10), t.orders(10)]
  await t.send(broker, topic, withTrace, { headers: { ...given, 'x-shop': 'north' } })
  await t.send(broker, topic, without)
  // Read before there is a consumer: not every server keeps what was handled.
  const stored = new Map((await readMeant(t, t.place(topic))).map((message) => [message.id, message]))
  await broker.consume(topic, t.consumeOptions(), seen)
  await t.settled(topic)
  for (const { id } of withTrace) {
    const { traceparent, tracestate, baggage } = stored.get(id)?.transport ?? {}
    t.equal({ traceparent, tracestate, baggage }, given, `the trace of ${id} at the server`)
    const shown = headers.get(id)?.[0] ?? {}
    t.equal(
      { traceparent: shown['traceparent'], tracestate: shown['tracestate'], baggage: shown['baggage'], shop: shown['x-shop'] },
      { ...given, shop: 'north' },
      `the trace of ${id} at its handler`,
    )
  }
  const traces = new Set<string>()
  for (const { id } of without) {
    const hop = stored.get(id)?.transport['traceparent']
    t.ok(isHop(hop), `a send without a trace begins one: ${id} has ${hop}`, [id])
    t.equal(headers.get(id)?.[0]?.['traceparent'], hop, `what the handler of ${id} continues is the hop of the send`)
    traces.add(traceIdOf(hop))
  }
  t.equal(traces.size, without.length, 'traces begun by sends without one')
}

async function redelivered(t: Trial): Promise<void> {
  for (const keyed of [true, false]) {
    const topic = t.topic(keyed ? 'in-place' : 'parked', { keyed })
    const broker = await t.connect()
    const { seen, headers } = traced<Order>(t, (message) => {
      if (message.attempt < 3) return keyed ? failing() : retry({ afterMs: 40_000 })
    })
    await broker.consume(topic, t.consumeOptions(), seen)
    const orders = keyed ? t.orders(5, { keys: 5 }) : t.orders(5, { keyNames: [] })
    await t.send(broker, topic, orders, { headers: given })
    await t.until('all are done', () => orders.every(({ id }) => headers.get(id)?.length === 3), {
      withinMs: 120_000,
      seen: () => [...headers].map(([id, all]) => `${id}: ${all.length}`),
    })
    await t.settled(topic)
    for (const { id } of orders) {
      const spans = t.events('start').filter(({ event }) => event['id'] === id)
      t.equal(
        spans.map(({ event }) => event['attempt']),
        [1, 2, 3],
        `attempts that the starts of ${id} name`,
      )
      t.equal(
        new Set(headers.get(id)?.map((each) => traceIdOf(each['traceparent']))),
        new Set([traceIdOf(given.traceparent)]),
        `traces of the three starts of ${id}`,
      )
      t.equal(
        headers.get(id)?.map((each) => each['baggage']),
        [given.baggage, given.baggage, given.baggage],
        `baggage of the three starts of ${id}`,
      )
    }
  }
}

async function copies(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { keyed: false })
  const broker = await t.connect()
  const [parked, dead, delayed] = [t.orders(3, { keyNames: [] }), t.orders(3, { keyNames: [] }), t.orders(3, { keyNames: [] })]
  let healthy = false
  const { seen, headers } = traced<Order>(t, (message) => {
    if (parked.some(({ id }) => id === message.id) && message.attempt === 1) return retry({ afterMs: 60_000 })
    if (!healthy && dead.some(({ id }) => id === message.id)) return deadLetter('not yet')
  })
  const sent: Seen = new Map()
  await broker.declare(topic)
  // Sent before there is a consumer, so that the originals can be read where finished messages are not kept.
  await t.send(broker, topic, [...parked, ...dead], { headers: given })
  for (const message of await readMeant(t, t.place(topic))) sent.set(message.id as string, [message.transport])
  await broker.consume(topic, t.consumeOptions(), seen)
  await t.send(broker, topic, delayed, { headers: given, delayMs: 30_000 })
  const letters = await lettersWhen(t, broker, topic, dead.length)
  t.equal(letters.length, dead.length, 'dead letters')
  for (const [role, messages] of [
    ['retry', parked],
    ['dead', dead],
  ] as const) {
    const found = await readMeant(t, t.place(topic, role))
    t.equal(found.map(({ id }) => id).sort(), messages.map(({ id }) => id).sort(), `copies of the role ${role}`)
    for (const copy of found) {
      const original = hopOf(sent, copy.id)
      t.equal(copy.attributes['traceparent'], original, `where ${copy.id} was created, as its ${role} copy says`)
      newHop(t, copy.transport['traceparent'], original, `the ${role} copy of ${copy.id}`)
      t.equal(
        { tracestate: copy.transport['tracestate'], baggage: copy.transport['baggage'] },
        { tracestate: given.tracestate, baggage: given.baggage },
        `what goes along with the ${role} copy of ${copy.id}`,
      )
    }
  }
  healthy = true
  const { replayed } = await broker.deadLetters(topic, 'workers').replay({ all: true })
  t.equal(replayed, dead.length, 'replayed')
  const all = [...parked, ...dead, ...delayed]
  await t.until(
    'all are done',
    () => all.every(({ id }) => (headers.get(id)?.length ?? 0) >= (delayed.some((each) => each.id === id) ? 1 : 2)),
    { withinMs: 120_000 },
  )
  await t.settled(topic, 'workers', 10_000)
  for (const { id } of all) {
    const last = headers.get(id)?.at(-1)?.['traceparent']
    if (delayed.some((each) => each.id === id)) {
      t.equal(traceIdOf(last), traceIdOf(given.traceparent), `the trace of the delayed message ${id}`)
      if (t.capabilities.delay === 'none') newHop(t, last, given.traceparent, `the delayed message ${id}`)
    } else newHop(t, last, hopOf(sent, id), `the last start of ${id}`)
  }
  if (t.capabilities.delay === 'none') {
    const copied = (await readMeant(t, t.place(topic))).filter(({ id }) => delayed.some((each) => each.id === id))
    for (const copy of copied)
      t.equal(copy.attributes['traceparent'], given.traceparent, `where the delayed message ${copy.id} was created`)
  }
}

function newHop(t: Trial, hop: string | undefined, original: string | undefined, what: string): void {
  t.ok(isHop(hop) && isHop(original), `${what} has a trace: ${hop}, after ${original}`)
  t.equal(traceIdOf(hop), traceIdOf(original), `the trace of ${what}`)
  t.ok(hop !== original, `${what} is a hop of its own, but it has the original's: ${hop}`)
}

const long = 'x'.repeat(9000)
const malformed: readonly Readonly<Record<string, string>>[] = [
  { traceparent: '' },
  { traceparent: 'nonsense' },
  { traceparent: '00-00000000000000000000000000000000-b7ad6b7169203331-01' },
  { traceparent: '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01' },
  { traceparent: 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
  { traceparent: '00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01' },
  { traceparent: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-${long}` },
  { traceparent: given.traceparent, tracestate: `a=${'b'.repeat(600)}` },
  { traceparent: given.traceparent, tracestate: 'a=1,a=2' },
  { tracestate: given.tracestate },
  { traceparent: given.traceparent, baggage: 'no value here' },
  { traceparent: given.traceparent, baggage: Array.from({ length: 65 }, (_, index) => `k${index}=v`).join(',') },
]

async function malformedDropped(t: Trial): Promise<void> {
  const topic = t.topic('foreign', { keyed: false, partitions: 1 })
  const target = t.topic('forwarded', { keyed: false, partitions: 1 })
  const broker = await t.connect()
  await broker.declare([topic, target])
  const { seen, headers } = traced<Order>(t, (message) => {
    message.forward(target, message.value)
    if (message.attempt === 1) failing()
  })
  const orders = t.orders(malformed.length, { keyNames: [] })
  for (const [index, order] of orders.entries()) {
    const { id } = order
    const event = {
      id,
      body: Buffer.from(JSON.stringify(order)),
      attributes: { specversion: '1.0', source: 'elsewhere', type: topic.name, datacontenttype: 'application/json' },
      partition: 0,
    }
    const raw = foreign(t, event)
    const bad = malformed[index] as Readonly<Record<string, string>>
    if (t.capabilities.headers === 'native') await t.auditor.write(topic.name, { ...raw, transport: bad })
    else
      await t.auditor.write(topic.name, {
        ...raw,
        body: Buffer.from(JSON.stringify({ ...(JSON.parse(Buffer.from(raw.body ?? []).toString()) as object), ...bad })),
      })
  }
  await broker.consume(topic, t.consumeOptions(), seen)
  await t.until('all are done', () => orders.every(({ id }) => headers.get(id)?.length === 2), { seen: () => headers.size })
  await t.settled(topic)
  const forwarded = await readMeant(t, t.place(target))
  t.equal(forwarded.length, orders.length, 'messages forwarded')
  for (const [index, { id }] of orders.entries()) {
    const bad = malformed[index] as Readonly<Record<string, string>>
    const valid = bad['traceparent'] === given.traceparent ? given.traceparent : undefined
    for (const shown of headers.get(id) ?? []) {
      t.equal(
        { traceparent: shown['traceparent'], tracestate: shown['tracestate'], baggage: shown['baggage'] },
        { traceparent: valid, tracestate: undefined, baggage: undefined },
        `what is shown of ${JSON.stringify(bad).slice(0, 100)}`,
      )
    }
    const copy = forwarded.find(({ attributes }) => attributes['causationid'] === id)
    t.ok(isHop(copy?.transport['traceparent']), `what ${id} forwards has a trace of its own`, [id])
    t.equal(
      { tracestate: copy?.transport['tracestate'], baggage: copy?.transport['baggage'] },
      { tracestate: undefined, baggage: undefined },
      `what goes along from ${id}`,
    )
    if (valid !== undefined) t.equal(traceIdOf(copy?.transport['traceparent']), traceIdOf(valid), `the trace that ${id} forwards`)
  }
}

async function joined(t: Trial): Promise<void> {
  const [first, second, third] = [t.topic('first'), t.topic('second'), t.topic('third')]
  const broker = await t.connect()
  await broker.declare([first, second, third])
  const { seen, headers } = traced<Order>(t, (message) => {
    message.forward(message.topic === first.name ? second : third, message.value)
  })
  await broker.consume([first, second], t.consumeOptions(), seen)
  const orders = t.orders(10, { keys: 10 })
  await t.send(broker, first, orders, { headers: given })
  // One from a system that correlates.
  const correlated = t.orders(1)[0] as Order
  const event = {
    id: correlated.id,
    key: correlated.key,
    body: Buffer.from(JSON.stringify(correlated)),
    partition: 0,
    attributes: {
      specversion: '1.0',
      source: 'elsewhere',
      type: first.name,
      datacontenttype: 'application/json',
      correlationid: 'conversation-7',
    },
  }
  await t.auditor.write(first.name, foreign(t, event))
  await t.until('all went on twice', async () => (await readMeant(t, t.place(third))).length === orders.length + 1)
  await t.settled(second)
  await t.settled(first)
  const middle = await originals(t, second.name, headers)
  const last = await readMeant(t, t.place(third))
  for (const order of [...orders, correlated]) {
    const end = last.find(({ body }) =>
      Buffer.from(body ?? [])
        .toString()
        .includes(`"${order.id}"`),
    )
    const causation = end?.attributes['causationid'] ?? ''
    t.ok(middle.has(causation), `the id of the message that caused the last one of ${order.id}: ${causation}`, [order.id])
    const source = headers.get(order.id)?.[0]?.['traceparent']
    t.ok(isHop(end?.transport['traceparent']), `the last message of ${order.id} has a trace`)
    if (source !== undefined) {
      t.equal(traceIdOf(end?.transport['traceparent']), traceIdOf(source), `the trace of ${order.id} two topics later`)
      t.ok(end?.transport['traceparent'] !== source, `the last message of ${order.id} is a hop of its own`)
    }
    t.equal(
      end?.attributes['correlationid'],
      order === correlated ? 'conversation-7' : undefined,
      `the correlation id of ${order.id} two topics later`,
    )
  }
}

/** Ids that handlers of this topic saw. */
async function originals(t: Trial, topic: string, headers: Seen): Promise<ReadonlySet<string>> {
  const started = t
    .events('start')
    .filter(({ event }) => event['topic'] === topic)
    .map(({ event }) => String(event['id']))
  for (const id of started) t.ok(headers.has(id), `${id} was handled`)
  return new Set(started)
}

/** The TRC clauses, in the order of the page. */
export const trc: readonly Clause[] = [
  { id: 'TRC-1', title: 'Trace context travels', needs: 'memory', run: travels },
  { id: 'TRC-2', title: 'A redelivery is a new span in the same trace', needs: 'memory', run: redelivered },
  { id: 'TRC-3', title: 'Copies keep the origin', needs: 'memory', run: copies },
  { id: 'TRC-4', title: 'Bad context is dropped', needs: 'memory', run: malformedDropped },
  { id: 'TRC-5', title: 'Messages sent in a handler join the trace', needs: 'memory', run: joined },
  { id: 'TRC-6', title: 'Counters are true', needs: 'memory', run: countersAreTrue },
  { id: 'TRC-7', title: 'Telemetry is safe', needs: 'memory', run: telemetryIsSafe },
]

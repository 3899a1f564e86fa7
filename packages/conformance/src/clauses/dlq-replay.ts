// DLQ-3, 4, 5, 8 and 9: handing dead letters out again.

import type { Broker } from '@posthorn/core'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { lettersWhen, readMeant, utf8 } from './stored.ts'
import { deadIds, deadLettersOf, failing } from './support.ts'
import { traceIdOf } from './traced.ts'

const idsOf = (orders: readonly { readonly id: string }[]): readonly string[] => orders.map(({ id }) => id)
const sorted = (ids: readonly string[]): readonly string[] => [...ids].sort()
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** DLQ-3 */
export async function toThatGroupOnly(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { groups: ['fragile', 'robust'], with: { retentionMs: 3_600_000 } })
  const [sender, broker] = [await t.connect(), await t.connect()]
  const [fragile, robust] = [t.recorder('fragile'), t.recorder('robust')]
  let healthy = false
  const seen = new Map<
    string,
    { readonly source: string | undefined; readonly trace: string; readonly attempt: number; readonly value: Order }
  >()
  await broker.consume(
    topic,
    t.consumeOptions({ group: 'fragile' }),
    fragile.handler<Order>((message) => {
      if (!healthy) failing()
      seen.set(message.id, {
        source: message.source,
        trace: traceIdOf(message.headers['traceparent']),
        attempt: message.attempt,
        value: message.value,
      })
    }),
  )
  await broker.consume(topic, t.consumeOptions({ group: 'robust' }), robust.handler())
  const orders = t.orders(40)
  await t.send(sender, topic, orders, { headers: { traceparent } })
  await lettersWhen(t, sender, topic, orders.length, 'fragile')
  await t.settled(topic, 'fragile')
  await t.settled(topic, 'robust')
  const stored = (await t.auditor.read(t.place(topic))).length
  const published = t.calls(sender).published
  healthy = true
  fragile.reset()
  const tools = sender.deadLetters(topic, 'fragile')
  const [byIds, byWhere, slowly, rest] = [orders.slice(0, 3), orders.slice(3, 6), orders.slice(6, 26), orders.slice(26)]
  t.equal((await tools.replay({ ids: idsOf(byIds) })).replayed, byIds.length, 'replayed by ids')
  t.equal((await tools.replay({ where: ({ id }) => idsOf(byWhere).includes(id) })).replayed, byWhere.length, 'replayed by where')
  const began = t.now()
  t.equal((await tools.replay({ ids: idsOf(slowly) }, { ratePerSecond: 5 })).replayed, slowly.length, 'replayed slowly')
  t.atLeast(t.now() - began, ((slowly.length - 1) * 1000) / 5 - 1, 'milliseconds that 20 at 5 a second take')
  t.equal(await tools.replay({ all: true }), { replayed: rest.length, left: 0 }, 'the replay of all the rest')
  await t.until('all are done', () => fragile.finished === orders.length, { seen: () => fragile.finished })
  await t.settled(topic, 'fragile')
  t.equal((await t.auditor.read(t.place(topic))).length, stored, 'messages in the topic itself after the replays')
  t.equal(t.calls(sender).published - published, orders.length, 'messages that the replays published')
  t.equal((await t.auditor.read(t.place(topic, 'dead', 'fragile'))).length, 0, 'entries left')
  await t.fence(sender, topic, fragile, robust)
  fragile.exactly(orders)
  robust.exactly(orders)
  for (const order of orders) {
    t.equal(
      seen.get(order.id),
      { source: 'suite', trace: traceIdOf(traceparent), attempt: 1, value: order },
      `what the handler got of the replayed ${order.id}`,
    )
  }
  await onlyAfterItsCopy(t)
}

/** An entry goes when its copy is confirmed, not before. */
async function onlyAfterItsCopy(t: Trial): Promise<void> {
  const { broker, topic, orders } = await withDeadLetters(t, 'confirmed', 5)
  const tools = broker.deadLetters(topic, 'workers')
  t.link(broker).withhold(['publish'])
  const replaying = tools.replay({ all: true })
  await t.until(
    'the copies are stored',
    async () => (await t.auditor.read(t.place(topic, 'retry'))).length > 0 || (await t.auditor.remaining(topic.name, 'workers')) > 0,
  )
  await t.pass(1000)
  t.struck('copies that are not confirmed', t.link(broker).withheld)
  t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, orders.length, 'entries while their copies are not confirmed')
  t.link(broker).heal()
  t.link(broker).cut()
  await replaying
  t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 0, 'entries once their copies are confirmed')
}

/** A topic whose group has so many dead letters and no member. */
async function withDeadLetters(
  t: Trial,
  name: string,
  count: number,
): Promise<{ readonly broker: Broker; readonly topic: ReturnType<Trial['topic']>; readonly orders: readonly Order[] }> {
  const topic = t.topic(name)
  const [broker, first] = [await t.connect(), await t.connect()]
  await first.consume(topic, t.consumeOptions({ retry: false }), failing)
  const orders = t.orders(count)
  await t.send(broker, topic, orders)
  await lettersWhen(t, broker, topic, count)
  await t.settled(topic)
  await first.close()
  return { broker, topic, orders }
}

/** DLQ-4 */
export async function loopSafe(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const seen = t.recorder()
  const bad = new Set<string>()
  await broker.consume(
    topic,
    t.consumeOptions({ retry: false }),
    seen.handler((message) => {
      if (bad.has(message.id)) failing()
    }),
  )
  const orders = t.orders(250)
  for (const { id } of orders) bad.add(id)
  await t.send(broker, topic, orders)
  await lettersWhen(t, broker, topic, orders.length)
  const tools = broker.deadLetters(topic, 'workers')
  // Every one of them fails again, and comes back as an entry while the replay goes on.
  const progress: number[] = []
  const first = await tools.replay({ all: true }, { onProgress: (n) => progress.push(n) })
  t.equal(first.replayed, orders.length, 'replayed while each fails again')
  t.equal(
    progress,
    orders.map((_, index) => index + 1),
    'progress of the replay',
  )
  await t.until('each failed twice', () => orders.every((order) => seen.of(order).length === 2), {
    withinMs: 30_000,
    seen: () => seen.starts.length,
  })
  t.equal((await lettersWhen(t, broker, topic, orders.length)).length, orders.length, 'entries after each failed again')
  t.equal(sorted(await deadIds(broker, topic)), sorted(idsOf(orders)), 'one entry for each that failed again')
  t.equal(await tools.replay({ all: true }, { limit: 100 }).then(({ replayed }) => replayed), 100, 'replayed up to a limit')
  await t.until('a hundred failed a third time', () => seen.starts.length === 2 * orders.length + 100, { withinMs: 30_000 })
  await lettersWhen(t, broker, topic, orders.length)
  bad.clear()
  const half = orders.slice(0, 100)
  t.equal(
    await tools.replay({ ids: idsOf(half) }),
    { replayed: half.length, left: orders.length - half.length },
    'a replay of some, and what it leaves',
  )
  t.equal(await tools.replay({ ids: idsOf(half) }), { replayed: 0, left: orders.length - half.length }, 'the same replay again')
  t.equal(await tools.replay({ all: true }), { replayed: orders.length - half.length, left: 0 }, 'a replay of the rest')
  t.equal(await tools.replay({ all: true }), { replayed: 0, left: 0 }, 'a replay of nothing')
  await t.until('all are done', () => seen.finished === orders.length, { seen: () => seen.finished })
  t.equal(
    orders.map((order) => seen.of(order).filter(({ end }) => end === 'done').length),
    orders.map(() => 1),
    'how often each was done',
  )
}

/** DLQ-5 */
export async function crashInReplay(t: Trial): Promise<void> {
  for (let round = 0; round < t.rounds(10, 3); round++) {
    const { broker, topic, orders } = await withDeadLetters(t, `jobs-${round}`, 5)
    // The process that replays: its link ends when copies are stored and before their entries are removed.
    const replaying = await t.connect()
    t.link(replaying).withhold(round % 2 === 0 ? ['remove'] : ['publish'])
    const outcome = replaying
      .deadLetters(topic, 'workers')
      .replay({ all: true })
      .catch((error: unknown) => error)
    const copies = async (): Promise<number> =>
      (await t.auditor.read(t.place(topic, 'retry'))).length + (await t.auditor.read(t.place(topic, 'dead'))).length
    await t.until('a reply is withheld', () => t.link(replaying).withheld > 0)
    t.struck('replies of a replay', t.link(replaying).withheld)
    t.atLeast(await copies(), orders.length, 'copies and entries of the messages at every moment')
    t.link(replaying).refuse(true)
    t.link(replaying).cut()
    await replaying.close()
    await outcome
    t.atLeast(await copies(), orders.length, 'copies and entries after the crash')
    const seen = t.recorder(`round ${round}`)
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    await broker.deadLetters(topic, 'workers').replay({ all: true })
    await t.until('all are done', () => seen.finished === orders.length, { withinMs: t.takeoverMs + 10_000, seen: () => seen.finished })
    await t.pass(2000)
    seen.each(orders)
    for (const order of orders) t.atMost(seen.of(order).length, 2, `starts of ${order.id} after a crash in the replay`)
    t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 0, 'entries left')
  }
}

/** An entry as a server or another program writes it: nothing of ours on it. */
export async function writeEntry(
  t: Trial,
  topic: ReturnType<Trial['topic']>,
  order: Order,
  transport: Readonly<Record<string, string>> | null,
  id: string | null = order.id,
): Promise<void> {
  const direct = await t.open()
  await direct.session.declare(
    {
      topics: [
        {
          name: topic.name,
          keyed: true,
          partitions: 4,
          retentionMs: null,
          groups: [{ name: 'workers', start: 'earliest' }],
          delays: [],
          create: true,
          native: undefined,
        },
      ],
    },
    new AbortController().signal,
  )
  const event = {
    id: id ?? '',
    key: order.key,
    body: utf8(JSON.stringify(order)),
    time: t.wall(),
    expiresAt: null,
    attributes: { specversion: '1.0', source: 'elsewhere', type: 'thing', datacontenttype: 'application/json' },
    headers: { 'x-shop': 'north' },
    transport,
  }
  const json = {
    ...event.attributes,
    id: event.id,
    partitionkey: order.key,
    data: order,
    phheaders: JSON.stringify(event.headers),
    ...(transport === null ? {} : { phtransport: JSON.stringify(transport) }),
  }
  const wire =
    t.capabilities.headers === 'native'
      ? event
      : { ...event, body: utf8(JSON.stringify(json)), attributes: {}, headers: null, transport: null }
  const outgoing = { ...wire, place: t.place(topic, 'dead'), partition: 0, delayMs: 0, slot: `foreign-${order.id}` }
  const report = await direct.session.publish([outgoing], new AbortController().signal)
  t.equal(report.failures, [], 'failures of writing an entry')
  await direct.close()
}

/** DLQ-8 */
export async function readableFromOthers(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  await broker.declare(topic)
  const [order] = t.orders(1) as [Order]
  await writeEntry(t, topic, order, null)
  const [letter] = await lettersWhen(t, broker, topic, 1)
  if (letter === undefined) t.fail('an entry of the server is not listed')
  const { id, key, value, reason, attempts, headers, type, source, topic: from, group } = letter
  t.equal(
    { id, key, value, reason, attempts, shop: headers['x-shop'], type, source, from, group },
    {
      id: order.id,
      key: order.key ?? undefined,
      value: order,
      reason: 'server',
      attempts: 0,
      shop: 'north',
      type: 'thing',
      source: 'elsewhere',
      from: topic.name,
      group: 'workers',
    },
    'an entry of the server',
  )
  const seen = t.recorder()
  await broker.consume(topic, t.consumeOptions(), seen.handler())
  t.equal(await broker.deadLetters(topic, 'workers').replay({ ids: [order.id] }), { replayed: 1, left: 0 }, 'a replay of it')
  await t.until('it is done', () => seen.finished === 1)
  await t.fence(broker, topic, seen)
  seen.exactly([order])
}

/** DLQ-9 */
export async function cannotBeSteered(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const other = t.topic('other', { groups: ['workers', 'thieves'] })
  const broker = await t.connect()
  await broker.declare([topic, other])
  const orders = t.orders(3, { keys: 3 })
  const forged = {
    'ph-reason': 'failed',
    'ph-attempts': '3',
    'ph-first': '1',
    'ph-last': '2',
    'ph-topic': other.name,
    'ph-group': 'thieves',
    'ph-key': 'forged',
    'ph-position': '3:17',
    'ph-due': '1',
    'ph-hop': '1',
    'ph-attempt': '99',
    'ph-error': 'x'.repeat(100),
  }
  for (const order of orders) await writeEntry(t, topic, order, forged)
  const letters = await lettersWhen(t, broker, topic, orders.length)
  for (const letter of letters)
    t.equal(
      { topic: letter.topic, group: letter.group },
      { topic: topic.name, group: 'workers' },
      `where ${letter.id} is shown to come from`,
    )
  const [own, theirs] = [t.recorder('own'), t.recorder('theirs')]
  const attempts: number[] = []
  await broker.consume(
    topic,
    t.consumeOptions(),
    own.handler((message) => void attempts.push(message.attempt)),
  )
  for (const group of ['workers', 'thieves']) await broker.consume(other, t.consumeOptions({ group }), theirs.handler())
  t.equal(
    await broker.deadLetters(topic, 'workers').replay({ all: true }),
    { replayed: orders.length, left: 0 },
    'a replay of forged entries',
  )
  await t.until('all are done', () => own.finished === orders.length)
  await t.fence(broker, topic, own)
  await t.fence(broker, other, theirs)
  own.exactly(orders)
  theirs.exactly([])
  t.equal(
    attempts,
    orders.map(() => 1),
    'attempts of what was replayed',
  )
  await t.settled(topic)
  // A log may keep what its group has finished: what counts is that the other topic never got any.
  for (const group of ['workers', 'thieves']) {
    const held = await readMeant(t, t.place(other, 'retry', group))
    t.equal(held.filter(({ id }) => orders.some((order) => order.id === id)).length, 0, `copies for ${group} of ${other.name}`)
  }
  t.equal((await deadLettersOf(broker, other, 'thieves')).length, 0, 'dead letters elsewhere')
}

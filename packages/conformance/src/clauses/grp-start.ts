import { type Clause, when } from '../clause.ts'
import { keysOfPartitions } from '../murmur2.ts'
import type { Trial } from '../trial.ts'

// Topics without groups take any group at start; `kept` names one that never consumes, so that a queue keeps messages too and a
// log trims none of them.
const keptBy = { groups: ['keep'] } as const

async function startsWhereItSays(t: Trial): Promise<void> {
  const topic = t.topic('start', { groups: [] })
  const sender = await t.connect()
  const before = t.orders(100)
  await t.send(sender, topic, before)
  await t.pass(1000)
  const mark = new Date(t.wall())
  await t.pass(1000)
  const after = t.orders(100)
  await t.send(sender, topic, after)
  // Nothing is finished before both groups are there, so that nothing is trimmed in between.
  const gate = t.gate()
  const [all, late] = [t.recorder('earliest'), t.recorder('since the mark')]
  const broker = await t.connect()
  await broker.consume(
    topic,
    t.consumeOptions({ group: 'all', startFrom: 'earliest' }),
    all.handler(() => gate.wait()),
  )
  await broker.consume(
    topic,
    t.consumeOptions({ group: 'late', startFrom: mark }),
    late.handler(() => gate.wait()),
  )
  gate.open()
  await t.settled(topic, 'all', 20_000)
  await t.settled(topic, 'late', 20_000)
  await t.fence(sender, topic, all, late)
  all.exactly([...before, ...after], 'orders from the earliest')
  late.exactly(after, 'orders since the mark')
}

async function noReplay(t: Trial): Promise<void> {
  const topic = t.topic('start')
  const broker = await t.connect()
  await broker.declare(topic)
  const declares = (await t.auditor.counters()).requests.declare ?? 0
  const other = t.topic('start', { groups: [] })
  await t.rejects(
    broker.consume(other, t.consumeOptions({ group: 'late', startFrom: new Date(t.wall()) }), () => {}),
    'UNSUPPORTED',
    {
      naming: ['"replay"', topic.name],
      what: 'a Date without replay',
    },
  )
  t.equal((await t.auditor.counters()).requests.declare ?? 0, declares, 'declares of a refused start')
  // What was sent since the group was declared, before its first consumer.
  const orders = t.orders(100)
  await t.send(broker, topic, orders)
  const seen = t.recorder()
  await broker.consume(topic, t.consumeOptions({ startFrom: 'earliest' }), seen.handler())
  await t.settled(topic, 'workers', 20_000)
  await t.fence(broker, topic, seen)
  seen.exactly(orders)
}

async function latestIsFixed(t: Trial): Promise<void> {
  const sender = await t.connect()
  for (let round = 0; round < 20; round++) {
    const kept = t.topic(`latest-${round}`, keptBy)
    const open = t.topic(`latest-${round}`, { groups: [] })
    await t.send(sender, kept, t.orders(50))
    const broker = await t.connect()
    const seen = t.recorder(`round ${round}`)
    await broker.consume(open, t.consumeOptions({ group: 'late', startFrom: 'latest' }), seen.handler())
    const later = t.orders(50)
    await t.send(sender, kept, later)
    await t.until('the later 50 are handled', () => seen.finished >= 50, { seen: () => seen.finished })
    await t.fence(sender, kept, seen)
    seen.exactly(later, `orders after start, round ${round}`)
    await broker.close()
  }
}

async function nothingMissed(t: Trial): Promise<void> {
  const groups = ['email', 'push']
  for (const how of ['by the first send', 'by declare']) {
    const topic = t.topic(how === 'by declare' ? 'declared' : 'sent', { groups: how === 'by declare' ? [] : groups })
    const first = await t.connect()
    if (how === 'by declare') await first.declare(topic, { groups })
    const orders = t.orders(100)
    await t.send(first, topic, orders)
    // The declaring process ends, another one starts.
    await first.close()
    const second = await t.connect()
    await second.declare(topic, { groups })
    const third = await t.connect()
    for (const group of groups) {
      const seen = t.recorder(`${group} ${how}`)
      const consumer = await third.consume(
        t.topic(how === 'by declare' ? 'declared' : 'sent', { groups: [] }),
        t.consumeOptions({ group }),
        seen.handler(),
      )
      await t.until(`${group} gets all (declared ${how})`, () => seen.finished >= orders.length, {
        withinMs: 20_000,
        seen: () => seen.finished,
      })
      await t.settled(topic, group)
      seen.exactly(orders, `orders before the first consumer of ${group}, declared ${how}`)
      await consumer.close()
    }
  }
}

async function away(t: Trial): Promise<void> {
  const topic = t.topic('away')
  const sender = await t.connect()
  const first = t.recorder('before')
  const team = await t.team(2, { topic, recorder: first })
  const before = t.orders(50)
  await t.send(sender, topic, before)
  await t.settled(topic)
  first.exactly(before)
  await Promise.all(team.map((member) => member.close()))
  const missed = t.orders(100)
  await t.send(sender, topic, missed)
  await t.pass(2 * t.leaseMs)
  const second = t.recorder('after')
  const broker = await t.connect()
  await broker.consume(topic, t.consumeOptions(), second.handler())
  await t.settled(topic, 'workers', t.takeoverMs)
  await t.fence(sender, topic, second)
  second.exactly(missed, 'orders that came while nobody was there')
}

async function appliesOnce(t: Trial): Promise<void> {
  const kept = t.topic('once', keptBy)
  const topic = t.topic('once', { groups: [] })
  const sender = await t.connect()
  // Another group keeps everything: what is handled again would still be there.
  await t.send(sender, kept, [])
  await sender.declare(kept, { groups: ['workers'] })
  const orders = t.orders(100)
  await t.send(sender, kept, orders)
  const seen = t.recorder()
  const first = await t.connect()
  const options = t.consumeOptions({ startFrom: 'earliest' })
  await first.consume(topic, options, seen.handler())
  await t.until('all 100 are handled', () => seen.finished >= 100, { withinMs: 20_000, seen: () => seen.finished })
  await t.settled(topic)
  await first.close()

  const starts: (typeof options.startFrom)[] = ['earliest', 'latest', ...(t.capabilities.replay === 'native' ? [new Date(0)] : [])]
  for (const startFrom of starts) {
    // A restart, and then a rebalance: a second member that comes and goes.
    const again = await t.connect()
    await again.consume(topic, t.consumeOptions({ startFrom }), seen.handler())
    const joins = await t.connect()
    await joins.consume(topic, t.consumeOptions({ startFrom: 'earliest' }), seen.handler())
    await t.fence(sender, kept, seen)
    await joins.close()
    await t.fence(sender, kept, seen)
    await again.close()
  }
  t.equal((await t.auditor.read(t.place(kept))).length >= orders.length, true, 'the old messages are still stored')
  seen.exactly(orders, 'orders, over restarts with other starts')
}

async function lostPosition(t: Trial): Promise<void> {
  await groupRemoved(t)
  await logTrimmed(t)
}

const told = (t: Trial, topic: string): number =>
  t
    .events('adapter')
    .filter(({ event }) => event['reason'] === 'position-lost' && (event['topic'] === undefined || event['topic'] === topic)).length

async function groupRemoved(t: Trial): Promise<void> {
  const topic = t.topic('removed', { groups: ['keep', 'workers'] })
  const sender = await t.connect()
  const seen = t.recorder('removed')
  const broker = await t.connect()
  await broker.consume(topic, t.consumeOptions(), seen.handler())
  const before = t.orders(50, { keyNames: keysOfPartitions(4) })
  await t.send(sender, topic, before)
  await t.settled(topic)
  t.struck(
    'a position',
    (await t.auditor.positions(topic.name, 'workers')).some((position) => position > 0),
  )
  await t.auditor.remove({ topic: topic.name, group: 'workers' })
  await t.until('the lost position is told', () => told(t, topic.name) > 0, {
    withinMs: t.takeoverMs + t.recoverMs,
    seen: () => t.events('adapter').map(({ event }) => event['reason']),
  })
  const after = t.orders(50, { keyNames: keysOfPartitions(4) })
  await t.send(sender, topic, after)
  await t.until('what came after is handled', () => after.every((order) => seen.of(order).length > 0), {
    withinMs: t.takeoverMs + t.recoverMs,
    seen: () => seen.finished,
  })
  await t.settled(topic, 'workers', t.takeoverMs)
  seen.each([...before, ...after], 'orders around a removed group')
  // From the oldest that exists: the other group keeps the first 50, so they come again, and at most once.
  t.atMost(seen.repeats, before.length, 'repeats of what was still stored')
  if (t.capabilities.retention === 'log')
    t.equal(seen.repeats, before.length, 'old messages that were skipped: it went on from somewhere else than the oldest')
}

async function logTrimmed(t: Trial): Promise<void> {
  const topic = t.topic('trimmed', { groups: ['keep', 'workers'] })
  const sender = await t.connect()
  const first = await t.connect()
  const seen = t.recorder('trimmed')
  await first.consume(topic, t.consumeOptions(), seen.handler())
  const keyNames = keysOfPartitions(4)
  const before = t.orders(40, { keyNames })
  await t.send(sender, topic, before)
  await t.settled(topic)
  await first.close()
  const gone = t.orders(40, { keyNames })
  await t.send(sender, topic, gone)
  for (let partition = 0; partition < 4; partition++) await t.auditor.trim(topic.name, partition)
  const after = t.orders(40, { keyNames })
  await t.send(sender, topic, after)
  const broker = await t.connect()
  await broker.consume(topic, t.consumeOptions(), seen.handler())
  // A queue that was emptied keeps no trace of it: only a log has positions below which something is missing.
  if (t.capabilities.retention === 'log') {
    await t.until('the lost position is told', () => told(t, topic.name) > 0, {
      withinMs: t.takeoverMs,
      seen: () => t.events('adapter').map(({ event }) => event['reason']),
    })
  }
  await t.until('what is still there is handled', () => after.every((order) => seen.of(order).length > 0), {
    withinMs: t.takeoverMs,
    seen: () => seen.finished,
  })
  await t.fence(sender, topic, seen)
  seen.exactly([...before, ...after], 'orders that were not cut off')
}

/** GRP-6 to GRP-11. */
export const grpStart: readonly Clause[] = [
  {
    id: 'GRP-6',
    title: 'earliest and a Date start where they say',
    needs: 'memory',
    gate: when('replay', 'native'),
    run: startsWhereItSays,
    other: noReplay,
  },
  { id: 'GRP-7', title: 'latest is fixed when start resolves', needs: 'memory', run: latestIsFixed },
  { id: 'GRP-8', title: 'A declared group misses nothing before its first consumer', needs: 'memory', run: nothingMissed },
  { id: 'GRP-9', title: 'A group that is away misses nothing', needs: 'memory', run: away },
  { id: 'GRP-10', title: 'The start position applies once', needs: 'memory', run: appliesOnce },
  { id: 'GRP-11', title: 'A lost position is an event, not a jump', needs: 'memory', run: lostPosition },
]

import { topic as makeTopic, type Topic } from '@posthorn/core'
import { naming, type Place } from '@posthorn/core/adapter'
import type { Clause } from '../clause.ts'
import { keysOfPartitions } from '../murmur2.ts'
import type { Trial } from '../trial.ts'
import { outcomesOf } from './stored.ts'

const hostile: readonly string[] = [
  '',
  'Upper',
  'UPPER.case',
  'with space',
  ' leading',
  'trailing ',
  'a/b',
  '/a',
  'a#',
  'a+b',
  'a*',
  'a>b',
  'a\nb',
  'a\r\nb',
  'a\0b',
  'a\tb',
  'a__b',
  '__a',
  'a__dead',
  'a_b',
  '.a',
  'a.',
  'a..b',
  '-a',
  'a-',
  '../a',
  'a:b',
  '{a}',
  'ä',
  '☺',
  '$share',
  'a"b',
  'a%2fb',
  'x'.repeat(181),
  'x'.repeat(300),
]
const reservedGroups = ['delay', 'retry', 'dead', 'foreign', 'members'] as const

async function names(t: Trial): Promise<void> {
  const broker = await t.connect()
  const before = await t.auditor.counters()
  const fine = t.topic('fine', { groups: [] })
  for (const name of hostile) {
    const shown = JSON.stringify(name.length > 40 ? `${name.slice(0, 5)}… (${name.length})` : name)
    await t.rejects((async () => makeTopic(name))(), 'INVALID_ARGUMENT', { what: `a topic called ${shown}` })
    await t.rejects((async () => makeTopic(t.name('grouped'), { groups: [name] }))(), 'INVALID_ARGUMENT', {
      what: `a group of a topic called ${shown}`,
    })
    await t.rejects(
      broker.consume(fine, t.consumeOptions({ group: name }), () => {}),
      'INVALID_ARGUMENT',
      { what: `a consumer's group called ${shown}` },
    )
    await t.rejects(broker.declare(fine, { groups: [name] }), 'INVALID_ARGUMENT', { what: `declaring a group called ${shown}` })
    await t.rejects((async () => broker.deadLetters(fine, name))(), 'INVALID_ARGUMENT', { what: `dead letters of a group called ${shown}` })
  }
  for (const group of [...reservedGroups, 'a.b', 'x'.repeat(61)]) {
    await t.rejects((async () => makeTopic(t.name('grouped'), { groups: [group] }))(), 'INVALID_ARGUMENT', {
      what: `a group called ${group}`,
    })
    await t.rejects(
      broker.consume(fine, t.consumeOptions({ group }), () => {}),
      'INVALID_ARGUMENT',
      { what: `a consumer's group called ${group}` },
    )
  }
  const after = await t.auditor.counters()
  t.equal(after.requests.declare ?? 0, before.requests.declare ?? 0, 'declares by refused names')
  t.equal(after.requests.subscribe ?? 0, before.requests.subscribe ?? 0, 'subscriptions by refused names')

  derivedNamesMapBack(t)
  await neighbours(t)
}

/** No two places share a name, and each name tells its place. */
function derivedNamesMapBack(t: Trial): void {
  const topics = ['a', 'a.b', 'a-b', 'b', 'a.delay', 'delay', 'dead', 'retry.dead', 'x'.repeat(180)]
  const groups = ['b', 'a', 'a-b', 'dead-b', 'x'.repeat(60)]
  const places: Place[] = topics.flatMap((topic) => [
    { topic, role: 'main' as const, group: null },
    { topic, role: 'delay' as const, group: null },
    ...groups.flatMap((group) => [
      { topic, role: 'retry' as const, group },
      { topic, role: 'dead' as const, group },
    ]),
  ])
  const seen = new Map<string, Place>()
  for (const place of places) {
    const name = naming.place(place)
    t.equal(seen.get(name), undefined, `another place with the name ${name}`)
    seen.set(name, place)
    t.equal(naming.parse(name), place, `the place of ${name}`)
  }
  const groupNames = topics.flatMap((topic) => groups.map((group) => naming.group(topic, group)))
  t.equal(new Set(groupNames).size, groupNames.length, 'different names of groups')
  for (const name of groupNames) t.equal(seen.get(name), undefined, `a place that is called like a group: ${name}`)
}

/** Names that could meet when they are joined: each gets its own messages only. */
async function neighbours(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topics = [
    t.topic('a', { groups: ['b', 'a-b'] }),
    t.topic('a.b', { groups: ['b'] }),
    t.topic('a-b', { groups: ['b', 'dead-b'] }),
    t.topic('a.delay', { groups: ['a'] }),
  ]
  const recorders: { readonly seen: ReturnType<Trial['recorder']>; readonly of: number }[] = []
  for (const [of, topic] of topics.entries()) {
    for (const group of ['b', 'a-b', 'dead-b', 'a']) {
      const seen = t.recorder(`${topic.name} ${group}`)
      const consumer = await broker
        .consume(
          topic,
          t.consumeOptions({ group, retry: false }),
          seen.handler(() => undefined),
        )
        .catch(() => undefined)
      if (consumer !== undefined) recorders.push({ seen, of })
    }
  }
  t.equal(recorders.length, 6, 'groups that could be joined')
  const sent = topics.map(() => t.orders(20))
  await Promise.all(topics.map((topic, n) => t.send(broker, topic, sent[n] ?? [])))
  await t.until('all are handled', () => recorders.every(({ seen }) => seen.finished >= 20), {
    seen: () => recorders.map(({ seen }) => seen.finished),
  })
  for (const [n, topic] of topics.entries()) await t.fence(broker, topic, ...recorders.filter(({ of }) => of === n).map(({ seen }) => seen))
  for (const { seen, of } of recorders) seen.exactly(sent[of] ?? [], `orders at ${seen.name}`)
}

async function idempotent(t: Trial): Promise<void> {
  const groups = ['email', 'push', 'stock']
  const topic = t.topic('same', { groups })
  const brokers = await Promise.all(Array.from({ length: 5 }, () => t.connect()))
  await Promise.all(brokers.map((broker) => broker.declare(topic)))
  const [first] = brokers as [(typeof brokers)[number]]
  const seen = t.recorder('email')
  const consumer = await first.consume(topic, t.consumeOptions({ group: 'email' }), seen.handler())
  const orders = t.orders(100)
  await t.send(first, topic, orders.slice(0, 50))
  await t.settled(topic, 'email')
  await consumer.close()
  await t.send(first, topic, orders.slice(50))
  const positions = await Promise.all(groups.map((group) => t.auditor.positions(topic.name, group)))
  const stored = await t.auditor.read(t.place(topic))

  const again = await Promise.all(Array.from({ length: 5 }, () => t.connect()))
  await Promise.all(again.map((broker) => broker.declare(topic)))
  t.equal(await Promise.all(groups.map((group) => t.auditor.positions(topic.name, group))), positions, 'positions after declaring again')
  t.equal(await t.auditor.read(t.place(topic)), stored, 'messages after declaring again')
  t.equal(
    positions.map(({ length }) => length),
    [4, 4, 4],
    'partitions of each group',
  )
  for (const [n, group] of groups.entries()) {
    const rest = group === 'email' ? seen : t.recorder(group)
    await (again[n] as (typeof again)[number]).consume(topic, t.consumeOptions({ group }), rest.handler())
    await t.settled(topic, group)
    rest.exactly(orders, `orders of ${group}`)
  }
}

async function otherCount(t: Trial): Promise<void> {
  const topic = t.topic('count', { partitions: 4 })
  const other = t.topic('count', { partitions: 8 })
  const seen = t.recorder()
  const team = await t.team(2, { topic, recorder: seen })
  const owned = team.map((member) => member.calls.assignments)
  // While the team came together partitions may have changed hands.
  const released = team.map((member) => member.calls.release)
  const sender = await t.connect()
  const before = t.orders(100)
  await t.send(sender, topic, before)
  const naming = [topic.name, '4', '8', 'repartition']
  const tries: readonly [string, (broker: Awaited<ReturnType<Trial['connect']>>) => Promise<unknown>][] = [
    ['declare', (broker) => broker.declare(other)],
    ['a producer', (broker) => broker.producer(other).send(t.orders(1)[0] as never)],
    ['a consumer', (broker) => broker.consume(other, t.consumeOptions(), () => {})],
  ]
  for (const [what, start] of tries) {
    const broker = await t.connect()
    const error = await t.rejects(start(broker), 'CONFLICT', { naming, what: `${what} with 8 partitions` })
    t.ok(!error.retryable, `${what}: the same call is not worth repeating`)
    await broker.close()
  }
  const after = t.orders(100)
  await t.send(sender, topic, after)
  await t.fence(sender, topic, seen)
  t.equal((await t.auditor.positions(topic.name, 'workers')).length, 4, 'partitions after the conflicts')
  t.equal(
    team.map((member) => member.calls.assignments),
    owned,
    'assignments of the members after the conflicts',
  )
  t.equal(
    team.map((member) => member.calls.release),
    released,
    'hand-overs by the conflicts',
  )
  seen.ordered()
  t.equal(seen.starts.length, 200, 'starts')
  seen.exactly([...before, ...after])
}

async function allPartitions(t: Trial): Promise<void> {
  const groups = ['email', 'push']
  const keyNames = keysOfPartitions(4)
  const reaches = async (topic: Topic, sent: number, what: string): Promise<void> => {
    for (const group of groups) t.equal(await t.auditor.remaining(topic.name, group), sent, `messages that reached "${group}" ${what}`)
  }
  // How long it takes when nobody dies: some servers are asked once, others make places and groups one after the other.
  const calm = await t.connect()
  t.link(calm).delay(20)
  const began = t.now()
  await calm.declare(t.topic('calm', { groups }))
  const takesMs = t.now() - began
  await calm.close()
  let struck = 0
  const rounds = t.rounds(20, 10)
  for (let round = 0; round < rounds; round++) {
    const topic = t.topic(`killed-${round}`, { groups })
    const dying = await t.connect()
    const link = t.link(dying)
    link.delay(20)
    let open = true
    const declaring = dying
      .declare(topic)
      .catch(() => {})
      .finally(() => {
        open = false
      })
    // The declaring process is gone at a random moment, of each part of a declare: nothing of it is ever heard again.
    await t.pass(((round + t.random()) / rounds) * takesMs)
    if (open) struck += link.open()
    link.silence('both')
    link.cut()
    link.refuse(true)
    await dying.close({ drainMs: 0 })
    await declaring
    const broker = await t.connect()
    const orders = t.orders(8, { keyNames })
    const ended = await outcomesOf(orders.map((order) => broker.producer(topic, { timeoutMs: 5000 }).send(order, { id: order.id })))
    await reaches(topic, ended.stored.length, `after its declaring process died (round ${round})`)
    await broker.close()
  }
  t.struck('requests of declares', struck)
  await completes(t, groups, keyNames, reaches)
}

/** What somebody removed is made whole by the next declare or start, or refused; then a resolved send reaches every group. */
async function completes(
  t: Trial,
  groups: readonly string[],
  keyNames: readonly string[],
  reaches: (topic: Topic, sent: number, what: string) => Promise<void>,
): Promise<void> {
  for (const what of ['group', 'partition'] as const) {
    for (const how of ['declare', 'start'] as const) {
      const topic = t.topic(`${what}-${how}`, { groups })
      const first = await t.connect()
      await first.declare(topic)
      if (what === 'group') await t.auditor.remove({ topic: topic.name, group: 'push' })
      else await t.auditor.remove({ topic: topic.name, partition: 2 })
      const next = await t.connect()
      if (how === 'declare') await next.declare(topic)
      else {
        const consumer = await next.consume(topic, t.consumeOptions({ group: 'push' }), () => {})
        await consumer.close()
      }
      // Whoever sends now has asked after the removal, or is refused.
      const orders = t.orders(8, { keyNames })
      const ended = await outcomesOf(orders.map((order) => next.producer(topic, { timeoutMs: 5000 }).send(order, { id: order.id })))
      t.equal(ended.stored.length, orders.length, `sends that resolved after a ${what} was removed and ${how} made it whole`)
      await reaches(topic, ended.stored.length, `after a ${what} was removed and ${how} made it whole`)
      await first.close()
      await next.close()
    }
  }
}

async function undisturbed(t: Trial): Promise<void> {
  const topic = t.topic('calm')
  const seen = t.recorder()
  const team = await t.team(2, { topic, recorder: seen })
  const owned = team.map((member) => member.calls.assignments)
  // While the team came together partitions may have changed hands.
  const released = team.map((member) => member.calls.release)
  const connects = team.map((member) => member.link.connects().length)
  const sender = await t.connect()
  const load = t.load(sender, topic, { everyMs: 5 })
  const extra = t.orders(20)
  for (const order of extra) {
    const declaring = await t.connect()
    await declaring.declare(topic)
    await declaring.close()
    const sending = await t.connect()
    await t.send(sending, topic, [order])
    await sending.close()
    await t.pass(50)
  }
  const sent = await load.stop()
  await t.fence(sender, topic, seen)
  t.atLeast(sent.length, 100, 'messages of the load')
  t.equal(
    team.map((member) => member.calls.assignments),
    owned,
    'assignments after 20 declares and 20 first sends',
  )
  t.equal(
    team.map((member) => member.calls.release),
    released,
    'hand-overs',
  )
  t.equal(
    team.map((member) => member.link.connects().length),
    connects,
    'connections that the members made',
  )
  seen.exactly([...sent, ...extra])
}

/** GRP-14 to GRP-18. */
export const grpDeclare: readonly Clause[] = [
  { id: 'GRP-14', title: 'Names cannot collide or escape', needs: 'memory', run: names },
  { id: 'GRP-15', title: 'Declaring is idempotent and race-free', needs: 'memory', run: idempotent },
  { id: 'GRP-16', title: 'Another partition count is a conflict', needs: 'memory', run: otherCount },
  { id: 'GRP-17', title: 'A group has all its partitions or is not declared', needs: 'memory', run: allPartitions },
  { id: 'GRP-18', title: 'Declaring disturbs nobody', needs: 'memory', run: undisturbed },
]

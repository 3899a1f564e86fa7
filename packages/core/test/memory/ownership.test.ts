import { expect, test } from 'vitest'
import { explain } from '../../src/memory/explain.ts'
import type { Client, Consumer, World } from './driver.ts'
import { consume, ids, main, never, outgoing, plan, send, source, tokens, world } from './driver.ts'

async function topicWith(w: World, partitions: number, groups: readonly string[] = ['g']): Promise<Client> {
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', groups, { partitions })] }, never)
  return a
}

const partitions = (consumer: Consumer): (number | null)[] => consumer.owned().map((assignment) => assignment.partition)

/** Gives every assignment up as soon as it is asked to. */
async function obey(w: World, ...consumers: Consumer[]): Promise<void> {
  for (let turn = 0; turn < 4; turn++) {
    await w.calm()
    for (const consumer of consumers) for (const assignment of consumer.owned()) if (assignment.leaving.aborted) await assignment.release()
  }
}

test('partitions are shared evenly as members come and go, and a spare member is healthy', async () => {
  const w = world()
  await topicWith(w, 8)
  const consumers: Consumer[] = []
  for (const most of [8, 4, 3, 2]) {
    consumers.push(await consume(await w.client(), source('t', 'g')))
    await obey(w, ...consumers)
    const counts = consumers.map((consumer) => partitions(consumer).length)
    expect(counts.reduce((a, b) => a + b)).toBe(8)
    expect(Math.max(...counts)).toBe(most)
  }
  consumers[0]!.leave()
  consumers[2]!.leave()
  await obey(w, ...consumers)
  expect(consumers.map((consumer) => partitions(consumer).length)).toEqual([0, 4, 0, 4])
  expect(consumers[0]!.ended()).toBe(true)
  const owners = w.server.owners('t', 'g')
  expect(owners.size).toBe(8)
  expect(w.server.members('t', 'g')).toEqual([consumers[1]!.client.instance, consumers[3]!.client.instance])
})

test('a partition moves only after its release, and unsettled deliveries come first, in order', async () => {
  const w = world()
  const a = await topicWith(w, 1)
  await send(a, main('t'), ['1', '2', '3', '4'])
  const old = await consume(a, source('t', 'g'))
  await w.calm()
  const [assignment] = old.owned()
  const got = await assignment!.read(3)
  await assignment!.settle([got[1]!.token])
  const next = await consume(await w.client(), source('t', 'g'))
  old.leave()
  await w.calm()
  expect(assignment!.leaving.aborted).toBe(true)
  expect(await assignment!.read(1)).toEqual([])
  expect(next.owned()).toEqual([])
  await w.pass(3_000)
  expect(next.owned()).toEqual([])
  expect(assignment!.lost.aborted).toBe(false)
  await assignment!.release()
  await assignment!.release()
  expect(assignment!.lost.aborted).toBe(true)
  await w.calm()
  expect(old.ended()).toBe(true)
  const again = await next.owned()[0]!.read(10)
  expect(ids(again)).toEqual(['1', '3', '4'])
  expect(again.map((delivery) => delivery.deliveries)).toEqual([2, 2, 1])
  expect(await assignment!.settle(tokens(got))).toBe('stale')
  expect(w.server.unsettled('t', 'g')).toBe(3)
})

test('lost is aborted before the successor is yielded, in one process too', async () => {
  const w = world()
  await topicWith(w, 2)
  const a = await consume(await w.client(), source('t', 'g'))
  const b = await consume(await w.client(), source('t', 'g'))
  await obey(w, a, b)
  for (let round = 0; round < 50; round++) {
    const [from, to] = round % 2 === 0 ? [a, b] : [b, a]
    const before = from.owned()
    w.server.expel(from.client.instance)
    for (const assignment of before) expect(assignment.lost.aborted).toBe(true)
    await obey(w, a, b)
    expect(partitions(to)).toHaveLength(2)
    await w.pass(1_000)
    await obey(w, a, b)
    expect(partitions(from)).toHaveLength(1)
  }
  expect(a.client.events.filter((event) => event.name === 'lease-lost')).toHaveLength(25)
})

test('a hand-over that takes too long is forced: lost first, then the successor', async () => {
  const w = world({ handOverMs: 5_000 })
  await topicWith(w, 1)
  const a = await consume(await w.client(), source('t', 'g'))
  await w.calm()
  const [slow] = a.owned()
  const b = await consume(await w.client(), source('t', 'g', { handOverMs: 60_000 }))
  // Two members, one partition: nothing moves until the first leaves. A partition more moves one.
  await w.calm()
  expect(slow!.leaving.aborted).toBe(false)

  const many = world({ handOverMs: 5_000 })
  await topicWith(many, 2)
  const first = await consume(await many.client(), source('t', 'g'))
  await many.calm()
  const second = await consume(await many.client(), source('t', 'g'))
  await many.calm()
  const leaving = first.owned().filter((assignment) => assignment.leaving.aborted)
  expect(leaving).toHaveLength(1)
  await many.pass(4_900)
  expect(second.owned()).toEqual([])
  await many.pass(200)
  expect(leaving[0]!.lost.aborted).toBe(true)
  expect(partitions(second)).toEqual([leaving[0]!.partition])
  expect(b.owned()).toEqual([])
})

test('a member that is not heard of loses its lease; what it held comes to the next, and its late settle is stale', async () => {
  const w = world({ leaseMs: 6_000 })
  const a = await topicWith(w, 1)
  await send(a, main('t'), ['1', '2', '3'])
  const old = await consume(a, source('t', 'g'))
  await w.calm()
  const [zombie] = old.owned()
  const got = await zombie!.read(2)
  const next = await consume(await w.client(), source('t', 'g'))
  await w.calm()
  w.server.link(a.instance).freeze()
  const until = zombie!.aliveUntil
  await w.pass(5_000)
  expect(next.owned()).toEqual([])
  expect(zombie!.aliveUntil).toBe(until)
  await w.pass(2_000)
  expect(w.clock.monotonic()).toBeGreaterThan(until)
  expect(ids(await next.owned()[0]!.read(10))).toEqual(['1', '2', '3'])
  // Frozen, it has heard nothing yet.
  expect(zombie!.lost.aborted).toBe(false)
  const late = zombie!.settle(tokens(got))
  w.server.link(a.instance).thaw()
  await w.calm()
  expect(['stale', 'unknown']).toContain(await late)
  expect(zombie!.lost.aborted).toBe(true)
  expect(w.server.unsettled('t', 'g')).toBe(3)
  expect(w.server.settles('t', 'g').settled).toBe(0)
  await w.pass(5_000)
  expect(w.server.members('t', 'g')).toHaveLength(2)
})

test('aliveUntil ends before the lease does, and answered renewals move it on', async () => {
  const w = world({ leaseMs: 8_000 })
  const a = await topicWith(w, 1)
  const start = w.clock.monotonic()
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [assignment] = consumer.owned()
  expect(assignment!.aliveUntil).toBe(start + 7_200)
  await w.pass(30_000)
  expect(assignment!.lost.aborted).toBe(false)
  expect(assignment!.aliveUntil).toBeGreaterThan(w.clock.monotonic() + 5_000)
})

test('a killed client is gone at once: its work goes on elsewhere, and it hears nothing', async () => {
  const w = world()
  const a = await topicWith(w, 2)
  for (const partition of [0, 1]) await send(a, main('t'), ['1', '2', '3'], { partition })
  const dead = await consume(await w.client('dead'), source('t', 'g'))
  await w.calm()
  for (const assignment of dead.owned()) await assignment.read(2)
  const open = dead.owned()[0]!.read(1)
  expect(ids(await open)).toEqual(['3'])
  w.server.link('dead').kill()
  const next = await consume(a, source('t', 'g'))
  await w.calm()
  expect(partitions(next)).toEqual([0, 1])
  for (const assignment of next.owned()) expect(ids(await assignment.read(10))).toEqual(['1', '2', '3'])
  await w.pass(60_000)
  expect(dead.assignments.every((assignment) => !assignment.lost.aborted)).toBe(true)
  expect(dead.client.statuses).toEqual([])
})

test('a broadcast gets what is stored from its acceptance on, at every instance, and remembers nothing', async () => {
  const w = world()
  const a = await topicWith(w, 1)
  await send(a, main('t'), ['before'])
  const kinds = { kind: 'broadcast' } as const
  const one = await consume(await w.client(), source('t', 'b', kinds))
  const two = await consume(await w.client(), source('t', 'b', kinds))
  await send(a, main('t'), ['1', '2'])
  await w.calm()
  for (const consumer of [one, two]) expect(ids(await consumer.owned()[0]!.read(10))).toEqual(['1', '2'])
  two.leave()
  await obey(w, two)
  expect(two.ended()).toBe(true)
  await send(a, main('t'), ['missed'])
  const three = await consume(await w.client(), source('t', 'b', kinds))
  await send(a, main('t'), ['3'])
  await w.calm()
  expect(ids(await three.owned()[0]!.read(10))).toEqual(['3'])
  expect(w.server.members('t', 'g')).toEqual([])
})

test('members share one queue where the profile says so, and nothing is handed out twice', async () => {
  const w = world({ profile: 'rabbitmq' })
  const a = await w.client()
  const [state] = await a.session.declare({ topics: [plan('t', ['g'], { keyed: false })] }, never)
  expect(state!.partitions).toBe(1)
  const consumers = [
    await consume(await w.client(), source('t', 'g', { keyed: false })),
    await consume(await w.client(), source('t', 'g', { keyed: false })),
  ]
  await w.calm()
  expect(consumers.map(partitions)).toEqual([[null], [null]])
  const reads = consumers.map((consumer) => consumer.owned()[0]!.read(10))
  await send(a, main('t'), ['1', '2', '3', '4'], { partition: null })
  const [first, second] = await Promise.all(reads)
  expect([...ids(first!), ...ids(second!)].sort()).toEqual(['1', '2', '3', '4'])
  expect(Math.min(first!.length, second!.length)).toBeGreaterThan(0)
  expect(first![0]!.position()).toBeNull()
  await consumers[0]!.owned()[0]!.settle([first![0]!.token])
  w.server.link(consumers[0]!.client.instance).kill()
  const rest = await consumers[1]!.owned()[0]!.read(10)
  expect(ids(rest)).toEqual(ids(first!.slice(1)))
})

test('a refused membership rejects with its code and leaves nothing', async () => {
  const w = world({ profile: 'mqtt' })
  const a = await topicWith(w, 1)
  const refused = async (more: Parameters<typeof source>[2], topic = 't', group = 'g'): Promise<string> =>
    a.session.subscribe(source(topic, group, more), never).then(
      () => 'accepted',
      (error: unknown) => explain(error).code,
    )
  expect(await refused({}, 'absent')).toBe('NOT_FOUND')
  expect(await refused({}, 't', 'absent')).toBe('NOT_FOUND')
  expect(await refused({ kind: 'forwarder', group: null })).toBe('UNSUPPORTED')
  expect(await refused({ atomic: true })).toBe('UNSUPPORTED')
  expect(await refused({ maxUnsettled: 100_001 })).toBe('INVALID_ARGUMENT')
  expect(await refused({ native: { prefetch: 1 } })).toBe('INVALID_ARGUMENT')
  w.server.deny('subscribe', 't')
  expect(await refused({})).toBe('UNAUTHORIZED')
  w.server.allow()
  expect(w.server.members('t', 'g')).toEqual([])
  expect(await refused({})).toBe('accepted')
})

test('a deleted group is declared again by whoever consumes it, and goes on with what comes', async () => {
  const w = world()
  const a = await topicWith(w, 1)
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  w.server.remove({ topic: 't', group: 'g' })
  await w.pass(3_000)
  expect(a.events.map((event) => event.name)).toContain('position-lost')
  expect(consumer.owned()).toHaveLength(1)
  w.server.remove({ topic: 't' })
  await w.pass(3_000)
  await send(a, main('t'), ['1'])
  expect(ids(await consumer.owned()[0]!.read(1))).toEqual(['1'])
})

test('inspect counts what waits, what is out, and who is there', async () => {
  const w = world()
  const a = await topicWith(w, 1)
  await send(a, main('t'), ['1', '2', '3'])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  await consumer.owned()[0]!.read(2)
  expect(await a.session.inspect('t', 'g', never)).toEqual({ backlog: 1, unsettled: 2, members: 1 })
})

test('after close everything rejects or is over, and twice is fine', async () => {
  const w = world()
  const a = await topicWith(w, 1)
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [assignment] = consumer.owned()
  const reading = assignment!.read(1)
  await a.session.close(never)
  await a.session.close(never)
  expect(await reading).toEqual([])
  await w.calm()
  expect(consumer.ended()).toBe(true)
  expect(await assignment!.settle([])).toBe('stale')
  await assignment!.release()
  const { failures } = await a.session.publish([outgoing(main('t'), '1')], never)
  expect([failures[0]!.outcome, explain(failures[0]!.error).code]).toEqual(['failed', 'CLOSED'])
  expect(explain(await a.session.inspect('t', 'g', never).catch((error: unknown) => error)).code).toBe('CLOSED')
  expect(w.server.members('t', 'g')).toEqual([])
  expect(w.clock.pending()).toBe(0)
})

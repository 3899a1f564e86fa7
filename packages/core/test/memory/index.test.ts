import { expect, test } from 'vitest'
import type { Adapter, AdapterContext } from '../../src/contract.ts'
import { profiles } from '../../src/memory/capabilities.ts'
import { explain, fault } from '../../src/memory/explain.ts'
import { adapter, memory, memoryServer } from '../../src/memory/index.ts'
import { virtualClock } from '../../src/virtual-clock.ts'
import { main, never, plan, send, world } from './driver.ts'

const context = (instance: string): AdapterContext => ({
  clock: virtualClock(),
  random: () => 0.5,
  instance,
  name: instance,
  report: () => {},
  event: () => {},
})

const refusal = (make: () => unknown): string => {
  try {
    make()
  } catch (error) {
    return `${explain(error).code}: ${String(error)}`
  }
  return 'accepted'
}

const topics = async (from: Adapter): Promise<string[]> => {
  const session = await from.open(context(`${Math.random()}`), never)
  const found: string[] = []
  for (const name of ['one', 'two']) {
    const there = await session.declare({ topics: [plan(name, [], { create: false })] }, never).then(
      () => true,
      () => false,
    )
    if (there) found.push(name)
  }
  await session.close(never)
  return found
}

const make = async (from: Adapter, name: string): Promise<void> => {
  const session = await from.open(context(name), never)
  await session.declare({ topics: [plan(name, [])] }, never)
  await session.close(never)
}

test('memory: is private to each call, memory:name is shared in the process', async () => {
  const [own, other] = [adapter('memory:'), adapter('memory:')]
  await make(own, 'one')
  expect(await topics(own)).toEqual(['one'])
  expect(await topics(other)).toEqual([])
  await make(adapter('memory:shared-by-name'), 'two')
  expect(await topics(adapter('memory:shared-by-name'))).toEqual(['two'])
  expect(await topics(memory({ name: 'shared-by-name' }))).toEqual(['two'])
  expect(await topics(adapter('memory:another-name'))).toEqual([])
})

test('a name that runs with other options is a conflict, not a surprise', () => {
  adapter('memory:with-options', { leaseMs: 6_000 })
  expect(refusal(() => adapter('memory:with-options', { leaseMs: 6_000 }))).toBe('accepted')
  expect(refusal(() => adapter('memory:with-options'))).toBe('accepted')
  expect(refusal(() => adapter('memory:with-options', { leaseMs: 7_000 }))).toMatch(/^CONFLICT/)
})

test('a URL carries options as parameters', () => {
  expect(adapter('memory:?profile=kafka').best).toEqual(profiles.kafka)
  expect(refusal(() => adapter('memory:?profil=kafka'))).toMatch(/"profil".*did you mean "profile"/)
  expect(refusal(() => adapter('memory:?profile=pulsar'))).toMatch(/^INVALID_ARGUMENT.*profile must be one of/)
  expect(refusal(() => adapter('memory:?leaseMs=60s'))).toMatch(/leaseMs/)
})

test('bad options are refused when the adapter is made, each by its name', () => {
  const bad: readonly [unknown, RegExp][] = [
    [{ leasMs: 1_000 }, /"leasMs".*"leaseMs"/],
    [{ leaseMs: Number.NaN }, /leaseMs/],
    [{ leaseMs: '10s' }, /leaseMs/],
    [{ leaseMs: -1 }, /leaseMs/],
    [{ capacityBytes: 2 ** 53 }, /capacityBytes/],
    [{ keyedPartitions: 0 }, /keyedPartitions/],
    [{ sharedQueue: 'yes' }, /sharedQueue/],
    [{ capabilities: { settlment: 'each' } }, /"settlment".*"settlement"/],
    [{ capabilities: { settlement: 'some' } }, /settlement/],
    [{ capabilities: { limits: { batch: 0 } } }, /batch/],
    [{ name: '../x' }, /name/],
    [{ name: 7 }, /name/],
    [{ server: {} }, /memoryServer/],
    [{ server: memoryServer(), leaseMs: 1_000 }, /options already/],
    [{ clock: {} }, /clock/],
    [{ trim: 'never' }, /trim/],
    ['options', /object/],
  ]
  for (const [options, text] of bad) {
    const answer = refusal(() => adapter('memory:', options))
    expect(answer).toMatch(/^INVALID_ARGUMENT/)
    expect(answer).toMatch(text)
  }
  expect(refusal(() => adapter('memory'))).toMatch(/^INVALID_ARGUMENT/)
  expect(refusal(() => adapter('memory:a/b'))).toMatch(/^INVALID_ARGUMENT/)
})

test('each profile is what its server claims, and limits can be lowered one by one', async () => {
  for (const profile of ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const) {
    const server = memoryServer({ profile })
    expect(server.capabilities).toEqual(profiles[profile])
    expect(Object.isFrozen(server.capabilities) && Object.isFrozen(server.capabilities.limits)).toBe(true)
  }
  const server = memoryServer({ profile: 'redis', capabilities: { delay: 'none', limits: { batch: 10 } } })
  expect(server.capabilities).toEqual({ ...profiles.redis, delay: 'none', limits: { ...profiles.redis.limits, batch: 10 } })
  expect(memory({ server }).best).toEqual(server.capabilities)
})

test('unknown native options of a topic are refused, and nothing is made', async () => {
  const w = world()
  const a = await w.client()
  const refused = a.session.declare({ topics: [plan('one', []), plan('t', [], { native: { queue: 'x' } })] }, never)
  expect(explain(await refused.catch((error: unknown) => error)).code).toBe('INVALID_ARGUMENT')
  expect(w.server.stats().topics).toBe(0)
})

test('explain is total: what is not ours is internal, and of a publish unknown', () => {
  expect(explain(fault('NOT_FOUND', 'x', 'failed'))).toEqual({ code: 'NOT_FOUND', retryable: false, outcome: 'failed' })
  expect(explain(fault('UNAVAILABLE', 'x')).retryable).toBe(true)
  const hostile = new Proxy(new Error('x'), {
    getPrototypeOf() {
      throw new Error('trap')
    },
  })
  for (const error of [undefined, null, 'text', 7, {}, new Error('x'), hostile]) {
    expect(explain(error)).toEqual({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })
  }
})

test('what a session gives for its own client is the server', async () => {
  const w = world()
  const a = await w.client()
  expect(a.session.client).toBe(w.server)
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  await send(a, main('t'), ['1'])
  expect(w.server.stats()).toMatchObject({ topics: 1, messages: 1, connections: 1 })
})

import { describe, expect, test } from 'vitest'
import type { TopicState } from '../src/contract.ts'
import type { MessagingError } from '../src/errors.ts'
import { definitionOf, topic } from '../src/topic.ts'
import { pass, quiet, ScriptedError, scripted } from './support/scripted.ts'

const orders = definitionOf(
  'test',
  topic('orders', {
    key: () => 'k',
    groups: ['email', 'push'],
    partitions: 8,
    retentionMs: 5_000,
    native: { scripted: { own: 1 }, other: { theirs: 2 } } as never,
  }),
)
const state = (groups: readonly string[] = [], partitions = 4): readonly TopicState[] => [
  { name: 'orders', partitions, groups, created: [] },
]
const rejected = (promise: Promise<unknown>): Promise<MessagingError> =>
  promise.then(
    () => expect.unreachable('it resolved'),
    (error: MessagingError) => error,
  )

describe('ensure', () => {
  test('declares a topic as it was defined, with its own groups from the earliest and others as asked', async () => {
    const world = scripted()
    await world.context.catalog.ensure(orders, 'test', {
      groups: [
        { name: 'audit', start: 'latest' },
        { name: 'push', start: { at: 5 } },
      ],
    })
    expect(world.declared).toEqual([
      {
        topics: [
          {
            name: 'orders',
            keyed: true,
            partitions: 8,
            retentionMs: 5_000,
            groups: [
              { name: 'email', start: 'earliest' },
              { name: 'push', start: { at: 5 } },
              { name: 'audit', start: 'latest' },
            ],
            delays: [],
            create: true,
            native: { own: 1 },
          },
        ],
      },
    ])
    expect(world.context.catalog.knows(orders, 'audit')).toBe(true)
    expect(world.context.catalog.knows(orders, 'nobody')).toBe(false)
  })

  test('declares the steps of the delay lanes where the server has no delay', async () => {
    const world = scripted({ capabilities: { delay: 'none' } })
    await world.context.catalog.ensure(orders, 'test')
    expect(world.declared[0]?.topics[0]?.delays).toEqual([
      1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000, 4_096_000, 16_384_000, 65_536_000,
    ])
  })

  test('asks once for all who ask at the same time, and not at all afterwards', async () => {
    const world = scripted()
    const { catalog } = world.context
    const all = await Promise.all([
      catalog.ensure(orders, 'a'),
      catalog.ensure(orders, 'b'),
      catalog.ensure(orders, 'c', { groups: [{ name: 'push', start: 'earliest' }] }),
    ])
    expect(new Set(all).size).toBe(1)
    await catalog.ensure(orders, 'd')
    expect(world.declared).toHaveLength(1)
    expect(catalog.state('orders')?.partitions).toBe(8)
    await catalog.ensure(orders, 'e', { groups: [{ name: 'audit', start: 'earliest' }] })
    expect(world.declared).toHaveLength(2)
    await catalog.ensure(orders, 'f', { groups: [{ name: 'audit', start: 'latest' }] })
    expect(world.declared).toHaveLength(2)
  })

  test('of other groups while one runs comes after it', async () => {
    const world = scripted()
    let open = 0
    let most = 0
    world.onDeclare = async (topology) => {
      most = Math.max(most, ++open)
      await new Promise<void>((resolve) => world.clock.timer(10, resolve))
      open--
      return state(topology.topics[0]?.groups.map((group) => group.name))
    }
    const all = Promise.all(
      ['a', 'b', 'c'].map((name) => world.context.catalog.ensure(orders, 'test', { groups: [{ name, start: 'earliest' }] })),
    )
    await pass(world.clock, 100)
    await all
    expect(most).toBe(1)
    for (const group of ['a', 'b', 'c']) expect(world.context.catalog.knows(orders, group)).toBe(true)
  })

  test('asks the server again after refresh, and meanwhile what was known stays known', async () => {
    const world = scripted()
    const { catalog } = world.context
    await catalog.ensure(orders, 'test')
    catalog.refresh('orders')
    expect(catalog.state('orders')?.partitions).toBe(8)
    await catalog.ensure(orders, 'test')
    expect(world.declared).toHaveLength(2)
  })

  test('goes on while the server is away, until its deadline, and says why then', async () => {
    const world = scripted()
    let tries = 0
    world.onDeclare = async () => {
      if (++tries < 4) throw new ScriptedError({ outcome: 'none' }, 'connection refused')
      return state()
    }
    const ensured = world.context.catalog.ensure(orders, 'cannot consume "orders"')
    await pass(world.clock, 2_000)
    expect((await ensured).name).toBe('orders')
    world.context.catalog.refresh('orders')
    tries = -1_000
    const error = rejected(world.context.catalog.ensure(orders, 'cannot consume "orders"', { deadline: world.clock.monotonic() + 3_000 }))
    await pass(world.clock, 3_000)
    expect(await error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'failed' })
    expect((await error).message).toContain('cannot consume "orders": connection refused')
    expect(world.clock.pending()).toBe(0)
  })

  test('ends when the broker is closed, and the server is asked for nothing any more', async () => {
    const world = scripted()
    let tries = 0
    world.onDeclare = async () => {
      tries++
      throw new ScriptedError({ outcome: 'none' }, 'connection refused')
    }
    const error = rejected(world.context.catalog.ensure(orders, 'cannot send to "orders"', { finish: true }))
    await pass(world.clock, 50)
    world.context.catalog.close()
    await error
    const asked = tries
    await pass(world.clock, 5_000)
    expect(tries).toBe(asked)
    expect(world.clock.pending()).toBe(0)
    expect(await rejected(world.context.catalog.ensure(orders, 'cannot send to "orders"'))).toMatchObject({ code: 'CLOSED' })
    expect(tries).toBe(asked)
  })

  test('of a server that never answers ends at its deadline, and the declare is given up', async () => {
    const world = scripted()
    let given: AbortSignal | undefined
    world.onDeclare = (_, signal) => {
      given = signal
      return new Promise(() => undefined)
    }
    const error = rejected(world.context.catalog.ensure(orders, 'test', { deadline: world.clock.monotonic() + 1_000 }))
    const longer = rejected(world.context.catalog.ensure(orders, 'test', { deadline: world.clock.monotonic() + 2_000 }))
    await pass(world.clock, 1_000)
    expect(await error).toMatchObject({ code: 'TIMED_OUT' })
    expect(given?.aborted).toBe(false)
    await pass(world.clock, 1_000)
    await longer
    expect(given?.aborted).toBe(true)
    world.onDeclare = async () => state()
    expect((await world.context.catalog.ensure(orders, 'test')).name).toBe('orders')
  })

  test('obeys its signal and the end of the broker', async () => {
    const world = scripted()
    world.onDeclare = () => new Promise(() => undefined)
    const controller = new AbortController()
    const cancelled = rejected(world.context.catalog.ensure(orders, 'test', { signal: controller.signal }))
    const closed = rejected(world.context.catalog.ensure(orders, 'test'))
    const finishing = world.context.catalog.ensure(orders, 'test', { finish: true, deadline: world.clock.monotonic() + 500 })
    const finished = rejected(finishing)
    await quiet()
    controller.abort()
    expect(await cancelled).toMatchObject({ code: 'CANCELLED' })
    world.closing.abort()
    expect(await closed).toMatchObject({ code: 'CLOSED' })
    await pass(world.clock, 500)
    expect(await finished).toMatchObject({ code: 'TIMED_OUT' })
    expect(world.clock.pending()).toBe(0)
  })

  test('tells the way out of another partition count', async () => {
    const world = scripted()
    world.onDeclare = async () => {
      throw new ScriptedError({ code: 'CONFLICT', retryable: false, outcome: 'none' }, '"orders" has 4 partitions on the server, not 8')
    }
    const error = await rejected(world.context.catalog.ensure(orders, 'cannot send to "orders"'))
    expect(error).toMatchObject({ code: 'CONFLICT', retryable: false })
    expect(error.message).toContain('"orders" has 4 partitions on the server, not 8')
    expect(error.message).toContain('partitions: 8')
    expect(error.message).toContain('posthorn apply --repartition')
    expect(world.declared).toHaveLength(1)
  })

  test('uses what the server has where it respects an existing count', async () => {
    const world = scripted()
    world.onDeclare = async () => state([], 12)
    expect((await world.context.catalog.ensure(orders, 'test')).partitions).toBe(12)
  })
})

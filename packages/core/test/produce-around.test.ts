import { describe, expect, test } from 'vitest'
import type { Middleware } from '../src/middleware.ts'
import { topic } from '../src/topic.ts'
import { answering, make, rejected, text } from './support/producing.ts'
import { pass, ScriptedError, scripted } from './support/scripted.ts'

describe('a topic that nobody would get', () => {
  const queue = { capabilities: { retention: 'queue' as const } }

  test('rejects with what to do, and finds the group as soon as there is one', async () => {
    const world = answering(queue)
    let groups: string[] = []
    world.onDeclare = async (topology) => topology.topics.map((plan) => ({ name: plan.name, partitions: 4, groups, created: [] }))
    const producer = make(world)
    const error = await rejected(producer.send(1))
    expect(error).toMatchObject({ code: 'NOT_FOUND', outcome: 'failed', messageId: 'id-1' })
    expect(error.message).toBe(
      `cannot send to "ticks" on scripted: it has no group, so the message would be dropped. it was not stored.\nname the groups in the topic (groups: ['email']), call broker.declare(topic), start a consumer first, or say unrouted: 'drop'`,
    )
    const asked = world.declared.length
    await rejected(producer.send(2))
    expect(world.declared).toHaveLength(asked)
    groups = ['email']
    await pass(world.clock, 250)
    expect((await producer.send(3)).id).toBe('id-3')
    expect(world.sent()).toHaveLength(1)
  })

  test('lets go and counts where the topic says so', async () => {
    const world = answering(queue)
    world.onDeclare = async (topology) => topology.topics.map((plan) => ({ name: plan.name, partitions: 4, groups: [], created: [] }))
    expect(await make(world, topic('ticks', { unrouted: 'drop' })).send(1)).toEqual({ id: 'id-1', position: null })
    expect(world.published).toHaveLength(0)
    expect(world.events.filter((each) => each.name === 'dropped')).toHaveLength(1)
    expect(world.events.filter((each) => each.name.startsWith('send'))).toHaveLength(0)
  })

  test('is seen too when the server says so itself', async () => {
    const world = scripted(queue)
    world.onPublish = (one) =>
      one.answer([{ index: 0, outcome: 'failed', error: new ScriptedError({ code: 'NOT_FOUND', retryable: false, outcome: 'failed' }) }])
    const groups = { groups: ['email'] }
    expect((await rejected(make(world, topic('a', groups)).send(1))).message).toContain('it has no group')
    expect((await make(world, topic('b', { ...groups, unrouted: 'drop' })).send(1)).position).toBeNull()
  })

  test('is none where messages are kept for groups to come', async () => {
    const world = answering()
    await make(world).send(1)
    expect(world.sent()).toHaveLength(1)
  })
})

describe('middleware', () => {
  test('runs around every send, sees the message, and may add headers', async () => {
    const seen: unknown[] = []
    const outer: Middleware = async (context, next) => {
      if (context.kind === 'send') {
        seen.push([context.topic, context.id, context.key, context.value])
        context.headers['added'] = 'yes'
      }
      await next()
      seen.push('after')
    }
    const world = answering({ middleware: [outer, async (_, next) => next()] })
    await make(world).send(1, { headers: { own: '1' } })
    expect(seen).toEqual([['ticks', 'id-1', undefined, 1], 'after'])
    expect(world.sent()[0]?.headers).toEqual({ own: '1', added: 'yes' })
  })

  test('keeps the order of the calls even where it waits', async () => {
    const world = answering({
      middleware: [
        async (context, next) => {
          if (context.kind === 'send' && context.value === 0) await new Promise<void>((resolve) => world.clock.timer(50, resolve))
          await next()
        },
      ],
    })
    const producer = make(world)
    const all = Promise.all([0, 1, 2].map((n) => producer.send(n)))
    await pass(world.clock, 60)
    await all
    expect(world.sent().map((out) => text(out.body))).toEqual(['0', '1', '2'])
  })

  test.each<[string, Middleware, object]>([
    [
      'a throw before next() fails the send',
      async () => {
        throw new Error('no')
      },
      { code: 'INTERNAL', outcome: 'failed' },
    ],
    ['not calling next() is not success', async () => undefined, { code: 'CANCELLED', outcome: 'failed' }],
    [
      'a throw after it was stored is not "surely not stored"',
      async (_, next) => {
        await next()
        throw new Error('late')
      },
      { code: 'INTERNAL', outcome: 'unknown' },
    ],
    [
      'a reserved header is refused',
      async (context, next) => {
        if (context.kind === 'send') context.headers['ce_id'] = 'x'
        await next()
      },
      { code: 'INVALID_ARGUMENT', outcome: 'failed' },
    ],
    [
      'next() twice is refused',
      async (_, next) => {
        await next()
        await next()
      },
      { outcome: 'unknown' },
    ],
  ])('%s', async (_, middleware, expected) => {
    const world = answering({ middleware: [middleware] })
    expect(await rejected(make(world).send(1))).toMatchObject(expected)
  })

  test('swallowing the rejection of next() does not make it stored', async () => {
    const world = scripted({ middleware: [async (_, next) => next().catch(() => undefined)] })
    world.onPublish = (one) =>
      one.answer([{ index: 0, outcome: 'failed', error: new ScriptedError({ code: 'UNAUTHORIZED', retryable: false, outcome: 'failed' }) }])
    expect(await rejected(make(world).send(1))).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed' })
  })

  test('one that hangs ends with its send', async () => {
    const world = answering({
      middleware: [
        async (_, next) => {
          await next()
          await new Promise(() => undefined)
        },
      ],
    })
    const sent = rejected(make(world, topic('ticks'), { timeoutMs: 1_000 }).send(1))
    await pass(world.clock, 1_100)
    expect(await sent).toMatchObject({ code: 'TIMED_OUT', outcome: 'unknown' })
    expect(world.clock.pending()).toBe(0)
  })
})

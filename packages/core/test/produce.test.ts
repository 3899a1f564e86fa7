import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { MessagingError } from '../src/errors.ts'
import type { Middleware } from '../src/middleware.ts'
import { createProducer } from '../src/produce.ts'
import type { Producer, ProducerOptions } from '../src/producer.ts'
import { definitionOf, type Topic, type TopicOptions, topic, unchecked } from '../src/topic.ts'
import { pass, quiet, type Scripted, ScriptedError, scripted } from './support/scripted.ts'

function make(world: Scripted, of: Topic = topic('ticks'), options: ProducerOptions = {}): Producer<unknown> {
  return createProducer(world.context, definitionOf('test', of), options)
}
function answering(options: Parameters<typeof scripted>[0] = {}): Scripted {
  const world = scripted(options)
  world.onPublish = (one) => one.answer()
  return world
}
const rejected = (promise: Promise<unknown>): Promise<MessagingError> =>
  promise.then(
    () => expect.unreachable('it resolved'),
    (error: MessagingError) => error,
  )
const text = (body: Uint8Array | null | undefined): string => Buffer.from(body ?? []).toString()

describe('a send', () => {
  test('declares its topic before it leaves and resolves when the server has confirmed', async () => {
    const world = scripted()
    const sent = make(world).send({ n: 1 })
    await quiet()
    expect(world.declared).toHaveLength(1)
    expect(world.published).toHaveLength(1)
    let resolved = false
    void sent.then(() => (resolved = true))
    await quiet()
    expect(resolved).toBe(false)
    world.published[0]?.answer()
    expect(await sent).toEqual({ id: 'id-1', position: '0:0' })
  })

  test('the second leaves in the same tick, without a declare', async () => {
    const world = answering()
    const producer = make(world)
    await producer.send(1)
    void producer.send(2)
    await Promise.resolve()
    await Promise.resolve()
    expect(world.published).toHaveLength(2)
    expect(world.declared).toHaveLength(1)
  })

  test('carries a CloudEvent: id, source, type, time, content type, and a trace', async () => {
    const world = answering()
    await make(world).send({ n: 1 })
    const [out] = world.sent()
    expect(out).toMatchObject({
      id: 'id-1',
      key: null,
      time: world.clock.now(),
      expiresAt: null,
      attributes: { specversion: '1.0', source: 'tests', type: 'ticks', datacontenttype: 'application/json' },
      headers: null,
      place: { topic: 'ticks', role: 'main', group: null },
      partition: null,
      delayMs: 0,
      slot: null,
    })
    expect(text(out?.body)).toBe('{"n":1}')
    expect(out?.transport?.['traceparent']).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  })

  test('attributes are one frozen object for all messages of a type', async () => {
    const world = answering()
    const producer = make(world, topic('ticks', { schema: unchecked<{ kind: string }>(), type: (value) => value.kind }))
    await Promise.all([{ kind: 'a' }, { kind: 'b' }, { kind: 'a' }].map((value) => producer.send(value)))
    const [first, second, third] = world.sent()
    expect(third?.attributes).toBe(first?.attributes)
    expect(second?.attributes['type']).toBe('b')
    expect(Object.isFrozen(first?.attributes)).toBe(true)
  })

  test('options travel: id, key, headers, expiry, delay, a trace of the caller', async () => {
    const world = answering()
    const producer = make(world, topic('keyed', { schema: unchecked<string>(), key: (value) => value }))
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await producer.send('v', {
      id: 'mine',
      key: '',
      headers: { a: '1', traceparent, tracestate: 'x=y' },
      expiresAt: new Date(9),
      delayMs: 1_500,
    })
    expect(world.sent()[0]).toMatchObject({
      id: 'mine',
      key: '',
      headers: { a: '1' },
      expiresAt: 9,
      delayMs: 1_500,
      transport: { traceparent, tracestate: 'x=y' },
    })
    expect(world.sent()[0]?.headers).not.toHaveProperty('traceparent')
    await producer.send('v', { notBefore: new Date(world.clock.now() + 2_000) })
    expect(world.sent()[1]?.delayMs).toBe(2_000)
    await producer.send('v', { notBefore: new Date(5) })
    expect(world.sent()[2]?.delayMs).toBe(0)
  })

  test.each<[string, object, string]>([
    ['an unknown option', { delay: 5 }, 'did you mean "delayMs"'],
    ['an empty id', { id: '' }, '"id" is empty'],
    ['an id over 1 KiB', { id: 'x'.repeat(1025) }, 'over 1024 bytes'],
    ['an id with a line break', { id: 'a\nb' }, 'no header can carry'],
    ['a key without a keyed topic', { key: 'k' }, 'needs a keyed topic'],
    ['a negative delay', { delayMs: -1 }, '"delayMs" must be'],
    ['a fraction of a delay', { delayMs: 1.5 }, '"delayMs" must be'],
    ['a delay that is no number', { delayMs: Number.NaN }, '"delayMs" must be'],
    ['a delay over the limit', { delayMs: 86_400_001 }, 'at most 86400000 ms'],
    ['a time over the limit', { notBefore: new Date(Date.UTC(2030, 0, 1)) }, 'at most 86400000 ms'],
    ['two delays', { delayMs: 1, notBefore: new Date() }, 'not both'],
    ['an invalid date', { expiresAt: new Date(Number.NaN) }, 'a valid Date'],
    ['a reserved header', { headers: { 'ph-due': '1' } }, 'reserved'],
    ['a header that is no text', { headers: { n: 1 } }, 'must be a text'],
  ])('%s is refused before anything leaves', async (_, options, words) => {
    const world = answering()
    const producer = make(world)
    const error = await rejected(producer.send(1, options))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'failed' })
    expect(error.message).toContain(words)
    await producer.send(2)
    expect(world.sent()).toHaveLength(1)
  })

  test('the longest delay that the broker holds is taken', async () => {
    const world = answering()
    await make(world).send(1, { delayMs: 86_400_000 })
    expect(world.sent()[0]?.delayMs).toBe(86_400_000)
  })

  test('too large is refused before anything leaves, a byte less is taken', async () => {
    const world = answering({ limits: { messageBytes: 100 } })
    const producer = make(world, topic('bytes', { schema: unchecked<Uint8Array>(), codec: 'bytes' }))
    expect(await rejected(producer.send(Buffer.alloc(101)))).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed' })
    expect(await rejected(producer.send(Buffer.alloc(99), { headers: { a: 'b' } }))).toMatchObject({ code: 'TOO_LARGE' })
    await producer.send(Buffer.alloc(100))
    await producer.send(Buffer.alloc(98), { headers: { a: 'b' } })
    expect(world.sent()).toHaveLength(2)
    const small = make(world, topic('small', { schema: unchecked<Uint8Array>(), codec: 'bytes', maxBytes: 10 }))
    expect((await rejected(small.send(Buffer.alloc(11)))).message).toContain('the topic allows 10 (maxBytes)')
  })

  test('bodies are snapshots: what the caller does to a value afterwards does not travel', async () => {
    const world = answering()
    const value = { n: 1 }
    const slow = z.object({ n: z.number() }).refine(async () => true)
    const sent = make(world, topic('snap', { schema: slow })).send(value)
    value.n = 2
    await sent
    expect(text(world.sent()[0]?.body)).toBe('{"n":1}')
  })

  test('null has no body, and what JSON has no form for is refused', async () => {
    const world = answering()
    const producer = make(world)
    await producer.send(null)
    expect(world.sent()[0]?.body).toBeNull()
    for (const value of [undefined, () => 1, 5n]) {
      expect(await rejected(producer.send(value))).toMatchObject({ code: 'INVALID_MESSAGE', outcome: 'failed' })
    }
    expect(world.sent()).toHaveLength(1)
  })

  test('after close it rejects', async () => {
    const world = answering()
    const producer = make(world)
    world.closing.abort()
    expect(await rejected(producer.send(1))).toMatchObject({ code: 'CLOSED', outcome: 'failed' })
    expect(await rejected(producer.sendBatch([{ value: 1 }]))).toMatchObject({ code: 'CLOSED', outcome: 'failed' })
  })

  test('what was accepted before the broker began to close still leaves', async () => {
    const world = answering()
    const sent = make(world).send(1)
    world.closing.abort()
    const closed = world.context.sender.close(world.clock.monotonic() + 10_000)
    await quiet()
    expect((await sent).id).toBe('id-1')
    await closed
  })

  test('at the deadline of close what is still being prepared ends as failed', async () => {
    const world = scripted()
    world.onDeclare = () => new Promise(() => undefined)
    const sent = rejected(make(world).send(1))
    await quiet()
    world.closing.abort()
    const closed = world.context.sender.close(world.clock.monotonic() + 1_000)
    await pass(world.clock, 1_000)
    await closed
    expect(await sent).toMatchObject({ code: 'CLOSED', outcome: 'failed' })
  })
})

describe('values', () => {
  const order = z.object({ id: z.string(), user: z.string().default('nobody') })

  test('are validated as given, keyed by what the schema made of them, and travel as given', async () => {
    const world = answering()
    const producer = make(world, topic('orders', { schema: order, key: (value) => value.user, type: (value) => `order.${value.user}` }))
    await producer.send({ id: '1' })
    const [out] = world.sent()
    expect(out?.key).toBe('nobody')
    expect(out?.attributes['type']).toBe('order.nobody')
    expect(text(out?.body)).toBe('{"id":"1"}')
    expect(out?.partition).toEqual(expect.any(Number))
  })

  test('that the schema refuses do not leave, and the error names the field', async () => {
    const world = answering()
    const error = await rejected(make(world, topic('orders', { schema: order })).send({ id: 5 }))
    expect(error).toMatchObject({ code: 'INVALID_MESSAGE', outcome: 'failed', messageId: 'id-1' })
    expect(error.issues[0]?.path).toEqual(['id'])
    expect(error.message).toContain('id: ')
    expect(world.published).toHaveLength(0)
  })

  test.each<[string, TopicOptions<ReturnType<typeof unchecked<unknown>>>, string]>([
    [
      'a key that throws',
      {
        key: () => {
          throw new Error('no user')
        },
      },
      'no user',
    ],
    ['a key that is no text', { key: () => 5 as never }, 'must give a text'],
    [
      'a type that throws',
      {
        type: () => {
          throw new Error('no kind')
        },
      },
      'no kind',
    ],
    ['an empty type', { type: () => '' }, 'must give a text'],
    [
      'a schema that throws',
      {
        schema: {
          '~standard': {
            version: 1,
            vendor: 'x',
            validate: () => {
              throw new Error('broken schema')
            },
          },
        } as never,
      },
      'broken schema',
    ],
    [
      'a codec that throws',
      {
        codec: {
          contentType: 'x/y',
          encode: () => {
            throw new Error('no bytes')
          },
          decode: () => 1,
        },
      },
      'no bytes',
    ],
    ['a codec that gives no bytes', { codec: { contentType: 'x/y', encode: () => 'text' as never, decode: () => 1 } }, 'instead of bytes'],
  ])('%s rejects that send only', async (_, options, words) => {
    const world = answering()
    const error = await rejected(make(world, topic('odd', options)).send({ n: 1 }))
    expect(error).toMatchObject({ code: 'INVALID_MESSAGE', outcome: 'failed' })
    expect(error.message).toContain(words)
  })

  test('keys come back as they are, or are refused', async () => {
    const world = answering()
    const producer = make(world, topic('keys', { schema: unchecked<string>(), key: (value) => value }))
    for (const key of ['', 'ä☺', 'k'.repeat(1_024)]) await producer.send(key)
    expect(world.sent().map((out) => out.key)).toEqual(['', 'ä☺', 'k'.repeat(1_024)])
    expect(await rejected(producer.send('\ud800'))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('asynchronous schemas keep the order of sends that are not awaited', async () => {
    const world = answering()
    const waits = [30, 1, 10, 0]
    const schema = z
      .object({ n: z.number() })
      .refine((value) => new Promise<boolean>((resolve) => world.clock.timer(waits[value.n] ?? 0, () => resolve(true))))
    const producer = make(world, topic('slow', { schema, key: () => 'k' }))
    const all = Promise.all([0, 1, 2, 3].map((n) => producer.send({ n })))
    await pass(world.clock, 100)
    await all
    expect(world.sent().map((out) => text(out.body))).toEqual(['{"n":0}', '{"n":1}', '{"n":2}', '{"n":3}'])
  })

  test('one that is refused, cancelled or never ready holds nobody up for longer than its time', async () => {
    const world = answering()
    const schema = z
      .object({ n: z.number() })
      .refine((value) => (value.n === 0 ? new Promise<boolean>(() => undefined) : Promise.resolve(value.n !== 1)))
    const producer = make(world, topic('stuck', { schema }), { timeoutMs: 1_000 })
    const controller = new AbortController()
    const stuck = rejected(producer.send({ n: 0 }))
    const refused = rejected(producer.send({ n: 1 }))
    const given = rejected(producer.send({ n: 2 }, { signal: controller.signal }))
    const last = producer.send({ n: 3 })
    await quiet()
    controller.abort()
    expect(await refused).toMatchObject({ code: 'INVALID_MESSAGE' })
    expect(await given).toMatchObject({ code: 'CANCELLED', outcome: 'failed' })
    expect(world.published).toHaveLength(0)
    await pass(world.clock, 990)
    const after = rejected(last)
    await pass(world.clock, 100)
    expect(await stuck).toMatchObject({ code: 'TIMED_OUT', outcome: 'failed' })
    expect((await after).code).toBe('TIMED_OUT')
    expect(world.clock.pending()).toBe(0)
  })
})

describe('the first message of a topic', () => {
  test.each([
    ['zod', z.object({ placedAt: z.date() }), 'z.coerce.date()'],
    ['valibot', v.object({ placedAt: v.date() }), 'v.transform'],
    ['arktype', type({ placedAt: 'Date' }), 'string.date.parse'],
  ])('is read back, and refused where receivers would refuse it (%s)', async (_, schema, cure) => {
    const world = answering()
    const producer = make(world, topic('dates', { schema }))
    for (let i = 0; i < 2; i++) {
      const error = await rejected(producer.send({ placedAt: new Date(0) }))
      expect(error).toMatchObject({ code: 'INVALID_MESSAGE', outcome: 'failed' })
      expect(error.message).toContain('cannot send to "dates": receivers would refuse this message. placedAt: ')
      expect(error.message).toContain('(a Date becomes text in JSON)')
      expect(error.message).toContain(cure)
      expect(error.message).toContain('it was not sent')
      expect(error.issues).not.toHaveLength(0)
    }
    expect(world.published).toHaveLength(0)
  })

  test('is decoded once per process, and each time where that is asked for', async () => {
    let decoded = 0
    const codec = { contentType: 'x/y', encode: (value: unknown) => Buffer.from(String(value)), decode: () => ++decoded }
    const world = answering()
    const counted = topic('counted', { codec })
    const producer = make(world, counted)
    await producer.send(1)
    await producer.send(2)
    await make(world, counted).send(3)
    expect(decoded).toBe(1)
    const always = createProducer({ ...world.context, readBackAlways: true }, definitionOf('test', counted), {})
    await always.send(4)
    await always.send(5)
    expect(decoded).toBe(3)
  })

  test('may be of an older shape that the topic accepts', async () => {
    const world = answering()
    const stamp = z.object({ at: z.date() })
    const wire = z.object({ at: z.string() }).transform((value) => ({ at: new Date(value.at) }))
    await make(world, topic('both', { schema: stamp, accept: [wire] })).send({ at: new Date(0) })
    expect(text(world.sent()[0]?.body)).toBe('{"at":"1970-01-01T00:00:00.000Z"}')
  })
})

describe('the bound', () => {
  test('above maxBuffered a send rejects at once, and goes on when there is room', async () => {
    const world = scripted()
    const producer = make(world, topic('ticks'), { maxBuffered: 2 })
    void producer.send(1)
    void producer.send(2)
    const error = await rejected(producer.send(3))
    expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'failed', retryable: true })
    expect(error.message).toContain('maxBuffered')
    await quiet()
    world.published[0]?.answer()
    await quiet()
    world.onPublish = (one) => one.answer()
    await producer.send(4)
  })

  test('a batch feeds itself within it, in order', async () => {
    const world = scripted()
    const producer = make(world, topic('ticks'), { maxBuffered: 3 })
    const sent = producer.sendBatch(Array.from({ length: 10 }, (_, n) => ({ value: n })))
    await quiet()
    expect(world.sent()).toHaveLength(3)
    expect(await rejected(producer.send('between'))).toMatchObject({ code: 'UNAVAILABLE' })
    world.onPublish = (one) => one.answer()
    world.published[0]?.answer()
    const receipts = await sent
    expect(receipts).toHaveLength(10)
    expect(world.sent().map((out) => text(out.body))).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
    await producer.flush()
  })

  test('a batch that does not get through ends within its time, all of it', async () => {
    const world = scripted()
    const producer = make(world, topic('ticks'), { maxBuffered: 3, timeoutMs: 1_000 })
    const sent = rejected(producer.sendBatch(Array.from({ length: 1_000 }, (_, n) => ({ value: n }))))
    await pass(world.clock, 1_100)
    const error = await sent
    expect(error.outcome).toBe('unknown')
    expect(error.outcomes.map((each) => each.status)).toEqual([...Array(3).fill('unknown'), ...Array(997).fill('failed')])
    expect(world.clock.pending()).toBeLessThanOrEqual(1)
  })
})

describe('sendBatch', () => {
  test('reports per message, in order', async () => {
    const world = answering({ limits: { messageBytes: 1_000 } })
    const producer = make(world, topic('mixed', { schema: z.string() }))
    const values: unknown[] = ['a', 'b', 5, 'c', 'x'.repeat(2_000), 'd', 'e', 'f', 'g', 'h']
    const error = await rejected(producer.sendBatch(values.map((value, index) => ({ value, id: `m${index}` }))))
    expect(error.outcomes.map((each) => each.status)).toEqual([
      'stored',
      'stored',
      'failed',
      'stored',
      'failed',
      'stored',
      'stored',
      'stored',
      'stored',
      'stored',
    ])
    expect(error.outcomes.map((each) => (each.status === 'stored' ? each.receipt.id : each.error.code))).toEqual([
      'm0',
      'm1',
      'INVALID_MESSAGE',
      'm3',
      'TOO_LARGE',
      'm5',
      'm6',
      'm7',
      'm8',
      'm9',
    ])
    expect(error).toMatchObject({ code: 'INVALID_MESSAGE', outcome: 'failed' })
    expect(error.message).toContain('2 of 10 messages')
    expect(world.sent().map((out) => out.id)).toEqual(['m0', 'm1', 'm3', 'm5', 'm6', 'm7', 'm8', 'm9'])
  })

  test('resolves with the receipts, in order; of nothing with nothing', async () => {
    const world = answering()
    const producer = make(world)
    expect(
      (
        await producer.sendBatch([
          { value: 1, id: 'a' },
          { value: 2, id: 'b' },
        ])
      ).map((each) => each.id),
    ).toEqual(['a', 'b'])
    expect(await producer.sendBatch([])).toEqual([])
  })

  test.each<[string, unknown, string]>([
    ['what is no list', { value: 1 }, 'takes a list'],
    ['an unknown option of a message', [{ value: 1, hedaers: {} }], 'did you mean "headers"'],
    ['a message without a value', [{ id: 'x' }], 'has no "value"'],
    ['a message that is no object', [5], 'must be an object'],
  ])('%s is refused', async (_, messages, words) => {
    const error = await rejected(make(answering()).sendBatch(messages as never))
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.message).toContain(words)
  })

  test('gives up with its signal', async () => {
    const world = scripted()
    const producer = make(world, topic('ticks'), { maxBuffered: 2 })
    const controller = new AbortController()
    const sent = rejected(
      producer.sendBatch(
        [1, 2, 3, 4].map((value) => ({ value })),
        { signal: controller.signal },
      ),
    )
    await quiet()
    controller.abort()
    const error = await sent
    expect(error.outcomes.map((each) => each.status)).toEqual(['unknown', 'unknown', 'failed', 'failed'])
  })
})

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

describe('while the server is away', () => {
  test('the first sends wait for the declare, in order, and end with their time', async () => {
    const world = answering()
    let away = true
    const declare = world.onDeclare
    world.onDeclare = async (topology, signal) => {
      if (away) throw new ScriptedError({ outcome: 'none' }, 'connection refused')
      return declare(topology, signal)
    }
    const producer = make(world, topic('ticks'), { timeoutMs: 2_000 })
    const early = rejected(producer.send(0))
    await pass(world.clock, 1_500)
    const kept = [1, 2, 3].map((n) => producer.send(n))
    await pass(world.clock, 700)
    expect(await early).toMatchObject({ outcome: 'failed' })
    expect(['UNAVAILABLE', 'TIMED_OUT']).toContain((await early).code)
    away = false
    await pass(world.clock, 1_200)
    await Promise.all(kept)
    expect(world.sent().map((out) => text(out.body))).toEqual(['1', '2', '3'])
  })
})

test('options of a producer are checked', () => {
  const world = scripted()
  for (const options of [{ timeoutMs: 0 }, { timeoutMs: '60s' }, { maxBuffered: 0 }, { retryUnknown: 'yes' }, { maxBufered: 5 }]) {
    expect(() => make(world, topic('ticks'), options as never)).toThrow(/cannot make a producer of "ticks"/)
  }
})

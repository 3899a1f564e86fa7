import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createProducer } from '../src/produce.ts'
import { definitionOf, type TopicOptions, topic, unchecked } from '../src/topic.ts'
import { answering, make, rejected, text } from './support/producing.ts'
import { pass, quiet } from './support/scripted.ts'

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

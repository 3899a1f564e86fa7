import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { topic } from '../src/topic.ts'
import { answering, make, rejected, text } from './support/producing.ts'
import { pass, quiet, scripted } from './support/scripted.ts'

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

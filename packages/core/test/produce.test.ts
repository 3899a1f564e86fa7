import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { topic, unchecked } from '../src/topic.ts'
import { answering, make, rejected, text } from './support/producing.ts'
import { pass, quiet, ScriptedError, scripted } from './support/scripted.ts'

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
    expect(await sent).toMatchObject({ id: 'id-1', position: '0:0' })
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
      partition: 0,
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

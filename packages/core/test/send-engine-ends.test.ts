import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { content, ids, request, unknown, watched } from './support/requests.ts'
import { pass, quiet, ScriptedError, scripted } from './support/scripted.ts'

describe('deadlines', () => {
  test('what never left is surely not stored', async () => {
    const world = scripted({ limits: { batches: 1 } })
    void watched(world.context.sender.send(request(world, 'first', { deadline: world.clock.monotonic() + 90_000 })))
    await quiet()
    const sent = watched(world.context.sender.send(request(world, 'second', { deadline: world.clock.monotonic() + 1_000 })))
    await pass(world.clock, 1_060)
    expect(sent.error).toMatchObject({ code: 'TIMED_OUT', outcome: 'failed', messageId: 'second', retryable: true })
  })

  test('what is in flight at its deadline is unknown, its publish is aborted, and its partition opens a second later at most', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a', { partition: 0, deadline: world.clock.monotonic() + 1_000 })))
    await quiet()
    void watched(world.context.sender.send(request(world, 'b', { partition: 0 })))
    await pass(world.clock, 1_060)
    expect(sent.error).toMatchObject({ code: 'TIMED_OUT', outcome: 'unknown' })
    expect(world.published[0]?.signal.aborted).toBe(true)
    expect(world.published).toHaveLength(1)
    await pass(world.clock, 1_000)
    expect(ids(world)).toEqual([['a'], ['b']])
    world.published[0]?.answer()
    await quiet()
    expect(sent.count).toBe(1)
  })

  test('an aborted publish that resolves opens its partition at once', async () => {
    const world = scripted()
    void watched(world.context.sender.send(request(world, 'a', { partition: 0, deadline: world.clock.monotonic() + 1_000 })))
    await quiet()
    void watched(world.context.sender.send(request(world, 'b', { partition: 0 })))
    world.published[0]?.signal.addEventListener('abort', () => world.published[0]?.answer([unknown(0)]))
    await pass(world.clock, 1_060)
    expect(ids(world)).toEqual([['a'], ['b']])
  })

  test('the code at the deadline is what kept it from being stored', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a', { deadline: world.clock.monotonic() + 3_000 })))
    world.onPublish = (one) =>
      one.answer([{ index: 0, outcome: 'failed', error: new ScriptedError({ outcome: 'failed' }, 'connection refused') }])
    await pass(world.clock, 3_200)
    expect(sent.error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'failed', messageId: 'a' })
    expect(sent.error?.message).toContain('connection refused')
  })

  test('no timer is left when nothing is open, and none is made per message', async () => {
    const world = scripted()
    const sends = Array.from({ length: 500 }, (_, i) => watched(world.context.sender.send(request(world, `m${i}`))))
    await quiet()
    expect(world.clock.pending()).toBe(1)
    world.onPublish = (one) => one.answer()
    for (const one of world.published) one.answer()
    await pass(world.clock, 300)
    expect(sends.every((each) => each.receipt !== undefined)).toBe(true)
    expect(world.clock.pending()).toBe(0)
  })

  test('a short deadline behind long ones is kept', async () => {
    const world = scripted()
    void watched(world.context.sender.send(request(world, 'long')))
    const short = watched(world.context.sender.send(request(world, 'short', { deadline: world.clock.monotonic() + 100 })))
    await pass(world.clock, 115)
    expect(short.error?.code).toBe('TIMED_OUT')
  })
})

describe('giving up', () => {
  test('a signal that is aborted before the message left ends it as failed, and nothing leaves', async () => {
    const world = scripted()
    const controller = new AbortController()
    const sent = watched(world.context.sender.send(request(world, 'a', { signal: controller.signal })))
    controller.abort()
    await quiet()
    expect(sent.error).toMatchObject({ code: 'CANCELLED', outcome: 'failed', retryable: false })
    expect(world.published).toHaveLength(0)
    await expect(world.context.sender.send(request(world, 'b', { signal: controller.signal }))).rejects.toMatchObject({
      code: 'CANCELLED',
      outcome: 'failed',
    })
  })

  test('in flight it is unknown, within the tick, and the others of the publish are not touched', async () => {
    const world = scripted()
    const controller = new AbortController()
    const given = watched(world.context.sender.send(request(world, 'a', { signal: controller.signal })))
    const kept = watched(world.context.sender.send(request(world, 'b')))
    await quiet()
    controller.abort()
    await Promise.resolve()
    expect(given.error).toMatchObject({ code: 'CANCELLED', outcome: 'unknown', messageId: 'a' })
    expect(world.published[0]?.signal.aborted).toBe(false)
    world.published[0]?.answer()
    await quiet()
    expect(kept.receipt?.id).toBe('b')
  })

  test('listeners are taken off signals', async () => {
    const world = scripted()
    const { signal } = new AbortController()
    for (let i = 0; i < 20; i++) void world.context.sender.send(request(world, `m${i}`, { signal }))
    await quiet()
    world.published[0]?.answer()
    await quiet()
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  test('what is not allowed any more does not leave, at a repeat neither', async () => {
    const world = scripted()
    let allowed = true
    const sent = watched(world.context.sender.send(request(world, 'a', { allowed: () => allowed })))
    await quiet()
    world.published[0]?.answer([unknown(0)])
    allowed = false
    await pass(world.clock, 100)
    expect(world.published).toHaveLength(1)
    expect(sent.error).toMatchObject({ code: 'CANCELLED', outcome: 'unknown' })
  })
})

describe('delays', () => {
  test('a native delay is what is left of it when it leaves', async () => {
    const world = scripted({ limits: { batches: 1 } })
    void world.context.sender.send(request(world, 'first'))
    await quiet()
    void world.context.sender.send(request(world, 'later', { due: world.clock.now() + 5_000 }))
    await pass(world.clock, 2_000)
    world.published[0]?.answer()
    await quiet()
    expect(world.sent()[1]).toMatchObject({ id: 'later', delayMs: 3_000, place: { role: 'main' } })
  })

  test('without one, the message goes into the lane of the longest step that is not longer', async () => {
    const world = scripted({ capabilities: { delay: 'none' } })
    const now = world.clock.now()
    for (const wait of [100, 1_000, 3_999, 4_000, 70_000_000])
      void world.context.sender.send(request(world, `w${wait}`, { due: now + wait }))
    void world.context.sender.send(request(world, 'past', { due: now - 1 }))
    await quiet()
    const sent = Object.fromEntries(world.sent().map((each) => [each.id, each]))
    expect(sent['w100']).toMatchObject({
      place: { role: 'delay' },
      partition: 0,
      delayMs: 0,
      transport: { 'ph-due': String(now + 100), 'ph-hop': String(now + 100) },
    })
    expect(sent['w1000']).toMatchObject({ partition: 0, transport: { 'ph-hop': String(now + 1_000) } })
    expect(sent['w3999']).toMatchObject({ partition: 0, transport: { 'ph-due': String(now + 3_999), 'ph-hop': String(now + 1_000) } })
    expect(sent['w4000']).toMatchObject({ partition: 1, transport: { 'ph-hop': String(now + 4_000) } })
    expect(sent['w70000000']).toMatchObject({ partition: 8, transport: { 'ph-hop': String(now + 65_536_000) } })
    expect(sent['past']).toMatchObject({ place: { role: 'main' }, partition: null })
  })

  test('a retry without a wait goes into the first lane of its group, because that is where it is read', async () => {
    const world = scripted({ capabilities: { delay: 'none' } })
    void world.context.sender.send(request(world, 'again', { place: { topic: 'orders', role: 'retry', group: 'email' } }))
    await quiet()
    expect(world.sent()[0]).toMatchObject({
      place: { role: 'retry', group: 'email' },
      partition: 0,
      transport: { 'ph-due': String(world.clock.now()) },
    })
  })
})

describe('copies', () => {
  test('a copy keeps the trace in which its message was created and gets a hop of its own', async () => {
    const world = scripted()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    void world.context.sender.send(request(world, 'a', { copy: true, content: content('a', null, { transport: { traceparent } }) }))
    await quiet()
    const [copy] = world.sent()
    expect(copy?.attributes['traceparent']).toBe(traceparent)
    expect(copy?.transport?.['traceparent']).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/)
    expect(copy?.transport?.['traceparent']).not.toBe(traceparent)
  })

  test('where the wire has no headers the message travels as one CloudEvent', async () => {
    const world = scripted({ capabilities: { headers: 'envelope' } })
    void world.context.sender.send(request(world, 'a', { content: content('a', null, { headers: { h: '1' } }) }))
    await quiet()
    const [out] = world.sent()
    expect(out?.attributes).toEqual({ datacontenttype: 'application/cloudevents+json; charset=UTF-8' })
    expect(out?.headers).toBeNull()
    expect(JSON.parse(Buffer.from(out?.body ?? []).toString())).toMatchObject({ id: 'a', source: 's', specversion: '1.0' })
  })
})

describe('flush and close', () => {
  test('flush waits for what was sent before it, and for nothing after', async () => {
    const world = scripted({ limits: { batches: 4 } })
    void world.context.sender.send(request(world, 'before'))
    await quiet()
    let flushed = false
    void world.context.sender.flush().then(() => (flushed = true))
    void world.context.sender.send(request(world, 'after'))
    await quiet()
    expect(flushed).toBe(false)
    world.published[0]?.answer()
    await quiet()
    expect(flushed).toBe(true)
  })

  test('close lets everything end that can', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a')))
    let closed = false
    void world.context.sender.close(world.clock.monotonic() + 5_000).then(() => (closed = true))
    await quiet()
    expect(closed).toBe(false)
    world.published[0]?.answer()
    await quiet()
    expect(closed).toBe(true)
    expect(sent.receipt?.id).toBe('a')
    await expect(world.context.sender.send(request(world, 'b'))).rejects.toMatchObject({ code: 'CLOSED', outcome: 'failed' })
    expect(world.clock.pending()).toBe(0)
  })

  test('at its deadline what is open ends as unknown, what never left as failed, and nothing is left running', async () => {
    const world = scripted({ limits: { batches: 1 } })
    const left = watched(world.context.sender.send(request(world, 'a')))
    await quiet()
    const waiting = watched(world.context.sender.send(request(world, 'b')))
    let closed = false
    void world.context.sender.close(world.clock.monotonic() + 1_000).then(() => (closed = true))
    await pass(world.clock, 1_000)
    expect(closed).toBe(true)
    expect(left.error).toMatchObject({ code: 'CLOSED', outcome: 'unknown', messageId: 'a' })
    expect(waiting.error).toMatchObject({ code: 'CLOSED', outcome: 'failed', messageId: 'b' })
    expect(world.published[0]?.signal.aborted).toBe(true)
    expect(world.clock.pending()).toBe(0)
    expect(world.context.sender.stats.buffered).toBe(0)
  })
})

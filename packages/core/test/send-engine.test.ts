import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { SendRequest } from '../src/context.ts'
import type { Content, Place } from '../src/contract.ts'
import type { MessagingError, Receipt } from '../src/errors.ts'
import { partitionOf } from '../src/murmur2.ts'
import { pass, quiet, type Scripted, ScriptedError, scripted } from './support/scripted.ts'

const main: Place = { topic: 'orders', role: 'main', group: null }

function content(id: string, key: string | null = null, more: Partial<Content> = {}): Content {
  return {
    id,
    key,
    body: Buffer.from(id),
    time: 1,
    expiresAt: null,
    attributes: { source: 's', type: 't' },
    headers: null,
    transport: null,
    ...more,
  }
}
function request(world: Scripted, id: string, more: Partial<SendRequest> = {}): SendRequest {
  return {
    place: main,
    partition: null,
    content: content(id),
    due: 0,
    slot: null,
    deadline: world.clock.monotonic() + 30_000,
    retryUnknown: true,
    attempted: 'cannot send to "orders"',
    ...more,
  }
}
/** What became of a send. */
function watched(promise: Promise<Receipt>): { receipt?: Receipt; error?: MessagingError; count: number } {
  const state: { receipt?: Receipt; error?: MessagingError; count: number } = { count: 0 }
  promise.then(
    (receipt) => {
      state.receipt = receipt
      state.count++
    },
    (error: MessagingError) => {
      state.error = error
      state.count++
    },
  )
  return state
}
const unknown = (index: number, text?: string) => ({ index, outcome: 'unknown' as const, error: new ScriptedError({}, text) })
const ids = (world: Scripted): string[][] => world.published.map((one) => one.batch.map((each) => each.id))

describe('batches', () => {
  test('a burst of one tick is one publish, and leaves without waiting for time', async () => {
    const world = scripted()
    for (let i = 0; i < 5; i++) void world.context.sender.send(request(world, `m${i}`))
    expect(world.published).toHaveLength(0)
    await Promise.resolve()
    await Promise.resolve()
    expect(ids(world)).toEqual([['m0', 'm1', 'm2', 'm3', 'm4']])
    expect(world.clock.monotonic()).toBe(1_000_000)
  })

  test('a batch holds at most limits.batch messages, and at most limits.batches are open', async () => {
    const world = scripted({ limits: { batch: 3, batches: 2 } })
    for (let i = 0; i < 10; i++) void world.context.sender.send(request(world, `m${i}`))
    await quiet()
    expect(ids(world)).toEqual([
      ['m0', 'm1', 'm2'],
      ['m3', 'm4', 'm5'],
    ])
    world.published[0]?.answer()
    await quiet()
    expect(ids(world)[2]).toEqual(['m6', 'm7', 'm8'])
  })

  test('a batch grows while the window has no room', async () => {
    const world = scripted({ limits: { batches: 1 } })
    void world.context.sender.send(request(world, 'a'))
    await quiet()
    for (const id of ['b', 'c', 'd']) {
      void world.context.sender.send(request(world, id))
      await quiet()
    }
    expect(ids(world)).toEqual([['a']])
    world.published[0]?.answer()
    await quiet()
    expect(ids(world)).toEqual([['a'], ['b', 'c', 'd']])
  })

  test('one publish brings no more bytes to a partition than one message may have', async () => {
    const world = scripted({ limits: { messageBytes: 10_000 } })
    for (let i = 0; i < 4; i++)
      void world.context.sender.send(
        request(world, `m${i}`, { partition: 1, content: content(`m${i}`, 'k', { body: Buffer.alloc(4_000) }) }),
      )
    await quiet()
    expect(ids(world)).toEqual([['m0', 'm1']])
    world.published[0]?.answer()
    await quiet()
    expect(ids(world)).toEqual([
      ['m0', 'm1'],
      ['m2', 'm3'],
    ])
  })

  test('a message larger than any bound still leaves, by itself', async () => {
    const world = scripted({ limits: { messageBytes: 100 } })
    void world.context.sender.send(request(world, 'big', { content: content('big', null, { body: Buffer.alloc(9_000) }) }))
    void world.context.sender.send(request(world, 'small'))
    await quiet()
    expect(ids(world)).toEqual([['big'], ['small']])
  })
})

describe('order', () => {
  test('of one partition only one publish is open at a time', async () => {
    const world = scripted({ limits: { batch: 2 } })
    for (let i = 0; i < 5; i++) void world.context.sender.send(request(world, `m${i}`, { partition: 0 }))
    await quiet()
    expect(ids(world)).toEqual([['m0', 'm1']])
    world.published[0]?.answer()
    await quiet()
    expect(ids(world)).toEqual([
      ['m0', 'm1'],
      ['m2', 'm3'],
    ])
  })

  test('an unknown goes back to the front, in order, and leaves again after a pause', async () => {
    const world = scripted()
    const sends = ['a', 'b', 'c'].map((id) => watched(world.context.sender.send(request(world, id, { partition: 0 }))))
    await quiet()
    const late = watched(world.context.sender.send(request(world, 'd', { partition: 0 })))
    world.published[0]?.answer([unknown(0), unknown(2)])
    await quiet()
    expect(sends[1]?.receipt).toEqual({ id: 'b', position: '0:1' })
    expect(world.published).toHaveLength(1)
    await pass(world.clock, 50)
    expect(ids(world)[1]).toEqual(['a', 'c', 'd'])
    world.published[1]?.answer()
    await quiet()
    expect(late.receipt?.position).toBe('1:2')
    expect(world.events.filter((each) => each.name === 'send-repeated').map((each) => each.event.ids)).toEqual([['a', 'c']])
  })

  test('pauses double to a second, jittered, and start again when something was stored', async () => {
    const world = scripted({ random: () => 0.999 })
    void world.context.sender.send(request(world, 'a', { partition: 0 }))
    world.onPublish = (one) => one.answer(world.published.length <= 7 ? [unknown(0)] : [])
    await pass(world.clock, 20_000)
    const waits = world.published.slice(1).map((one, index) => one.at - (world.published[index]?.at ?? 0))
    expect(waits).toEqual([50, 100, 200, 400, 800, 1000, 1000])
  })

  test('partitions in trouble publish by themselves and hold nobody up', async () => {
    const world = scripted()
    void world.context.sender.send(request(world, 'bad', { partition: 0 }))
    await quiet()
    world.published[0]?.answer([unknown(0)])
    await pass(world.clock, 60)
    void world.context.sender.send(request(world, 'good', { partition: 1 }))
    await quiet()
    expect(ids(world)).toEqual([['bad'], ['bad'], ['good']])
  })

  test('where there is no order, repeats wait aside and the others go on', async () => {
    const world = scripted({ limits: { batches: 1, batch: 2 } })
    for (const id of ['a', 'poison', 'b', 'c']) void world.context.sender.send(request(world, id))
    await quiet()
    world.published[0]?.answer([{ index: 1, outcome: 'failed', error: new ScriptedError({ outcome: 'failed' }) }])
    await quiet()
    expect(ids(world)[1]).toEqual(['b', 'c'])
    world.published[1]?.answer()
    await pass(world.clock, 60)
    expect(ids(world)[2]).toEqual(['poison'])
  })

  test('a key finds its partition by the published hash', async () => {
    const world = scripted({ partitions: 4 })
    await world.context.catalog.ensure({ name: 'orders', groups: [], native: {} } as never, 'test')
    void world.context.sender.send(request(world, 'x', { content: content('x', 'ada') }))
    void world.context.sender.send(request(world, 'y', { content: content('y', '') }))
    await quiet()
    expect(
      world
        .sent()
        .map((each) => each.partition)
        .sort(),
    ).toEqual([partitionOf('ada', 4), partitionOf('', 4)].sort())
  })

  test('a keyed message whose partitions are not known is refused, not spread', async () => {
    const world = scripted()
    await expect(world.context.sender.send(request(world, 'x', { content: content('x', 'ada') }))).rejects.toMatchObject({
      code: 'INTERNAL',
      outcome: 'failed',
    })
    expect(world.published).toHaveLength(0)
  })
})

describe('outcomes', () => {
  test('a definite refusal rejects as failed and is not repeated', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a')))
    await quiet()
    world.published[0]?.answer([
      { index: 0, outcome: 'failed', error: new ScriptedError({ code: 'UNAUTHORIZED', retryable: false, outcome: 'failed' }) },
    ])
    await pass(world.clock, 2_000)
    expect(sent.error).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed', messageId: 'a' })
    expect(sent.error?.message).toContain('cannot send to "orders": the scripted server says no. it was not stored')
    expect(world.published).toHaveLength(1)
  })

  test('a failure that may pass is repeated even without retryUnknown', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a', { retryUnknown: false })))
    await quiet()
    world.published[0]?.answer([{ index: 0, outcome: 'failed', error: new ScriptedError({ outcome: 'failed' }) }])
    await pass(world.clock, 60)
    world.published[1]?.answer()
    await quiet()
    expect(sent.receipt?.id).toBe('a')
  })

  test('without retryUnknown an unknown rejects at once, with the id to repeat it under', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a', { retryUnknown: false })))
    await quiet()
    world.published[0]?.answer([unknown(0)])
    await quiet()
    expect(sent.error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'unknown', messageId: 'a', retryable: true })
    expect(world.published).toHaveLength(1)
  })

  test('once a publish was unknown, a later definite refusal is still unknown', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a')))
    await quiet()
    world.published[0]?.answer([unknown(0)])
    await pass(world.clock, 60)
    world.published[1]?.answer([
      { index: 0, outcome: 'failed', error: new ScriptedError({ code: 'TOO_LARGE', retryable: false, outcome: 'failed' }) },
    ])
    await quiet()
    expect(sent.error).toMatchObject({ code: 'TOO_LARGE', outcome: 'unknown' })
  })

  test('a publish that rejects, throws or answers nonsense is unknown', async () => {
    const world = scripted()
    const sent = watched(world.context.sender.send(request(world, 'a')))
    await quiet()
    world.published[0]?.reject(new Error('against the contract'))
    await pass(world.clock, 60)
    world.published[1]?.answer('nonsense' as never)
    await pass(world.clock, 200)
    world.published[2]?.answer()
    await quiet()
    expect(sent.receipt?.id).toBe('a')
  })

  test('repeats have the same content, by identity', async () => {
    const world = scripted()
    void world.context.sender.send(request(world, 'a', { partition: 2 }))
    world.onPublish = (one) => one.answer(world.published.length < 3 ? [unknown(0)] : [])
    await pass(world.clock, 1_000)
    const [first, second, third] = world.sent()
    expect(second).toBe(first)
    expect(third).toBe(first)
  })
})

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

import { describe, expect, test } from 'vitest'
import { partitionOf } from '../src/murmur2.ts'
import { content, ids, request, unknown, watched } from './support/requests.ts'
import { pass, quiet, ScriptedError, scripted } from './support/scripted.ts'

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
    expect(sends[1]?.receipt).toMatchObject({ id: 'b', position: '0:1' })
    expect(JSON.stringify(sends[1]?.receipt)).toBe('{"id":"b","position":"0:1"}')
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

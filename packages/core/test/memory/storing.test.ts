import { expect, test } from 'vitest'
import type { Received } from '../../src/contract.ts'
import { explain } from '../../src/memory/explain.ts'
import { consume, idOf, ids, main, never, outgoing, plan, send, source, text, tokens, world } from './driver.ts'

const code = (error: unknown): string => explain(error).code

test('a batch is stored in its order, with positions that the auditor confirms', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  const batch = ['1', '2', '3'].map((id) => outgoing(main('t'), id, { partition: 2 }))
  const report = await a.session.publish(batch, never)
  expect(report.failures).toEqual([])
  const kept = w.server.read(main('t'))
  expect(kept.map((message) => message.id)).toEqual(['1', '2', '3'])
  expect(kept.map((message) => message.position)).toEqual([0, 1, 2].map((index) => report.position(index)))
})

test('every group gets every message, once, and what all finished leaves', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g', 'h'], { partitions: 1 })] }, never)
  await send(a, main('t'), ['1', '2'])
  for (const group of ['g', 'h']) {
    const consumer = await consume(a, source('t', group))
    await w.calm()
    const [assignment] = consumer.owned()
    const got = await assignment!.read(10)
    expect(ids(got)).toEqual(['1', '2'])
    expect(w.server.unsettled('t', group)).toBe(2)
    expect(await assignment!.settle(tokens(got))).toBe('settled')
    expect(w.server.unsettled('t', group)).toBe(0)
    expect(w.server.read(main('t'))).toHaveLength(group === 'g' ? 2 : 0)
  }
  expect(w.server.stats().bytes).toBe(0)
})

test('a topic with a retention time keeps what all groups finished for those who come later', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1, retentionMs: 60_000 })] }, never)
  await send(a, main('t'), ['1', '2'])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  await consumer.owned()[0]!.settle(tokens(await consumer.owned()[0]!.read(10)))
  await a.session.declare({ topics: [plan('t', ['late'], { retentionMs: 60_000 })] }, never)
  expect(w.server.remaining('t', 'late')).toBe(2)
  await w.pass(61_000)
  await send(a, main('t'), ['3'])
  expect(w.server.read(main('t')).map((message) => message.id)).toEqual(['1', '2', '3'])
})

test('a handler that changes what it got changes nothing that is stored, and a sender neither', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  const body = Buffer.from('one')
  await send(a, main('t'), ['1'], { body, headers: { name: 'value' } })
  body.fill(0)
  const first = await consume(a, source('t', 'g'))
  await w.calm()
  const got = (await first.owned()[0]!.read(1))[0]!.content as Received
  expect(text(got.body)).toBe('one')
  got.body?.fill(0)
  ;(got.headers as { name: string }).name = 'other'
  await first.owned()[0]!.release()
  await w.calm()
  const again = (await first.owned()[0]!.read(1))[0]!.content as Received
  expect(text(again.body)).toBe('one')
  expect(again.headers).toEqual({ name: 'value' })
})

test('null and empty bodies, null and empty keys stay apart', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  await a.session.publish(
    [outgoing(main('t'), '1', { body: null, key: '' }), outgoing(main('t'), '2', { body: new Uint8Array(), key: null })],
    never,
  )
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [first, second] = (await consumer.owned()[0]!.read(2)).map((delivery) => delivery.content as Received)
  expect([first!.body, first!.key]).toEqual([null, ''])
  expect([second!.body?.length, second!.key]).toEqual([0, null])
})

test('declaring makes what is missing, says what it made, and moves nothing that exists', async () => {
  const w = world()
  const a = await w.client()
  const [first] = await a.session.declare({ topics: [plan('t', ['g'], { partitions: 8 })] }, never)
  expect(first).toEqual({ name: 't', partitions: 8, groups: ['g'], created: ['g'] })
  await send(a, main('t'), ['1'])
  const [again] = await a.session.declare(
    {
      topics: [
        plan('t', ['g', 'h'], {
          groups: [
            { name: 'g', start: 'latest' },
            { name: 'h', start: 'latest' },
          ],
        }),
      ],
    },
    never,
  )
  expect(again).toEqual({ name: 't', partitions: 8, groups: ['g', 'h'], created: ['h'] })
  expect(w.server.remaining('t', 'g')).toBe(1)
  expect(w.server.remaining('t', 'h')).toBe(0)
})

test('another partition count, or other keys, is a conflict and changes nothing', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  const more = a.session.declare({ topics: [plan('t', ['h'], { partitions: 8 })] }, never)
  expect(code(await more.catch((error: unknown) => error))).toBe('CONFLICT')
  const unkeyed = a.session.declare({ topics: [plan('t', ['h'], { keyed: false })] }, never)
  expect(code(await unkeyed.catch((error: unknown) => error))).toBe('CONFLICT')
  expect(() => w.server.position('t', 'h')).toThrow('no group')
})

test('looking makes nothing: what is missing is not found', async () => {
  const w = world()
  const a = await w.client()
  const look = (name: string, groups: string[]) =>
    a.session.declare({ topics: [plan(name, groups, { create: false })] }, never).catch((error: unknown) => code(error))
  expect(await look('t', [])).toBe('NOT_FOUND')
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  expect(await look('t', ['g'])).toMatchObject([{ created: [] }])
  expect(await look('t', ['h'])).toBe('NOT_FOUND')
})

test('a group starts at a time where the server can replay, and is refused where it cannot', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', [], { partitions: 1 })] }, never)
  await send(a, main('t'), ['old'])
  await w.pass(1_000)
  const at = w.clock.now()
  await send(a, main('t'), ['new'])
  await a.session.declare({ topics: [plan('t', [], { groups: [{ name: 'at', start: { at } }] })] }, never)
  expect(w.server.position('t', 'at')).toEqual([1])
  await a.session.declare({ topics: [plan('t', ['all'])] }, never)
  expect(w.server.position('t', 'all')).toEqual([0])

  const queue = world({ profile: 'redis' })
  const b = await queue.client()
  const refused = b.session.declare({ topics: [plan('t', [], { groups: [{ name: 'g', start: { at } }] })] }, never)
  expect(code(await refused.catch((error: unknown) => error))).toBe('UNSUPPORTED')
  expect(queue.server.stats().topics).toBe(0)
})

test('a message to nowhere: kept by a log, reported by a queue, dropped and counted by a silent one', async () => {
  for (const [profile, stored, failure, dropped] of [
    ['default', 1, undefined, 0],
    ['kafka', 1, undefined, 0],
    ['redis', 0, 'NOT_FOUND', 0],
    ['mqtt', 0, undefined, 1],
  ] as const) {
    const w = world({ profile })
    const a = await w.client()
    await a.session.declare({ topics: [plan('t', [])] }, never)
    const report = await a.session.publish([outgoing(main('t'), '1')], never)
    expect(report.failures.map(({ error, outcome }) => [code(error), outcome])).toEqual(failure === undefined ? [] : [[failure, 'failed']])
    expect(w.server.read(main('t'))).toHaveLength(stored)
    expect(w.server.stats().dropped).toBe(dropped)
  }
})

test('one bad message fails alone, and the rest of the batch is stored in order', async () => {
  const w = world({ capabilities: { limits: { messageBytes: 100 } } })
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  const report = await a.session.publish(
    [
      outgoing(main('t'), '1', { body: new Uint8Array(100) }),
      outgoing(main('t'), '2', { body: new Uint8Array(101) }),
      outgoing(main('t'), '3', { partition: 99 }),
      outgoing(main('absent'), '4'),
      outgoing(main('t'), '5'),
    ],
    never,
  )
  expect(report.failures.map(({ index, outcome, error }) => [index, outcome, code(error)])).toEqual([
    [1, 'failed', 'TOO_LARGE'],
    [2, 'failed', 'CONFLICT'],
    [3, 'failed', 'NOT_FOUND'],
  ])
  expect(w.server.read(main('t')).map((message) => message.id)).toEqual(['1', '5'])
})

test('messages without a partition are spread over all of them', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { keyed: false })] }, never)
  for (let index = 0; index < 8; index++) await send(a, main('t'), [`${index}`], { partition: null })
  const count = new Map<number, number>()
  for (const { partition } of w.server.read(main('t'))) count.set(partition, (count.get(partition) ?? 0) + 1)
  expect([...count.values()]).toEqual([2, 2, 2, 2])
})

test('a wire without headers carries the body alone', async () => {
  const w = world({ profile: 'mqtt' })
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  await send(a, main('t'), ['1'], { key: 'k', headers: { a: 'b' }, attributes: { type: 'x' }, time: 1 })
  expect(w.server.read(main('t'))).toMatchObject([{ id: null, key: null, headers: null, attributes: {}, time: null }])
})

test('foreign and undecodable messages are handed out as what they are', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  w.server.write('t', { body: Buffer.from('plain') })
  w.server.write('t', { body: Buffer.from('bad'), undecodable: 'odd headers', rawHeaders: { x: Buffer.from([255]) } })
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const got = await consumer.owned()[0]!.read(10)
  expect(got[0]!.content).toMatchObject({ id: null, key: null, attributes: {} })
  expect(got[0]!.position()).toBe('0:0')
  expect(got[1]!.content).toMatchObject({ undecodable: 'odd headers', headers: { x: Buffer.from([255]) } })
})

test('a publish waits for room, obeys its signal, and goes on when something left', async () => {
  const w = world({ capacityMessages: 2 })
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 }), plan('free', ['g'])] }, never)
  await send(a, main('t'), ['1', '2'])
  let done = false
  const waiting = send(a, main('t'), ['3']).then(() => {
    done = true
  })
  const given = new AbortController()
  const dropped = a.session.publish([outgoing(main('t'), 'given up')], given.signal)
  await w.calm()
  expect(done).toBe(false)
  expect(a.events.map((event) => event.name)).toContain('blocked')
  expect(w.server.stats().blocked).toBe(2)
  given.abort()
  expect((await dropped).failures).toMatchObject([{ index: 0, outcome: 'unknown' }])
  // Other topics have their own room, and dead letters need none.
  await send(a, main('free'), ['x'])
  await send(a, { topic: 't', role: 'dead', group: 'g' }, ['dead'], { slot: 's' })
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const got = await consumer.owned()[0]!.read(1)
  await consumer.owned()[0]!.settle(tokens(got))
  await waiting
  expect(w.server.read(main('t')).map((message) => message.id)).toEqual(['2', '3'])
})

test('a log cut above the position is an event, and reading goes on from the oldest', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  await send(a, main('t'), ['1', '2', '3'])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [first] = await consumer.owned()[0]!.read(1)
  w.server.trim('t', 0, 2)
  expect(a.events).toContainEqual({ name: 'position-lost', count: 2 })
  expect(await consumer.owned()[0]!.settle([first!.token])).toBe('stale')
  expect(ids(await consumer.owned()[0]!.read(10))).toEqual(['3'])
})

test('dead letters: one entry per slot, listed page by page, removed by entry', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  const dead = { topic: 't', role: 'dead', group: 'g' } as const
  for (const id of ['1', '2', '3', '4', '5']) await send(a, dead, [id], { slot: `slot ${id}` })
  await send(a, dead, ['2 again'], { slot: 'slot 2' })
  const page = await a.session.browse(dead, null, 3, never)
  expect(page.entries.map(idOf)).toEqual(['1', '2 again', '3'])
  const rest = await a.session.browse(dead, page.next, 3, never)
  expect(rest.entries.map(idOf)).toEqual(['4', '5'])
  expect(rest.next).toBeNull()
  expect(await a.session.remove(dead, [page.entries[1]!], never)).toBe('settled')
  expect(await a.session.remove(dead, [page.entries[1]!, page.entries[0]!], never)).toBe('stale')
  expect((await a.session.browse(dead, null, 10, never)).entries.map(idOf)).toEqual(['3', '4', '5'])
  await send(a, dead, ['1 anew'], { slot: 'slot 1' })
  expect((await a.session.browse(dead, null, 10, never)).entries.map(idOf)).toEqual(['3', '4', '5', '1 anew'])
})

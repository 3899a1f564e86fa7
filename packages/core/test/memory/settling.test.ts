import { expect, test } from 'vitest'
import type { MemoryServerOptions } from '../../src/memory/index.ts'
import type { Client, Consumer, World } from './driver.ts'
import { consume, idOf, ids, main, never, outgoing, plan, send, source, tokens, world } from './driver.ts'

async function reader(
  options: MemoryServerOptions = {},
  more: Parameters<typeof source>[2] = {},
): Promise<{ w: World; a: Client; consumer: Consumer }> {
  const w = world(options)
  const a = await w.client()
  await a.session.declare(
    { topics: [plan('t', ['g'], { partitions: 1, delays: options.profile === 'kafka' ? [1_000, 4_000] : [] }), plan('out', ['g'])] },
    never,
  )
  const consumer = await consume(a, source('t', 'g', more))
  await w.calm()
  return { w, a, consumer }
}

test('each: exactly what was settled stays settled, in whatever order', async () => {
  const { w, a, consumer } = await reader()
  await send(a, main('t'), ['1', '2', '3', '4', '5'])
  const got = await consumer.owned()[0]!.read(5)
  expect(await consumer.owned()[0]!.settle([got[3]!.token, got[1]!.token])).toBe('settled')
  expect(await consumer.owned()[0]!.settle([got[1]!.token])).toBe('stale')
  await consumer.owned()[0]!.release()
  await w.calm()
  expect(ids(await consumer.owned()[0]!.read(10))).toEqual(['1', '3', '5'])
  expect(w.server.settles('t', 'g')).toEqual({ settled: 2, stale: 1, handedOut: 8, repeated: 3 })
})

test('prefix: a token settles everything up to it', async () => {
  const { w, a, consumer } = await reader({ profile: 'kafka' })
  await send(a, main('t'), ['1', '2', '3', '4', '5'])
  const got = await consumer
    .owned()
    .find((each) => each.role === 'main')!
    .read(5)
  const [assignment] = consumer.owned().filter((each) => each.role === 'main')
  expect(got[0]!.deliveries).toBeNull()
  expect(await assignment!.settle(tokens(got.slice(0, 3)))).toBe('settled')
  expect(w.server.position('t', 'g')).toEqual([3])
  await assignment!.release()
  await w.calm()
  const again = consumer.owned().find((each) => each.role === 'main')
  expect(ids(await again!.read(10))).toEqual(['4', '5'])
})

test('a read waits for something, gives at most what was asked, and at most what may be unsettled', async () => {
  const { w, a, consumer } = await reader({}, { maxUnsettled: 4 })
  const [assignment] = consumer.owned()
  let first: readonly unknown[] | null = null
  const waiting = assignment!.read(3).then((got) => {
    first = got
    return got
  })
  await w.pass(60_000)
  expect(first).toBeNull()
  await send(a, main('t'), ['1', '2', '3', '4', '5', '6'])
  const got = await waiting
  expect(ids(got)).toEqual(['1', '2', '3'])
  expect(ids(await assignment!.read(3))).toEqual(['4'])
  const next = assignment!.read(3)
  await w.calm()
  expect(w.server.unsettled('t', 'g')).toBe(4)
  await assignment!.settle(tokens(got.slice(0, 2)))
  expect((await next).length).toBeGreaterThan(0)
  expect(w.server.unsettled('t', 'g')).toBeLessThanOrEqual(4)
})

test('one read gives at most maxBytes, and always one message', async () => {
  const { a, consumer } = await reader({}, { maxBytes: 300 })
  await send(a, main('t'), ['1', '2', '3'], { body: new Uint8Array(1_000) })
  const got = await consumer.owned()[0]!.read(3)
  expect(ids(got)).toEqual(['1'])
})

test('forward: outputs and settlement happen together or not at all', async () => {
  const { w, a, consumer } = await reader({}, { atomic: true })
  await send(a, main('t'), ['1', '2'])
  const [assignment] = consumer.owned()
  const got = await assignment!.read(2)
  const out = (id: string) => outgoing(main('out'), id)
  expect(await assignment!.settle([got[0]!.token], [out('a'), out('b')])).toBe('settled')
  expect(w.server.read(main('out')).map((message) => message.id)).toEqual(['a', 'b'])
  expect(await assignment!.settle([got[0]!.token], [out('again')])).toBe('stale')
  expect(await assignment!.settle([got[1]!.token], [out('c'), outgoing(main('absent'), 'd')])).toBe('unknown')
  expect(w.server.read(main('out'))).toHaveLength(2)
  expect(ids(await assignment!.read(1))).toEqual(['2'])
  w.server.expel(a.instance)
  expect(await assignment!.settle([got[1]!.token], [out('late')])).toBe('stale')
  expect(w.server.read(main('out'))).toHaveLength(2)
})

test('positions are the same each time a message comes', async () => {
  const { w, a, consumer } = await reader()
  await send(a, main('t'), ['1'])
  const first = (await consumer.owned()[0]!.read(1))[0]!.position()
  await consumer.owned()[0]!.release()
  await w.calm()
  expect((await consumer.owned()[0]!.read(1))[0]!.position()).toBe(first)
})

test('a right withdrawn ends the subscription with its cause, after lost', async () => {
  for (const operation of ['read', 'settle'] as const) {
    const { w, a, consumer } = await reader()
    const [assignment] = consumer.owned()
    await send(a, main('t'), ['1'])
    const got = await assignment!.read(1)
    w.server.deny(operation, 't')
    if (operation === 'read') expect(await assignment!.read(1)).toEqual([])
    else expect(await assignment!.settle(tokens(got))).toBe('stale')
    expect(assignment!.lost.aborted).toBe(true)
    await w.calm()
    expect(consumer.ended()).toBe(true)
    expect(String(consumer.failure())).toMatch(new RegExp(`${operation}.*"t"`))
  }
})

test('a slow group holds a thousand windows of settled messages cheaply, and gets all of its own', async () => {
  const { w, a, consumer } = await reader()
  const [assignment] = consumer.owned()
  const seen: (string | null)[] = []
  let stuck: unknown = null
  for (let round = 0; round < 100; round++) {
    await send(
      a,
      main('t'),
      Array.from({ length: 100 }, (_, index) => `${round * 100 + index}`),
    )
    for (let got = await assignment!.read(100); ; got = await assignment!.read(100)) {
      seen.push(...ids(got))
      if (stuck === null) stuck = got[0]!.token
      await assignment!.settle(tokens(got).filter((token) => token !== stuck))
      if (seen.length === (round + 1) * 100) break
    }
  }
  expect(seen).toEqual(Array.from({ length: 10_000 }, (_, index) => `${index}`))
  expect(w.server.read(main('t'))).toHaveLength(1)
  expect(w.server.unsettled('t', 'g')).toBe(1)
  await assignment!.settle([stuck])
  expect(w.server.read(main('t'))).toHaveLength(0)
  expect(w.server.position('t', 'g')).toEqual([10_000])
})

test('with a source of randomness reads give less than asked, and never out of order', async () => {
  let seed = 3
  const random = (): number => {
    seed = (seed * 16_807) % 2_147_483_647
    return (seed % 1_000) / 1_000
  }
  const { w, a, consumer } = await reader({ random })
  const all = Array.from({ length: 200 }, (_, index) => `${index}`)
  await send(a, main('t'), all)
  const sizes = new Set<number>()
  const seen: (string | null)[] = []
  while (seen.length < all.length) {
    const got = await consumer.owned()[0]!.read(20)
    sizes.add(got.length)
    seen.push(...got.map(idOf))
    await consumer.owned()[0]!.settle(tokens(got))
  }
  expect(seen).toEqual(all)
  expect(sizes.size).toBeGreaterThan(3)
  expect(w.server.remaining('t', 'g')).toBe(0)
})

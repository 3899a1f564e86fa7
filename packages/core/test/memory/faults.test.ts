import { expect, test } from 'vitest'
import type { Assignment } from '../../src/contract.ts'
import { explain } from '../../src/memory/explain.ts'
import type { MemoryServerOptions } from '../../src/memory/index.ts'
import type { Client, World } from './driver.ts'
import { consume, ids, main, never, outgoing, plan, send, source, tokens, world } from './driver.ts'

async function start(options: MemoryServerOptions = {}): Promise<{ w: World; a: Client }> {
  const w = world(options)
  const a = await w.client('a')
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  return { w, a }
}

const publish = (a: Client, id: string, signal: AbortSignal = never) => a.session.publish([outgoing(main('t'), id)], signal)

test('a cut: assignments are lost, open publishes are unknown, and the session comes back by itself', async () => {
  const { w, a } = await start()
  await send(a, main('t'), ['1', '2'])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [old] = consumer.owned()
  const got = await old!.read(2)
  const link = w.server.link('a')
  link.withhold(['publish'])
  const open = publish(a, '3')
  await w.calm()
  expect(link.open('publish')).toBe(1)
  link.cut()
  expect(old!.lost.aborted).toBe(true)
  const { failures } = await open
  expect([failures[0]!.outcome, explain(failures[0]!.error).code]).toEqual(['unknown', 'UNAVAILABLE'])
  expect(link.withheld).toBe(1)
  expect(w.server.read(main('t')).map((message) => message.id)).toEqual(['1', '2', '3'])
  expect(await old!.settle(tokens(got))).toBe('stale')
  link.heal()
  await w.pass(2_000)
  expect(a.statuses).toEqual(['recovering', 'connected'])
  expect(consumer.owned()).toHaveLength(1)
  expect(ids(await consumer.owned()[0]!.read(10))).toEqual(['1', '2', '3'])
})

test('reconnecting is polite: at most two tries a second, with growing gaps', async () => {
  const { w, a } = await start()
  const link = w.server.link('a')
  link.refuse(true)
  link.cut()
  await w.pass(20_000)
  const times = link.connects().slice(1)
  const gaps = times.slice(1).map((time, index) => time - times[index]!)
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(500)
  expect(gaps[2]).toBeGreaterThan(gaps[0]!)
  expect(Math.max(...gaps)).toBeLessThanOrEqual(3_000)
  expect(a.statuses).toEqual(['recovering'])
  link.heal()
  await w.pass(3_500)
  expect(a.statuses).toEqual(['recovering', 'connected'])
})

test('a publish without a link waits for one; given up before anything left, it failed', async () => {
  const { w, a } = await start()
  w.server.signal('SIGKILL')
  const given = new AbortController()
  const dropped = publish(a, 'never', given.signal)
  const held = publish(a, 'held')
  await w.pass(3_000)
  given.abort()
  expect((await dropped).failures[0]).toMatchObject({ outcome: 'failed' })
  w.server.start()
  await w.pass(4_000)
  expect((await held).failures).toEqual([])
  expect(w.server.read(main('t')).map((message) => message.id)).toEqual(['held'])
})

test('silence in either direction is noticed within two heartbeats, and what was open is unknown', async () => {
  for (const direction of ['up', 'down', 'both'] as const) {
    const { w, a } = await start({ heartbeatMs: 2_000 })
    const consumer = await consume(a, source('t', 'g'))
    await w.pass(10_300)
    const [old] = consumer.owned()
    w.server.link('a').silence(direction)
    const open = publish(a, '1')
    await w.pass(4_100 + (direction === 'up' ? 2_000 : 0))
    expect(a.statuses).toEqual(['recovering'])
    expect(old!.lost.aborted).toBe(true)
    expect((await open).failures[0]!.outcome).toBe('unknown')
    expect(w.server.read(main('t'))).toHaveLength(direction === 'down' ? 1 : 0)
    w.server.link('a').heal()
    await w.pass(15_000)
    expect(a.statuses.at(-1)).toBe('connected')
    expect(consumer.owned()).toHaveLength(1)
    expect(w.server.members('t', 'g')).toEqual(['a'])
  }
})

test('an owner that cannot be reached stops before its successor begins', async () => {
  for (const direction of ['up', 'down', 'both'] as const) {
    const { w, a } = await start({ leaseMs: 6_000 })
    const old = await consume(a, source('t', 'g'))
    const next = await consume(await w.client('b'), source('t', 'g'))
    await w.pass(5_000)
    const [assignment] = old.owned()
    expect(next.owned()).toEqual([])
    w.server.link('a').silence(direction)
    for (let at = 0; at < 10_000; at += 100) {
      await w.pass(100)
      if (next.owned().length > 0) expect(assignment!.lost.aborted).toBe(true)
    }
    expect(next.owned()).toHaveLength(1)
  }
})

test('slow is not broken: two seconds each way lose nothing, repeat nothing, and keep the order', async () => {
  const { w, a } = await start()
  const b = await w.client('b')
  for (const client of ['a', 'b']) w.server.link(client).delay(2_000, 100)
  const subscribing = consume(b, source('t', 'g'))
  await w.pass(5_000)
  const consumer = await subscribing
  const seen: (string | null)[] = []
  void (async () => {
    for (;;) {
      const got = await consumer.owned()[0]!.read(10)
      seen.push(...ids(got))
      void consumer.owned()[0]!.settle(tokens(got))
    }
  })()
  const sends: Promise<unknown>[] = []
  for (let index = 0; index < 50; index++) {
    sends.push(publish(a, `${index}`))
    await w.pass(200)
  }
  await w.pass(30_000)
  await Promise.all(sends)
  expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => `${index}`))
  expect([...a.statuses, ...b.statuses]).toEqual([])
  expect(w.server.remaining('t', 'g')).toBe(0)
})

test('narrow is not broken: messages take the time that their bytes need', async () => {
  const { w, a } = await start()
  w.server.link('a').throttle(64 * 1024)
  const before = w.clock.monotonic()
  let took = 0
  const sending = a.session.publish([outgoing(main('t'), '1', { body: new Uint8Array(128 * 1024) })], never).then(() => {
    took = w.clock.monotonic() - before
  })
  await w.pass(5_000)
  await sending
  expect(took).toBeGreaterThanOrEqual(2_000)
  expect(took).toBeLessThan(2_200)
  expect(a.statuses).toEqual([])
})

test('a settlement whose answer is lost is unknown, and is not made twice', async () => {
  const { w, a } = await start({ replyMs: 1_000 })
  await send(a, main('t'), ['1', '2'])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [assignment] = consumer.owned()
  const got = await assignment!.read(2)
  const link = w.server.link('a')
  link.withhold(['settle'])
  const settling = assignment!.settle([got[0]!.token])
  await w.pass(1_100)
  expect(await settling).toBe('unknown')
  expect(w.server.remaining('t', 'g')).toBe(1)
  link.heal()
  await w.pass(2_000)
  // It was settled, so it does not come again; the other one is still out.
  expect(w.server.unsettled('t', 'g')).toBe(1)
  expect(await assignment!.settle([got[1]!.token])).toBe('settled')
  expect(w.server.remaining('t', 'g')).toBe(0)
  expect(assignment!.lost.aborted).toBe(false)
})

test('what a silence shorter than two heartbeats held back arrives late, in order', async () => {
  const { w, a } = await start()
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const link = w.server.link('a')
  link.silence('both')
  const reports = [publish(a, '1'), publish(a, '2')]
  const reading = consumer.owned()[0]!.read(5)
  await w.pass(2_000)
  expect(w.server.read(main('t'))).toEqual([])
  link.heal()
  for (const report of reports) expect((await report).failures).toEqual([])
  expect(ids(await reading)[0]).toBe('1')
  expect(a.statuses).toEqual([])
})

test('a settlement that a frozen server answers too late is unknown, and stays settled', async () => {
  for (const profile of ['kafka', 'redis'] as const) {
    const { w, a } = await start({ profile, replyMs: 1_000 })
    await send(a, main('t'), ['1', '2'])
    const consumer = await consume(a, source('t', 'g'))
    await w.calm()
    const [assignment] = consumer.owned()
    const got = await assignment!.read(2)
    w.server.signal('SIGSTOP')
    const settling = assignment!.settle(tokens(got))
    await w.pass(1_500)
    w.server.signal('SIGCONT')
    await w.pass(2_000)
    expect(await settling).toBe('unknown')
    expect(w.server.position('t', 'g')).toEqual([2])
    expect(w.server.remaining('t', 'g')).toBe(0)
    expect(assignment!.lost.aborted).toBe(false)
  }
})

test('SIGKILL of the server: what was stored stays, positions too, and everybody comes back', async () => {
  const { w, a } = await start()
  await send(a, main('t'), ['1', '2', '3'])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [old] = consumer.owned()
  const got = await old!.read(2)
  await old!.settle([got[0]!.token])
  w.server.signal('SIGKILL')
  expect(w.server.state).toBe('down')
  expect(old!.lost.aborted).toBe(true)
  expect(w.server.members('t', 'g')).toEqual([])
  await w.pass(5_000)
  w.server.start()
  await w.pass(4_000)
  expect(ids(await consumer.owned()[0]!.read(10))).toEqual(['2', '3'])
})

test('of what travels when the server is killed a first part is stored, and all of it is unknown', async () => {
  const { w, a } = await start()
  const link = w.server.link('a')
  link.delay(1_000)
  const open = Array.from({ length: 10 }, (_, index) => publish(a, `${index}`))
  await w.pass(500)
  w.server.signal('SIGKILL')
  for (const report of await Promise.all(open)) expect(report.failures[0]!.outcome).toBe('unknown')
  const stored = w.server.read(main('t')).map((message) => message.id)
  expect(stored).toEqual(['0', '1', '2', '3', '4'])
})

test('a frozen server answers nothing; continued, it does what it still can, and leases that ran out are over', async () => {
  const { w, a } = await start()
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  w.server.signal('SIGSTOP')
  const open = publish(a, '1')
  await w.pass(10_000)
  expect(w.server.state).toBe('stopped')
  expect((await open).failures[0]!.outcome).toBe('unknown')
  expect(consumer.owned()).toEqual([])
  w.server.signal('SIGCONT')
  await w.pass(6_000)
  expect(w.server.read(main('t')).map((message) => message.id)).toEqual(['1'])
  expect(consumer.owned()).toHaveLength(1)
  expect(w.server.members('t', 'g')).toEqual(['a'])
  expect(w.server.stats().connections).toBe(1)
})

test('an emptied server: topics are declared again by whoever consumes them, with an event', async () => {
  const { w, a } = await start()
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  w.server.signal('SIGTERM')
  w.server.wipe()
  w.server.start()
  await w.pass(6_000)
  expect(a.events.map((event) => event.name)).toContain('position-lost')
  await send(a, main('t'), ['new'])
  expect(ids(await consumer.owned()[0]!.read(5))).toEqual(['new'])
})

test('denied is definite and local, for each operation', async () => {
  const { w, a } = await start()
  await a.session.declare({ topics: [plan('other', ['g'])] }, never)
  w.server.deny('publish', 't')
  const { failures } = await publish(a, '1')
  expect([failures[0]!.outcome, explain(failures[0]!.error).code]).toEqual(['failed', 'UNAUTHORIZED'])
  expect(String(failures[0]!.error)).toContain('publish on topic "t"')
  await send(a, main('other'), ['1'])
  w.server.deny('declare', null)
  expect(explain(await a.session.declare({ topics: [plan('t', [])] }, never).catch((error: unknown) => error)).code).toBe('UNAUTHORIZED')
  w.server.deny('connect', null)
  expect(explain(await w.client('b').catch((error: unknown) => error)).code).toBe('UNAUTHORIZED')
  w.server.allow()
  await send(a, main('t'), ['1'])
})

test('calls that wait for an answer can be given up', async () => {
  const { w, a } = await start()
  w.server.link('a').silence('both')
  const given = new AbortController()
  const looking = a.session.inspect('t', 'g', given.signal).catch((error: unknown) => explain(error).code)
  await w.calm()
  given.abort()
  expect(await looking).toBe('CANCELLED')
  expect(w.clock.pending()).toBeGreaterThanOrEqual(0)
})

test('connecting waits for a server that comes late, and gives up with its signal', async () => {
  const w = world()
  w.server.signal('SIGTERM')
  const opening = w.client('late')
  await w.pass(5_000)
  w.server.start()
  await w.pass(4_000)
  expect((await opening).instance).toBe('late')
})

test('what a frozen client was sent arrives when it thaws, in order, and nothing was repeated', async () => {
  const { w, a } = await start({ leaseMs: 20_000 })
  const consumer = await consume(a, source('t', 'g'))
  const b = await w.client('b')
  await w.calm()
  const [assignment] = consumer.owned()
  const reading = assignment!.read(10)
  w.server.link('a').freeze()
  await send(b, main('t'), ['1', '2'])
  await w.pass(8_000)
  w.server.link('a').thaw()
  await w.pass(100)
  expect(ids(await reading)).toEqual(['1', '2'])
  expect(assignment!.lost.aborted).toBe(false)
  expect(w.server.settles('t', 'g').repeated).toBe(0)
})

test('after the last session closed no timer is left', async () => {
  const { w, a } = await start()
  const consumer = await consume(a, source('t', 'g'))
  await send(a, main('t'), ['1'], { delayMs: 60_000 })
  await w.pass(20_000)
  expect(consumer.owned()).toHaveLength(1)
  await a.session.close(never)
  await w.calm()
  expect(w.clock.pending()).toBe(0)
})

test('a member whose acceptance was never heard joins once when the link is back, and leaves without a trace', async () => {
  const w = world({ leaseMs: 8_000 })
  const a = await w.client('a')
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  const link = w.server.link('a')
  link.withhold(['subscribe'])
  const leaving = new AbortController()
  const yielded: Assignment[] = []
  const subscribing = a.session.subscribe(source('t', 'g'), leaving.signal)
  await w.pass(1_000)
  expect(link.withheld).toBe(1)
  link.heal()
  await w.pass(12_000)
  const iterable = await subscribing
  void (async () => {
    for await (const assignment of iterable) yielded.push(assignment)
  })()
  await w.calm()
  expect(w.server.members('t', 'g')).toEqual(['a'])
  expect(yielded.filter((each) => !each.lost.aborted)).toHaveLength(4)
  await w.pass(20_000)
  expect(a.events).toEqual([])
  leaving.abort()
  await w.calm()
  for (const each of yielded) await each.release()
  await w.calm()
  expect(w.server.members('t', 'g')).toEqual([])
})

test('the server forgets a client that closed, unless somebody has its link in hand', async () => {
  const w = world()
  const kept = w.server.link('client-3')
  for (let count = 0; count < 200; count++) await (await w.client()).session.close(never)
  await w.pass(60_000)
  expect(w.server.links().map(({ instance }) => instance)).toEqual(['client-3'])
  expect(kept.connects()).toHaveLength(1)
  expect(w.server.stats().connections).toBe(0)
})

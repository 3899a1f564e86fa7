// What the server and its client do to those who do not know it, each under the name it has among us.

import { inspect } from 'node:util'
import { connect } from '@posthorn/core'
import { redis } from '@posthorn/redis'
import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { scripts } from '../../src/scripts.ts'
import {
  assignment,
  content,
  describeLive,
  idsOf,
  join,
  message,
  never,
  type Opened,
  open,
  plan,
  type Relay,
  relay,
  source,
  take,
  until,
  within,
  witness,
} from './server.ts'

vi.setConfig({ testTimeout: 30_000 })

describeLive('traps of Redis and its client', () => {
  let broker: RunningBroker
  let see: Redis
  const opened: Opened[] = []
  const relays: Relay[] = []
  let topics = 0

  beforeAll(async () => {
    broker = await startBroker('redis', { settings: ['appendfsync no'] })
    see = await witness(broker.url)
  }, 60_000)
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
    await Promise.all(relays.splice(0).map((each) => each.close()))
  })
  afterAll(async () => {
    see?.disconnect()
    await broker?.stop()
  })

  async function start(url = broker.url): Promise<Opened> {
    const one = await open({ url })
    opened.push(one)
    return one
  }
  async function way(): Promise<Relay> {
    const one = await relay(broker.port)
    relays.push(one)
    return one
  }
  async function declared(one: Opened, over: Parameters<typeof plan>[1] = {}): Promise<string> {
    const name = `traps.t${++topics}`
    await one.session.declare({ topics: [plan(name, over)] }, never)
    return name
  }

  it('S1, S2: 100 publishes whose answers are lost are 100 unknown and 100 entries, at once and not repeated', async () => {
    const link = await way()
    const one = await start(link.url)
    const topic = await declared(one)
    await one.session.publish([message(topic, 'first')], never)
    link.dropAnswers = true
    const publishes = Array.from({ length: 100 }, (_, n) => one.session.publish([message(topic, `m-${n}`)], never))
    await until('all are stored', async () => (await see.xlen(`{${topic}}:0`)) === 101)
    link.cut()
    link.dropAnswers = false
    const reports = await within(3000, 'all are answered', Promise.all(publishes))
    expect(reports.map(({ failures }) => failures.map(({ outcome }) => outcome))).toEqual(Array.from({ length: 100 }, () => ['unknown']))
    await until('it is connected again', () => one.states.at(-1) === 'connected')
    const after = await one.session.publish([message(topic, 'after')], never)
    expect(after.failures).toEqual([])
    expect(await see.xlen(`{${topic}}:0`)).toBe(102)
  })

  it('S3, S17: entries that were trimmed while they were pending are told, and do not come back for ever', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish(
      ['a', 'b', 'c'].map((id) => message(topic, id)),
      never,
    )
    const first = await join(one.session, source(topic))
    await take(await assignment(first), 3)
    await one.session.close(AbortSignal.abort())
    await see.xtrim(`{${topic}}:0`, 'MAXLEN', 1)
    const two = await start()
    await two.session.declare({ topics: [plan(topic)] }, never)
    const second = await join(two.session, source(topic))
    const [left] = await take(await assignment(second), 1)
    expect(content(left).id).toBe('c')
    await until('the loss is told', () => two.events.some(({ name, detail }) => name === 'position-lost' && detail.count === 2))
    await until('the list is clean', async () => ((await see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0] === 1)
    await second.leave()
  })

  it('S4, S13: every pending list belongs to the name "owner", and nobody claims, deletes consumers or reads for himself', async () => {
    const all = Object.values(scripts)
      .map(({ source: text }) => text)
      .join('\n')
    expect(all).not.toMatch(/XAUTOCLAIM|DELCONSUMER/)
    expect(all.match(/'XREADGROUP','GROUP',ARGV\[3\],'owner'/g)).toHaveLength(all.match(/'XREADGROUP'/g)?.length ?? 0)
    expect(all).not.toMatch(/BLOCK/)
  })

  it('S5: bytes 00 FF FE 80 come back as they are', async () => {
    const one = await start()
    const topic = await declared(one)
    const body = Buffer.from([0x00, 0xff, 0xfe, 0x80])
    await one.session.publish([message(topic, 'b', { body })], never)
    const member = await join(one.session, source(topic))
    const [got] = await take(await assignment(member), 1)
    expect(Buffer.from(content(got).body ?? [])).toEqual(body)
    await member.leave()
  })

  it('S6: a wait in progress slows no settlement down', async () => {
    const one = await start()
    const topic = await declared(one)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    for (let n = 0; n < 20; n++) {
      await one.session.publish([message(topic, `m-${n}`)], never)
      const [got] = await take(mine, 1)
      const waiting = mine.read(1)
      const before = performance.now()
      expect(await mine.settle([got?.token])).toBe('settled')
      expect(performance.now() - before).toBeLessThan(500)
      void waiting
      await one.session.publish([message(topic, `n-${n}`)], never)
      const [other] = await within(5000, 'the open read', waiting)
      await mine.settle([other?.token])
    }
    await member.leave()
  })

  it('S7: a connection that only looks open is noticed, and consuming goes on within 5 s', async () => {
    const link = await way()
    const one = await start(link.url)
    const two = await start()
    const topic = await declared(one)
    await two.session.declare({ topics: [plan(topic)] }, never)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const reading = mine.read(10)
    link.silent = true
    await until('silence is noticed', () => one.states.includes('recovering'), 5000)
    link.cut()
    link.silent = false
    await two.session.publish([message(topic, 'after')], never)
    const got = await until(
      'it is delivered',
      async () => {
        const some = await reading
        if (some.length > 0) return some
        const again = member.all.find((each) => each.role === 'main' && !each.lost.aborted)
        return again === undefined ? undefined : await again.read(10)
      },
      5000,
    )
    expect(idsOf(got)).toEqual(['after'])
  })

  it('S8: after FLUSHALL the group is made again from 0, with an event and without a hot loop', async () => {
    const one = await start()
    const topic = await declared(one)
    const member = await join(one.session, source(topic))
    void (await assignment(member)).read(1)
    await broker.wipe()
    await until('it owns the partition anew', () => member.all.filter(({ role }) => role === 'main').length > 1)
    const anew = (await assignment(member)).read(1)
    await until('the loss is told', () => one.events.some(({ name }) => name === 'position-lost'))
    const stored = await until('a publish works again', async () => {
      const { failures } = await one.session.publish([message(topic, 'after')], never)
      return failures.length === 0
    })
    expect(stored).toBe(true)
    expect(idsOf(await within(10_000, 'a delivery', anew))).toEqual(['after'])
    expect(one.events.length).toBeLessThan(10)
    await member.leave()
  })

  it('S9: what was sent before the first member joined is delivered', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish([message(topic, 'early')], never)
    const member = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(member), 1))).toEqual(['early'])
    await member.leave()
  })

  it('S10: a message that is held for three leases stays with its owner', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish([message(topic, 'held')], never)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const [held] = await take(mine, 1)
    const until3 = performance.now() + 3 * 2000
    await until('three leases are over', () => performance.now() > until3)
    expect(mine.lost.aborted).toBe(false)
    expect(await mine.settle([held?.token])).toBe('settled')
    expect(member.all.filter(({ role }) => role === 'main')).toHaveLength(1)
    await member.leave()
  })

  it('S11, S19: 1,000 pending of a dead owner come in order, page by page, then what is new', async () => {
    const one = await start()
    const topic = await declared(one)
    const ids = Array.from({ length: 1000 }, (_, n) => `m-${n}`)
    for (let at = 0; at < 1000; at += 500)
      await one.session.publish(
        ids.slice(at, at + 500).map((id) => message(topic, id)),
        never,
      )
    const first = await join(one.session, source(topic, { maxUnsettled: 1000 }))
    await take(await assignment(first), 1000)
    await one.session.close(AbortSignal.abort())
    const two = await start()
    await two.session.declare({ topics: [plan(topic)] }, never)
    await two.session.publish(
      Array.from({ length: 100 }, (_, n) => message(topic, `new-${n}`)),
      never,
    )
    const second = await join(two.session, source(topic, { maxUnsettled: 5000, native: { count: 100 } }))
    const got = await take(await assignment(second), 1100)
    expect(idsOf(got)).toEqual([...ids, ...Array.from({ length: 100 }, (_, n) => `new-${n}`)])
    expect(got[0]?.deliveries).toBe(2)
    expect(got.at(-1)?.deliveries).toBe(1)
    await second.leave()
  })

  it('S15: two equal delayed messages both arrive', async () => {
    const one = await start()
    const topic = await declared(one)
    const delayed = { id: 'same', body: Buffer.from('same'), delayMs: 200 }
    await one.session.publish([message(topic, 'same', delayed), message(topic, 'same', delayed)], never)
    const member = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(member), 2))).toEqual(['same', 'same'])
    expect(await see.zcard(`{${topic}}:delay`)).toBe(0)
    expect(await see.xlen(`{${topic}}:delay:entries`)).toBe(0)
    await member.leave()
  })

  it('S16: an entry that cannot be read rejects no neighbour', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish([message(topic, 'before')], never)
    await see.xadd(`{${topic}}:0`, '*', 'ce_id', Buffer.from([0xff, 0xfe]), 'data', 'x')
    await one.session.publish([message(topic, 'after')], never)
    const member = await join(one.session, source(topic))
    const got = await take(await assignment(member), 3)
    expect(got.map(({ content: each }) => ('undecodable' in each ? 'bad' : each.id))).toEqual(['before', 'bad', 'after'])
    await member.leave()
  })

  it('S18: a server that forgot its scripts is told them again', async () => {
    const one = await start()
    const topic = await declared(one)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    for (let n = 0; n < 3; n++) {
      await see.script('FLUSH')
      const { failures } = await one.session.publish([message(topic, `m-${n}`)], never)
      expect(failures).toEqual([])
      await see.script('FLUSH')
      const [got] = await take(mine, 1)
      await see.script('FLUSH')
      expect(await mine.settle([got?.token])).toBe('settled')
    }
    await member.leave()
  })

  it('S23: out of memory is definite, and needs no restart', async () => {
    const one = await start()
    const topic = await declared(one)
    await see.config('SET', 'maxmemory', '1')
    try {
      const { failures } = await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)
      expect(failures.map(({ outcome }) => outcome)).toEqual(['failed', 'failed'])
      expect(one.adapter.explain(failures[0]?.error)).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'failed' })
    } finally {
      await see.config('SET', 'maxmemory', '0')
    }
    expect(await see.xlen(`{${topic}}:0`)).toBe(0)
    expect((await one.session.publish([message(topic, 'c')], never)).failures).toEqual([])
  })

  it('S24: a wrong password is one clear error, and the password is nowhere in it', async () => {
    const url = broker.url.replace('redis://', 'redis://nobody:canary-77123@')
    const error: unknown = await connect(redis({ url }), { log: false, connectTimeoutMs: 5000 }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('canary-77123')
  })

  it('S26: who lost its partition while it waited gets nothing and settles nothing', async () => {
    const one = await start()
    const two = await start()
    const topic = await declared(one)
    await one.session.publish([message(topic, 'first')], never)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const [held] = await take(mine, 1)
    const waiting = mine.read(10)
    // Somebody else owns it from now on, as after a lease that ran out.
    await see.hset(`{${topic}}:own:workers`, '0', `other/1|${Date.now() + 60_000}`)
    await two.session.declare({ topics: [plan(topic)] }, never)
    await two.session.publish(
      Array.from({ length: 10 }, (_, n) => message(topic, `m-${n}`)),
      never,
    )
    expect(await within(5000, 'the open read', waiting)).toEqual([])
    expect(mine.lost.aborted).toBe(true)
    expect(await mine.settle([held?.token])).toBe('stale')
    await mine.release()
    expect(((await see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0]).toBe(1)
    expect(await see.hget(`{${topic}}:own:workers`, '0')).toMatch(/^other/)
  })

  it('S27: five polite hand-overs leave the count of deliveries as it was', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)
    for (let round = 0; round < 5; round++) {
      const member = await join(one.session, source(topic))
      const got = await take(await assignment(member), 2)
      expect(got.map(({ deliveries }) => deliveries)).toEqual([1, 1])
      await member.leave()
    }
  })
})

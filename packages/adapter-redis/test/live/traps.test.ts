// What the server and its client do to those who do not know it, each under the name it has among us.

import { inspect } from 'node:util'
import { connect, topic as defineTopic, unchecked } from '@posthorn/core'
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

  async function start(url = broker.url, leaseMs = 2000): Promise<Opened> {
    const one = await open({ url, leaseMs })
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

  it('S1, S2, PUB-9, PUB-17: 100 publishes whose answers are lost are 100 unknown and 100 entries, at once and not repeated', async () => {
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

  it('S3, S17, RDS-2: entries that were trimmed while they were pending are told, and do not come back for ever', async () => {
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

  it('S8, RDS-3: after FLUSHALL the group is made again from 0, with an event and without a hot loop', async () => {
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

  it('S10, RDS-4, FLOW-4: a message that is held for three leases stays with its owner, whether he reads on or not, and comes once', async () => {
    const one = await start(broker.url, 1000)
    const topic = await declared(one)
    await one.session.publish([message(topic, 'held')], never)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const [held] = await take(mine, 1)
    const since = performance.now()
    await until('nobody reads for a lease and a half', () => performance.now() > since + 1500)
    const more: unknown[] = []
    void mine.read(1).then((deliveries) => more.push(...deliveries))
    await until('three leases are over', () => performance.now() > since + 3000)
    expect(mine.lost.aborted).toBe(false)
    expect(more).toEqual([])
    expect(await mine.settle([held?.token])).toBe('settled')
    expect(member.all.filter(({ role }) => role === 'main')).toHaveLength(1)
    await member.leave()
  })

  it('S11, S19, S25, RDS-1: 1,000 pending of a dead owner come in order, page by page, then what is new', async () => {
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

  it('S12: members that come and go dead-letter no message whose handler runs', async () => {
    const topic = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ readonly k: string }>(), key: ({ k }) => k, groups: ['workers'] })
    const brokers = await Promise.all([0, 1].map(() => connect(redis({ url: broker.url, leaseMs: 1000 }), { log: false })))
    const [first, second] = brokers as [(typeof brokers)[0], (typeof brokers)[0]]
    try {
      let open = (): void => {}
      const gate = new Promise<void>((resolve) => {
        open = resolve
      })
      let [starts, ends] = [0, 0]
      const options = { group: 'workers', retry: false, maxDeliveries: 1 } as const
      await first.consume(topic, options, async () => {
        starts++
        await gate
        ends++
      })
      await first.producer(topic).send({ k: 'a' })
      await until('the handler runs', () => starts === 1)
      const since = performance.now()
      for (let round = 0; round < 3 || performance.now() < since + 2000; round++) {
        const other = await second.consume(topic, options, () => void starts++)
        await other.close()
      }
      open()
      await until('it is settled', async () => ends === 1 && (await first.lag(topic, 'workers')).backlog === 0)
      expect(starts).toBe(1)
      expect(await see.xlen(`{${topic.name}}:dead:workers`)).toBe(0)
    } finally {
      await Promise.all(brokers.map((each) => each.close()))
    }
  })

  it('S14, RDS-5: what is promoted, forwarded, parked or dead-lettered leaves its old place and enters the new one in one step', async () => {
    const one = await start()
    const topic = await declared(one)
    const monitor = await see.monitor()
    const steps: string[][] = []
    monitor.on('monitor', (_time: string, words: string[], from: string) => {
      if (from !== 'lua') steps.push([])
      else steps.at(-1)?.push(`${words[0]?.toUpperCase()} ${words[1]}`)
    })
    // Done, and never the one without the other: whoever dies in between would lose it.
    const together = (leaves: string, ...enters: string[]): boolean => {
      const left = steps.filter((step) => step.includes(leaves))
      expect(left.filter((step) => !enters.some((each) => step.includes(each)))).toEqual([])
      return left.length > 0
    }
    try {
      const member = await join(one.session, source(topic, { atomic: true }))
      const mine = await assignment(member)
      await one.session.publish([message(topic, 'delayed', { delayMs: 100 })], never)
      const taken = await take(mine, 1)
      await until('promoted in one step', () => together(`ZREM {${topic}}:delay`, `XADD {${topic}}:0`))
      await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)
      taken.push(...(await take(mine, 2)))
      const places = [
        ['main', null, `XADD {${topic}}:0`],
        ['retry', 'workers', `ZADD {${topic}}:retry:workers`],
        ['dead', 'workers', `XADD {${topic}}:dead:workers`],
      ] as const
      const written = places.map(([, , command]) => command)
      for (const [at, [role, group, command]] of places.entries()) {
        const output = message(topic, `out-${role}`, { place: { topic, role, group }, slot: role === 'dead' ? 'slot' : null })
        expect(await mine.settle([taken[at]?.token], [output])).toBe('settled')
        await until(`${role} in one step`, () => together(`XACK {${topic}}:0`, ...written) && steps.flat().includes(command))
      }
      await member.leave()
    } finally {
      monitor.disconnect()
    }
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

  it('S20: two members, of whom one comes later, keep the order of every key and never handle one key at once', async () => {
    const topic = defineTopic(`traps.t${++topics}`, {
      schema: unchecked<{ readonly k: string; readonly n: number }>(),
      key: ({ k }) => k,
      groups: ['workers'],
      partitions: 4,
    })
    const brokers = await Promise.all([0, 1].map(() => connect(redis({ url: broker.url, leaseMs: 1000 }), { log: false })))
    const [first, second] = brokers as [(typeof brokers)[0], (typeof brokers)[0]]
    try {
      const handled = new Map<string, number[]>()
      const running = new Set<string>()
      const byMember: [number, number] = [0, 0]
      const handler =
        (member: 0 | 1) =>
        async ({ value: { k, n } }: { readonly value: { readonly k: string; readonly n: number } }): Promise<void> => {
          if (running.has(k)) throw new Error(`two handlers of ${k}`)
          running.add(k)
          handled.set(k, [...(handled.get(k) ?? []), n])
          byMember[member]++
          await new Promise((resolve) => setImmediate(resolve))
          running.delete(k)
        }
      const options = { group: 'workers', retry: false, concurrency: 8, maxUnsettled: 16 } as const
      await first.consume(topic, options, handler(0))
      const expected = Array.from({ length: 50 }, (_, n) => n)
      const load = async (from: number): Promise<void> => {
        const values = expected.slice(from, from + 25).flatMap((n) => Array.from({ length: 8 }, (_, k) => ({ value: { k: `k${k}`, n } })))
        await first.producer(topic).sendBatch(values)
      }
      await load(0)
      await second.consume(topic, options, handler(1))
      await until('both own something', async () => {
        const owned = Object.values(await see.hgetall(`{${topic.name}}:own:workers`)).filter((row) => row.includes('/'))
        return owned.length === 4 && new Set(owned.map((row) => row.split('/')[0])).size === 2
      })
      await load(25)
      await until('all are handled', () => [...handled.values()].reduce((sum, { length }) => sum + length, 0) >= 400)
      for (const [, numbers] of handled) expect(numbers).toEqual(expected)
      expect(byMember[1]).toBeGreaterThan(0)
      expect(await see.xlen(`{${topic.name}}:dead:workers`)).toBe(0)
    } finally {
      await Promise.all(brokers.map((each) => each.close()))
    }
  })

  it('S21, S22: a server that may lose what it acknowledged is told once, where it may be asked', async () => {
    const told = ({ events }: Opened): number => events.filter(({ name }) => name === 'not-durable').length
    const durable = await start()
    await see.config('SET', 'appendonly', 'no')
    await see.call('ACL', 'SETUSER', 'quiet', 'on', '>pass', '~*', '&*', '+@all', '-config')
    try {
      const volatile = await start()
      await until('it is told', () => told(volatile) === 1)
      expect(volatile.events.find(({ name }) => name === 'not-durable')?.detail.note).toContain('appendonly')
      // Whoever may not ask is told nothing, and works.
      const quiet = await start(broker.url.replace('redis://', 'redis://quiet:pass@'))
      const topic = await declared(quiet)
      expect((await quiet.session.publish([message(topic, 'a')], never)).failures).toEqual([])
      expect([told(quiet), told(durable), told(volatile)]).toEqual([0, 0, 1])
    } finally {
      await see.config('SET', 'appendonly', 'yes')
      await see.call('ACL', 'DELUSER', 'quiet')
    }
  })

  it('S23, RDS-7: out of memory is definite, and needs no restart', async () => {
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

  it('S24, SEC-1: a wrong password is one clear error, and the password is nowhere in it', async () => {
    const url = broker.url.replace('redis://', 'redis://nobody:canary-77123@')
    const error: unknown = await connect(redis({ url }), { log: false, connectTimeoutMs: 5000 }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('canary-77123')
    // Core cleans what it passes on; the adapter gives it nothing to clean.
    const raw: unknown = await open({ url }).catch((reason: unknown) => reason)
    expect(raw).toBeInstanceOf(Error)
    expect(inspect(raw, { depth: 10, showHidden: true })).not.toContain('canary-77123')
  })

  it('S26, RDS-8: who lost its partition while it waited gets nothing and settles nothing', async () => {
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

  it('S27, RBL-9: five polite hand-overs leave the count of deliveries as it was', async () => {
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

  it('RDS-9: a connection that is back within half a lease costs nothing: same partition, same token, settlements count', async () => {
    const link = await way()
    const one = await start(link.url, 6000)
    const topic = await declared(one)
    await one.session.publish(
      Array.from({ length: 10 }, (_, n) => message(topic, `m-${n}`)),
      never,
    )
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const held = await take(mine, 10)
    const token = async (): Promise<string | undefined> => (await see.hget(`{${topic}}:own:workers`, '0'))?.split('|')[0]
    const before = await token()
    link.cut()
    await until('it is noticed', () => one.states.includes('recovering'))
    await until('it is back', () => one.states.at(-1) === 'connected')
    const until2 = performance.now() + 2500
    const more: unknown[] = []
    void mine.read(10).then((deliveries) => more.push(...deliveries))
    await until('two steps are over', () => performance.now() > until2)
    expect(mine.lost.aborted).toBe(false)
    expect(more).toEqual([])
    expect(await token()).toBe(before)
    expect(await mine.settle(held.map((each) => each.token))).toBe('settled')
    expect(member.all.filter(({ role }) => role === 'main')).toHaveLength(1)
    await member.leave()
  })

  it('PUB-18: what is asked for while the connection is away is stored when it is back', async () => {
    const link = await way()
    const one = await start(link.url)
    const topic = await declared(one)
    link.cut()
    await until('it is noticed', () => one.states.includes('recovering'))
    const reports = await Promise.all(Array.from({ length: 50 }, (_, n) => one.session.publish([message(topic, `m-${n}`)], never)))
    expect(reports.flatMap(({ failures }) => failures)).toEqual([])
    expect(await see.xlen(`{${topic}}:0`)).toBe(50)
  })

  it('LIFE-14: while the connection that owns is away it is recovering, whatever the others do', async () => {
    const one = await start()
    const topic = await declared(one)
    const member = await join(one.session, source(topic))
    await assignment(member)
    const clients = String(await see.client('LIST')).split('\n')
    const ids = clients.filter((line) => /name=\S+:owner /.test(line)).map((line) => /\bid=(\d+)/.exec(line)?.[1] ?? '')
    expect(ids).toHaveLength(1)
    await see.client('KILL', 'ID', ids[0] as string)
    await until('it is told', () => one.states.includes('recovering'), 3000)
    await until('it is back', () => one.states.at(-1) === 'connected')
    await member.leave()
  })
})

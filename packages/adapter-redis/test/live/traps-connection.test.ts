// What the server and its client do to those who do not know it, each under the name it has among us.

import { inspect } from 'node:util'
import { assignment, idsOf, join, message, never, type Opened, plan, source, take, until, within } from '@posthorn/conformance/live'
import { connect } from '@posthorn/core'
import { redis } from '@posthorn/redis'
import { expect, it, vi } from 'vitest'
import { onRedis } from './on-redis.ts'
import { open } from './server.ts'

vi.setConfig({ testTimeout: 30_000 })

onRedis('traps of the connection', (on) => {
  it('S1, S2, PUB-9, PUB-17: 100 publishes whose answers are lost are 100 unknown and 100 entries, at once and not repeated', async () => {
    const link = await on.way()
    const one = await on.start({ url: link.url })
    const topic = await on.declared(one)
    await one.session.publish([message(topic, 'first')], never)
    link.dropAnswers = true
    const publishes = Array.from({ length: 100 }, (_, n) => one.session.publish([message(topic, `m-${n}`)], never))
    await until('all are stored', async () => (await on.see.xlen(`{${topic}}:0`)) === 101)
    link.cut()
    link.dropAnswers = false
    const reports = await within(3000, 'all are answered', Promise.all(publishes))
    expect(reports.map(({ failures }) => failures.map(({ outcome }) => outcome))).toEqual(Array.from({ length: 100 }, () => ['unknown']))
    await until('it is connected again', () => one.states.at(-1) === 'connected')
    const after = await one.session.publish([message(topic, 'after')], never)
    expect(after.failures).toEqual([])
    expect(await on.see.xlen(`{${topic}}:0`)).toBe(102)
  })

  it('LIFE-8: close ends when it is told that time is up, also where the server does not close its end, and leaves no timer behind', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    await assignment(await join(one.session, source(topic)))
    await on.broker.signal('SIGSTOP')
    try {
      const enough = new AbortController()
      const closed = one.session.close(enough.signal)
      await until('its connections wait for the server', () => one.timers.size >= 2)
      enough.abort()
      await within(300, 'it ends at once', closed)
      expect(one.timers.size).toBe(0)
    } finally {
      await on.broker.signal('SIGCONT')
    }
  })

  it('S6: a wait in progress slows no settlement down', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
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
    const link = await on.way()
    const one = await on.start({ url: link.url })
    const two = await on.start()
    const topic = await on.declared(one)
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

  it('S18: a server that forgot its scripts is told them again', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    for (let n = 0; n < 3; n++) {
      await on.see.script('FLUSH')
      const { failures } = await one.session.publish([message(topic, `m-${n}`)], never)
      expect(failures).toEqual([])
      await on.see.script('FLUSH')
      const [got] = await take(mine, 1)
      await on.see.script('FLUSH')
      expect(await mine.settle([got?.token])).toBe('settled')
    }
    await member.leave()
  })

  it('S21, S22: a server that may lose what it acknowledged is told once, where it may be asked', async () => {
    const told = ({ events }: Opened): number => events.filter(({ name }) => name === 'not-durable').length
    const durable = await on.start()
    await on.see.config('SET', 'appendonly', 'no')
    await on.see.call('ACL', 'SETUSER', 'quiet', 'on', '>pass', '~*', '&*', '+@all', '-config')
    try {
      const volatile = await on.start()
      await until('it is told', () => told(volatile) === 1)
      expect(volatile.events.find(({ name }) => name === 'not-durable')?.detail.note).toContain('appendonly')
      // Whoever may not ask is told nothing, and works.
      const quiet = await on.start({ url: on.broker.url.replace('redis://', 'redis://quiet:pass@') })
      const topic = await on.declared(quiet)
      expect((await quiet.session.publish([message(topic, 'a')], never)).failures).toEqual([])
      expect([told(quiet), told(durable), told(volatile)]).toEqual([0, 0, 1])
    } finally {
      await on.see.config('SET', 'appendonly', 'yes')
      await on.see.call('ACL', 'DELUSER', 'quiet')
    }
  })

  it('S23, RDS-7: out of memory is definite, and needs no restart', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    await on.see.config('SET', 'maxmemory', '1')
    try {
      const { failures } = await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)
      expect(failures.map(({ outcome }) => outcome)).toEqual(['failed', 'failed'])
      expect(one.adapter.explain(failures[0]?.error)).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'failed' })
    } finally {
      await on.see.config('SET', 'maxmemory', '0')
    }
    expect(await on.see.xlen(`{${topic}}:0`)).toBe(0)
    expect((await one.session.publish([message(topic, 'c')], never)).failures).toEqual([])
  })

  it('S24, SEC-1: a wrong password is one clear error, and the password is nowhere in it', async () => {
    const url = on.broker.url.replace('redis://', 'redis://nobody:canary-77123@')
    const error: unknown = await connect(redis({ url }), { log: false, connectTimeoutMs: 5000 }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('canary-77123')
    // Core cleans what it passes on; the adapter gives it nothing to clean.
    const raw: unknown = await open({ url }).catch((reason: unknown) => reason)
    expect(raw).toBeInstanceOf(Error)
    expect(inspect(raw, { depth: 10, showHidden: true })).not.toContain('canary-77123')
  })

  it('RDS-9: a connection that is back within half a lease costs nothing: same partition, same token, settlements count', async () => {
    const link = await on.way()
    const one = await on.start({ url: link.url, leaseMs: 6000 })
    const topic = await on.declared(one)
    await one.session.publish(
      Array.from({ length: 10 }, (_, n) => message(topic, `m-${n}`)),
      never,
    )
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const held = await take(mine, 10)
    const token = async (): Promise<string | undefined> => (await on.see.hget(`{${topic}}:own:workers`, '0'))?.split('|')[0]
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
    const link = await on.way()
    const one = await on.start({ url: link.url })
    const topic = await on.declared(one)
    link.cut()
    await until('it is noticed', () => one.states.includes('recovering'))
    const reports = await Promise.all(Array.from({ length: 50 }, (_, n) => one.session.publish([message(topic, `m-${n}`)], never)))
    expect(reports.flatMap(({ failures }) => failures)).toEqual([])
    expect(await on.see.xlen(`{${topic}}:0`)).toBe(50)
  })

  it('LIFE-14: while the connection that owns is away it is recovering, whatever the others do', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const member = await join(one.session, source(topic))
    await assignment(member)
    const clients = String(await on.see.client('LIST')).split('\n')
    const ids = clients.filter((line) => /name=\S+:owner /.test(line)).map((line) => /\bid=(\d+)/.exec(line)?.[1] ?? '')
    expect(ids).toHaveLength(1)
    await on.see.client('KILL', 'ID', ids[0] as string)
    await until('it is told', () => one.states.includes('recovering'), 3000)
    await until('it is back', () => one.states.at(-1) === 'connected')
    await member.leave()
  })
})

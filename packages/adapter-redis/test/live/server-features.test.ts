// What the adapter does with a real server beside sending and receiving: trimming, broadcast, delays, dead letters, atomic
// outputs, hand-over, users, TLS.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as pathOf } from 'node:path'
import { assignment, content, idsOf, join, message, never, plan, source, take, until } from '@posthorn/conformance/live'
import { expect, it, vi } from 'vitest'
import { makeTls, startBroker } from '../../../../tools/brokers/index.mjs'
import { onRedis } from './on-redis.ts'
import { open, witness } from './server.ts'

vi.setConfig({ testTimeout: 40_000 })

onRedis('Redis as it is used', (on) => {
  it('RDS-6: what every group finished is taken away, and nothing that one of them still needs', async () => {
    const one = await on.start()
    const topic = await on.declared(one, {
      groups: [
        { name: 'workers', start: 'earliest' },
        { name: 'slow', start: 'earliest' },
      ],
    })
    await one.session.publish(
      Array.from({ length: 10 }, (_, n) => message(topic, `m-${n}`)),
      never,
    )
    const member = await join(one.session, source(topic))
    const got = await take(await assignment(member), 10)
    await (await assignment(member)).settle(got.map(({ token }) => token))
    const slow = await join(one.session, source(topic, { group: 'slow' }))
    const theirs = await take(await assignment(slow), 10)
    await (await assignment(slow)).settle(theirs.slice(0, 4).map(({ token }) => token))
    await until('the first four are gone', async () => (await on.see.xlen(`{${topic}}:0`)) === 6)
    await (await assignment(slow)).settle(theirs.slice(4).map(({ token }) => token))
    await until('the rest is gone', async () => (await on.see.xlen(`{${topic}}:0`)) === 0)
    await Promise.all([member.leave(), slow.leave()])
  })

  it('a second member gets its share without waiting for a step, and the first keeps the rest', async () => {
    const one = await on.start({ leaseMs: 20_000 })
    const two = await on.start({ leaseMs: 20_000 })
    const topic = await on.declared(one, { partitions: 4 })
    await two.session.declare({ topics: [plan(topic, { partitions: 4 })] }, never)
    const first = await join(one.session, source(topic))
    await until('the first has all', () => first.all.filter(({ role }) => role === 'main').length === 4)
    const began = performance.now()
    const second = await join(two.session, source(topic))
    await until('the second has two', () => second.all.filter(({ role }) => role === 'main').length === 2)
    expect(performance.now() - began).toBeLessThan(2000)
    await second.leave()
    await until('the first has all again', () => first.all.filter(({ role, lost }) => role === 'main' && !lost.aborted).length === 4)
    await first.leave()
    expect(await on.see.zcard(`{${topic}}:mem:workers`)).toBe(0)
    expect(Object.keys(await on.see.hgetall(`{${topic}}:own:workers`))).toEqual(['epoch'])
  })

  it('a broadcast gets what is stored after it was accepted, and a topic with nobody else takes messages for it', async () => {
    const one = await on.start()
    const topic = await on.declared(one, { groups: [] })
    const refused = await one.session.publish([message(topic, 'nobody')], never)
    expect(one.adapter.explain(refused.failures[0]?.error).code).toBe('NOT_FOUND')
    const all = await join(one.session, source(topic, { kind: 'broadcast', group: 'me' }))
    expect((await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)).failures).toEqual([])
    const got = await take(await assignment(all), 2)
    expect(idsOf(got)).toEqual(['a', 'b'])
    await all.leave()
    expect(await on.see.hlen(`{${topic}}:cast`)).toBe(0)
  })

  it('delays and retries are kept by due time, survive their owner, and are removed when settled', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const place = { topic, role: 'retry' as const, group: 'workers' }
    await one.session.publish([message(topic, 'late', { delayMs: 600 }), message(topic, 'soon', { delayMs: 200 })], never)
    await one.session.publish([message(topic, 'parked', { place, partition: null, delayMs: 100, transport: { 'ph-attempt': '2' } })], never)
    const member = await join(one.session, source(topic))
    const [parked] = await take(await assignment(member, 'retry'), 1)
    expect([content(parked).id, parked?.parked, content(parked).transport?.['ph-attempt']]).toEqual(['parked', true, '2'])
    expect(idsOf(await take(await assignment(member), 2))).toEqual(['soon', 'late'])
    // Its owner goes without settling: it comes again, to whoever is next.
    await member.leave()
    const next = await join(one.session, source(topic))
    const [again] = await take(await assignment(next, 'retry'), 1)
    expect([content(again).id, again?.deliveries]).toEqual(['parked', 1])
    expect(await (await assignment(next, 'retry')).settle([again?.token])).toBe('settled')
    expect([await on.see.zcard(`{${topic}}:retry:workers`), await on.see.xlen(`{${topic}}:retry:workers:entries`)]).toEqual([0, 0])
    await next.leave()
  })

  it('dead letters are listed oldest first, one per slot, and removed by what was listed', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const place = { topic, role: 'dead' as const, group: 'workers' }
    const dead = (id: string, slot: string) => message(topic, id, { place, slot, partition: 0 })
    await one.session.publish([dead('a', 's1'), dead('b', 's2'), dead('c', 's3')], never)
    await one.session.publish([dead('b2', 's2')], never)
    const first = await one.session.browse(place, null, 2, never)
    const second = await one.session.browse(place, first.next, 2, never)
    expect([...idsOf(first.entries), ...idsOf(second.entries)]).toEqual(['a', 'c', 'b2'])
    expect(await one.session.remove(place, first.entries.slice(0, 1), never)).toBe('settled')
    expect(await one.session.remove(place, first.entries.slice(0, 1), never)).toBe('stale')
    expect(idsOf((await one.session.browse(place, null, 10, never)).entries)).toEqual(['c', 'b2'])
  })

  it('a dead letter with more fields than Lua passes on is stored all the same', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const place = { topic, role: 'dead' as const, group: 'workers' }
    const headers = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`h${n}`, 'v']))
    const large = () => message(topic, 'large', { place, slot: 's', partition: 0, headers })
    expect((await one.session.publish([large()], never)).failures).toEqual([])
    expect((await one.session.publish([large()], never)).failures).toEqual([])
    const { entries } = await one.session.browse(place, null, 10, never)
    expect(entries).toHaveLength(1)
    expect(Object.keys(content(entries[0]).headers ?? {})).toHaveLength(5000)
  })

  it('outputs and their settlement are one step: both, or neither for whoever lost the partition', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const out = await on.declared(one)
    await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)
    const member = await join(one.session, source(topic, { atomic: true }))
    const mine = await assignment(member)
    const [a, b] = await take(mine, 2)
    expect(await mine.settle([a?.token], [message(out, 'out-a')])).toBe('settled')
    expect(await on.see.xlen(`{${out}}:0`)).toBe(1)
    await on.see.hset(`{${topic}}:own:workers`, '0', `other/1|${Date.now() + 60_000}`)
    expect(await mine.settle([b?.token], [message(out, 'out-b')])).toBe('stale')
    expect(await on.see.xlen(`{${out}}:0`)).toBe(1)
    expect(((await on.see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0]).toBe(1)
  })

  it('another partition count is a conflict; one that is there is kept', async () => {
    const one = await on.start()
    const topic = await on.declared(one, { partitions: 3 })
    await expect(one.session.declare({ topics: [plan(topic, { partitions: 5 })] }, never)).rejects.toThrow('3 partitions')
    const [state] = await one.session.declare({ topics: [plan(topic, { partitions: null })] }, never)
    expect([state?.partitions, state?.groups, state?.created]).toEqual([3, ['workers'], []])
  })

  it('a server with TLS is reached with its authority, and refused without', async () => {
    const folder = await mkdtemp(pathOf(tmpdir(), 'posthorn-tls-'))
    const files = await makeTls(folder)
    const secure = await startBroker('redis', { tls: files })
    try {
      const one = await on.start({ url: secure.url, tls: { ca: files.ca } })
      const topic = await on.declared(one)
      expect((await one.session.publish([message(topic, 'a')], never)).failures).toEqual([])
      const error: unknown = await open({ url: secure.url }).catch((reason: unknown) => reason)
      expect(one.adapter.explain(error)).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      const plain: unknown = await open({ url: on.broker.url.replace('redis://', 'rediss://') }).catch((reason: unknown) => reason)
      expect(one.adapter.explain(plain).code).toMatch(/INVALID_ARGUMENT|UNAVAILABLE/)
    } finally {
      await secure.stop()
      await rm(folder, { recursive: true })
    }
  })

  it('sentinels name the master, and after a failover they name the next one', async () => {
    const master = await startBroker('redis')
    const replica = await startBroker('redis', { settings: [`replicaof 127.0.0.1 ${master.port}`] })
    const sentinel = await startBroker('redis', {
      sentinel: true,
      settings: [`sentinel monitor shop 127.0.0.1 ${master.port} 1`, 'sentinel down-after-milliseconds shop 2000'],
    })
    try {
      await until(
        'the replica follows',
        async () => (await sentinel.control(['SENTINEL', 'replicas', 'shop'])).includes(String(replica.port)),
        30_000,
      )
      await until('it is in step', async () => (await replica.control(['INFO', 'replication'])).includes('master_link_status:up'), 30_000)
      const one = await on.start({ url: undefined, sentinels: { nodes: [`127.0.0.1:${sentinel.port}`], master: 'shop' } })
      const topic = await on.declared(one)
      expect((await one.session.publish([message(topic, 'before')], never)).failures).toEqual([])
      const member = await join(one.session, source(topic))
      expect(idsOf(await take(await assignment(member), 1))).toEqual(['before'])
      await until('it is replicated', async () => (await replica.control(['XLEN', `{${topic}}:0`])) !== '0')
      await sentinel.control(['SENTINEL', 'failover', 'shop'])
      await until('the replica is master', async () => (await replica.control(['ROLE'])).includes('master'), 30_000)
      await until(
        'a publish reaches the new master',
        async () => {
          const { failures } = await one.session.publish([message(topic, 'after')], never)
          return failures.length === 0 && Number(await replica.control(['XLEN', `{${topic}}:0`])) >= 2
        },
        30_000,
      )
    } finally {
      await Promise.all([sentinel.stop(), replica.stop(), master.stop()])
    }
  }, 120_000)

  it('a user of the access control list and a database number are used', async () => {
    const owned = await startBroker('redis', { users: [{ name: 'shop', password: 'p%ss:w@rd/?' }] })
    try {
      const one = await on.start({ url: owned.url, db: 3 })
      const topic = await on.declared(one)
      expect((await one.session.publish([message(topic, 'a')], never)).failures).toEqual([])
      const look = await witness(`${owned.url}/3`)
      expect(await look.exists(`{${topic}}:meta`)).toBe(1)
      look.disconnect()
      const error: unknown = await open({ url: `redis://127.0.0.1:${owned.port}` }).catch((reason: unknown) => reason)
      expect(one.adapter.explain(error)).toMatchObject({ code: 'UNAUTHORIZED' })
    } finally {
      await owned.stop()
    }
  })
})

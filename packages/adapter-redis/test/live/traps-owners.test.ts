// What the server and its client do to those who do not know it, each under the name it has among us.

import { assignment, idsOf, join, message, never, plan, source, take, until, within } from '@posthorn/conformance/live'
import { connect, topic as defineTopic, unchecked } from '@posthorn/core'
import { redis } from '@posthorn/redis'
import { expect, it, vi } from 'vitest'
import { scripts } from '../../src/scripts.ts'
import { onRedis } from './on-redis.ts'

vi.setConfig({ testTimeout: 30_000 })

onRedis('traps of ownership', (on) => {
  it('S4, S13: every pending list belongs to the name "owner", and nobody claims, deletes consumers or reads for himself', async () => {
    const all = Object.values(scripts)
      .map(({ source: text }) => text)
      .join('\n')
    expect(all).not.toMatch(/XAUTOCLAIM|DELCONSUMER/)
    expect(all.match(/'XREADGROUP','GROUP',ARGV\[3\],'owner'/g)).toHaveLength(all.match(/'XREADGROUP'/g)?.length ?? 0)
    expect(all).not.toMatch(/BLOCK/)
  })

  it('S10, RDS-4, FLOW-4: a message that is held for three leases stays with its owner, whether he reads on or not, and comes once', async () => {
    const one = await on.start({ url: on.broker.url, leaseMs: 1000 })
    const topic = await on.declared(one)
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
    const one = await on.start()
    const topic = await on.declared(one)
    const ids = Array.from({ length: 1000 }, (_, n) => `m-${n}`)
    for (let at = 0; at < 1000; at += 500)
      await one.session.publish(
        ids.slice(at, at + 500).map((id) => message(topic, id)),
        never,
      )
    const first = await join(one.session, source(topic, { maxUnsettled: 1000 }))
    await take(await assignment(first), 1000)
    await one.session.close(AbortSignal.abort())
    const two = await on.start()
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
    const topic = defineTopic('traps.members', { schema: unchecked<{ readonly k: string }>(), key: ({ k }) => k, groups: ['workers'] })
    const brokers = await Promise.all([0, 1].map(() => connect(redis({ url: on.broker.url, leaseMs: 1000 }), { log: false })))
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
      expect(await on.see.xlen(`{${topic.name}}:dead:workers`)).toBe(0)
    } finally {
      await Promise.all(brokers.map((each) => each.close()))
    }
  })

  it('S20: two members, of whom one comes later, keep the order of every key and never handle one key at once', async () => {
    const topic = defineTopic('traps.order', {
      schema: unchecked<{ readonly k: string; readonly n: number }>(),
      key: ({ k }) => k,
      groups: ['workers'],
      partitions: 4,
    })
    const brokers = await Promise.all([0, 1].map(() => connect(redis({ url: on.broker.url, leaseMs: 1000 }), { log: false })))
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
        const owned = Object.values(await on.see.hgetall(`{${topic.name}}:own:workers`)).filter((row) => row.includes('/'))
        return owned.length === 4 && new Set(owned.map((row) => row.split('/')[0])).size === 2
      })
      await load(25)
      await until('all are handled', () => [...handled.values()].reduce((sum, { length }) => sum + length, 0) >= 400)
      for (const [, numbers] of handled) expect(numbers).toEqual(expected)
      expect(byMember[1]).toBeGreaterThan(0)
      expect(await on.see.xlen(`{${topic.name}}:dead:workers`)).toBe(0)
    } finally {
      await Promise.all(brokers.map((each) => each.close()))
    }
  })

  it('S26, RDS-8: who lost its partition while it waited gets nothing and settles nothing', async () => {
    const one = await on.start()
    const two = await on.start()
    const topic = await on.declared(one)
    await one.session.publish([message(topic, 'first')], never)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const [held] = await take(mine, 1)
    const waiting = mine.read(10)
    // Somebody else owns it from now on, as after a lease that ran out.
    await on.see.hset(`{${topic}}:own:workers`, '0', `other/1|${Date.now() + 60_000}`)
    await two.session.declare({ topics: [plan(topic)] }, never)
    await two.session.publish(
      Array.from({ length: 10 }, (_, n) => message(topic, `m-${n}`)),
      never,
    )
    expect(await within(5000, 'the open read', waiting)).toEqual([])
    expect(mine.lost.aborted).toBe(true)
    expect(await mine.settle([held?.token])).toBe('stale')
    await mine.release()
    expect(((await on.see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0]).toBe(1)
    expect(await on.see.hget(`{${topic}}:own:workers`, '0')).toMatch(/^other/)
  })

  it('S27, RBL-9: five polite hand-overs leave the count of deliveries as it was', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    await one.session.publish([message(topic, 'a'), message(topic, 'b')], never)
    for (let round = 0; round < 5; round++) {
      const member = await join(one.session, source(topic))
      const got = await take(await assignment(member), 2)
      expect(got.map(({ deliveries }) => deliveries)).toEqual([1, 1])
      await member.leave()
    }
  })
})

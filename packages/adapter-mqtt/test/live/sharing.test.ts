// Members of a group share its partitions, on both kinds of real servers.

import {
  assignment,
  idsOf,
  join,
  type Membership,
  message,
  never,
  type Opened,
  plan,
  source,
  take,
  until,
} from '@posthorn/conformance/live'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { describeHive, describeLive, open } from './server.ts'

vi.setConfig({ testTimeout: 30_000 })

for (const server of ['mqtt', 'hivemq'] as const) membersOn(server)

function membersOn(server: 'mqtt' | 'hivemq'): void {
  const found = server === 'mqtt' ? describeLive : describeHive
  found(`members of a group on ${server === 'mqtt' ? 'Mosquitto' : 'HiveMQ'}`, () => {
    let broker: RunningBroker
    const opened: Opened[] = []
    let topics = 0

    beforeAll(async () => {
      broker = await startBroker(server)
    }, 120_000)
    afterEach(async () => {
      await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
    })
    afterAll(async () => {
      await broker?.stop()
    })

    async function start(over: Parameters<typeof open>[0] = {}): Promise<Opened> {
      const one = await open({ url: broker.url, ...over })
      opened.push(one)
      return one
    }
    const held = (member: Membership): (number | null)[] =>
      member.all
        .filter(({ role, lost }) => role === 'main' && !lost.aborted)
        .map(({ partition }) => partition)
        .sort()

    it('RBL-15: one that comes gets its share, and what is left behind is taken over', async () => {
      const topic = `sharing.t${++topics}`
      const wide = plan(topic, { partitions: 4 })
      const first = await start()
      await first.session.declare({ topics: [wide] }, never)
      const one = await join(first.session, source(topic))
      await until('all partitions at the first', () => held(one).length === 4)
      const second = await start()
      await second.session.declare({ topics: [wide] }, never)
      const two = await join(second.session, source(topic))
      await until('two partitions each', () => held(one).length === 2 && held(two).length === 2)
      expect([...held(one), ...held(two)].sort()).toEqual([0, 1, 2, 3])
      await one.leave()
      await until('all partitions at the second', () => held(two).length === 4)
    })

    it('a delayed message comes when it is due, once, whoever is chosen to move it', async () => {
      const topic = `sharing.t${++topics}`
      const members = await Promise.all([start(), start()])
      for (const { session } of members) await session.declare({ topics: [plan(topic)] }, never)
      const joined = await Promise.all(members.map(({ session }) => join(session, source(topic))))
      const came: (string | null)[] = []
      for (const member of joined) void readAll(member, came)
      const { session } = members[0] as Opened
      const due = Date.now() + 1500
      expect((await session.publish([message(topic, 'later', { delayMs: 1500 }), message(topic, 'now')], never)).failures).toEqual([])
      await until('the one that is not delayed', () => came.includes('now'))
      expect(came).toEqual(['now'])
      await until('the delayed one', () => came.includes('later'))
      expect(Date.now()).toBeGreaterThanOrEqual(due)
      await session.publish([message(topic, 'fence')], never)
      await until('the fence', () => came.includes('fence'))
      expect(came).toEqual(['now', 'later', 'fence'])
    })

    it('a parked message waits, is marked, and is gone when it is settled', async () => {
      const topic = `sharing.t${++topics}`
      const one = await start()
      await one.session.declare({ topics: [plan(topic)] }, never)
      const place = { topic, role: 'retry' as const, group: 'workers' }
      await one.session.publish([message(topic, 'parked', { place, delayMs: 300, transport: { 'ph-attempt': '2' } })], never)
      const member = await join(one.session, source(topic))
      const retries = await assignment(member, 'retry')
      const [delivery] = await take(retries, 1)
      expect(delivery).toMatchObject({ parked: true, content: { id: 'parked', transport: { 'ph-attempt': '2' } } })
      expect(await retries.settle([delivery?.token])).toBe('settled')
      await member.leave()
      const again = await start()
      await again.session.declare({ topics: [plan(topic)] }, never)
      const next = await join(again.session, source(topic))
      const later = await assignment(next, 'retry')
      await again.session.publish([message(topic, 'fence', { place, delayMs: 0 })], never)
      expect(idsOf(await take(later, 1))).toEqual(['fence'])
    })

    it('dead letters are looked at in order, page by page, and a newer one of a slot stays when the older one is removed', async () => {
      const topic = `sharing.t${++topics}`
      const one = await start()
      await one.session.declare({ topics: [plan(topic)] }, never)
      const place = { topic, role: 'dead' as const, group: 'workers' }
      for (let nth = 0; nth < 25; nth++) await one.session.publish([message(topic, `d${nth}`, { place, slot: `s${nth}` })], never)
      const seen: (string | null)[] = []
      let after: string | null = null
      do {
        const page = await one.session.browse(place, after, 10, never)
        seen.push(...idsOf(page.entries))
        after = page.next
      } while (after !== null)
      expect(seen).toEqual(Array.from({ length: 25 }, (_, nth) => `d${nth}`))
      const { entries } = await one.session.browse(place, null, 1, never)
      await one.session.publish([message(topic, 'newer', { place, slot: 's0' })], never)
      expect(await one.session.remove(place, entries, never)).toBe('stale')
      const left = await one.session.browse(place, null, 100, never)
      expect(idsOf(left.entries)).toEqual([...Array.from({ length: 24 }, (_, nth) => `d${nth + 1}`), 'newer'])
      expect(await one.session.remove(place, entries, never)).toBe('stale')
    })

    it('works with version 3.1.1 of the protocol', async () => {
      const topic = `sharing.t${++topics}`
      const one = await start({ protocol: '3.1.1' })
      expect(one.session.capabilities).toMatchObject({ headers: 'envelope', unroutable: 'silent' })
      await one.session.declare({ topics: [plan(topic)] }, never)
      const envelope = Object.freeze({ datacontenttype: 'application/cloudevents+json; charset=UTF-8' })
      const ids = ['a', 'b', 'c']
      await one.session.publish(
        ids.map((id) => message(topic, id, { body: Buffer.from(`{"id":"${id}"}`), attributes: envelope })),
        never,
      )
      const taken = await take(await assignment(await join(one.session, source(topic))), 3)
      expect(taken.map(({ content }) => Buffer.from(content.body ?? []).toString())).toEqual(ids.map((id) => `{"id":"${id}"}`))
    })
  })
}

/** Settles all that a member's assignments bring, as long as there are any, and keeps the ids. */
async function readAll(member: Membership, came: (string | null)[]): Promise<void> {
  const known = new Set<unknown>()
  for (;;) {
    for (const one of member.all) {
      if (one.role !== 'main' || known.has(one)) continue
      known.add(one)
      void (async () => {
        for (;;) {
          const some = await one.read(10)
          if (some.length === 0) return
          came.push(...idsOf(some))
          await one.settle(some.map(({ token }) => token))
        }
      })()
    }
    if (member.all.length > 0 && member.all.every(({ lost }) => lost.aborted)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

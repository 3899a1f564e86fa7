// What the server and its client do to those who do not know it, each under the name it has among us.

import { assignment, content, idsOf, join, message, never, plan, source, take, until, within } from '@posthorn/conformance/live'
import { expect, it, vi } from 'vitest'
import { onRedis } from './on-redis.ts'

vi.setConfig({ testTimeout: 30_000 })

onRedis('traps of what lies on the server', (on) => {
  it('S3, S17, RDS-2: entries that were trimmed while they were pending are told, and do not come back for ever', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    await one.session.publish(
      ['a', 'b', 'c'].map((id) => message(topic, id)),
      never,
    )
    const first = await join(one.session, source(topic))
    await take(await assignment(first), 3)
    await one.session.close(AbortSignal.abort())
    await on.see.xtrim(`{${topic}}:0`, 'MAXLEN', 1)
    const two = await on.start()
    await two.session.declare({ topics: [plan(topic)] }, never)
    const second = await join(two.session, source(topic))
    const [left] = await take(await assignment(second), 1)
    expect(content(left).id).toBe('c')
    await until('the loss is told', () => two.events.some(({ name, detail }) => name === 'position-lost' && detail.count === 2))
    await until('the list is clean', async () => ((await on.see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0] === 1)
    await second.leave()
  })

  it('S5: bytes 00 FF FE 80 come back as they are', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const body = Buffer.from([0x00, 0xff, 0xfe, 0x80])
    await one.session.publish([message(topic, 'b', { body })], never)
    const member = await join(one.session, source(topic))
    const [got] = await take(await assignment(member), 1)
    expect(Buffer.from(content(got).body ?? [])).toEqual(body)
    await member.leave()
  })

  it('S8, RDS-3: after FLUSHALL the group is made again from 0, with an event and without a hot loop', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const member = await join(one.session, source(topic))
    void (await assignment(member)).read(1)
    await on.broker.wipe()
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
    const one = await on.start()
    const topic = await on.declared(one)
    await one.session.publish([message(topic, 'early')], never)
    const member = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(member), 1))).toEqual(['early'])
    await member.leave()
  })

  it('S14, RDS-5: what is promoted, forwarded, parked or dead-lettered leaves its old place and enters the new one in one step', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const monitor = await on.see.monitor()
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
    const one = await on.start()
    const topic = await on.declared(one)
    const delayed = { id: 'same', body: Buffer.from('same'), delayMs: 200 }
    await one.session.publish([message(topic, 'same', delayed), message(topic, 'same', delayed)], never)
    const member = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(member), 2))).toEqual(['same', 'same'])
    expect(await on.see.zcard(`{${topic}}:delay`)).toBe(0)
    expect(await on.see.xlen(`{${topic}}:delay:entries`)).toBe(0)
    await member.leave()
  })

  it('S16: an entry that cannot be read rejects no neighbour', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    await one.session.publish([message(topic, 'before')], never)
    await on.see.xadd(`{${topic}}:0`, '*', 'ce_id', Buffer.from([0xff, 0xfe]), 'data', 'x')
    await one.session.publish([message(topic, 'after')], never)
    const member = await join(one.session, source(topic))
    const got = await take(await assignment(member), 3)
    expect(got.map(({ content: each }) => ('undecodable' in each ? 'bad' : each.id))).toEqual(['before', 'bad', 'after'])
    await member.leave()
  })
})

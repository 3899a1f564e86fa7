// What a session sends to a partition that it owns itself is asked for right behind it, under the same fence as every read.

import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { scripts } from '../../src/scripts.ts'
import {
  assignment,
  describeLive,
  idsOf,
  join,
  message,
  never,
  type Opened,
  open,
  plan,
  relay,
  source,
  take,
  until,
  witness,
} from './server.ts'

vi.setConfig({ testTimeout: 30_000 })

describeLive('reading what is being sent', () => {
  let broker: RunningBroker
  let see: Redis
  const opened: Opened[] = []
  const monitors: Redis[] = []
  const names = new Map(Object.values(scripts).map(({ sha, name }) => [sha, name]))
  let topics = 0

  beforeAll(async () => {
    broker = await startBroker('redis', { settings: ['appendfsync no'] })
    see = await witness(broker.url)
  }, 60_000)
  afterEach(async () => {
    for (const monitor of monitors.splice(0)) monitor.disconnect()
    await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
  })
  afterAll(async () => {
    see?.disconnect()
    await broker?.stop()
  })

  /** A member whose reader has found nothing and waits; `seen` are the publishes and reads from then on. */
  async function waiting(url = broker.url) {
    const one = await open({ url, leaseMs: 2000 })
    opened.push(one)
    const topic = `beside.t${++topics}`
    await one.session.declare({ topics: [plan(topic)] }, never)
    await one.session.publish([message(topic, 'first')], never)
    const seen: { readonly script: string; readonly by: string }[] = []
    let waits = false
    const monitor = await see.duplicate({ lazyConnect: false }).monitor()
    monitors.push(monitor)
    monitor.on('monitor', (_time: string, [command = '', sha = '', ...words]: string[], by: string) => {
      const script = names.get(sha)
      if (command.toLowerCase() === 'xread' && words.includes(`{${topic}}:0`)) waits = true
      else if (waits && command.toLowerCase() === 'evalsha' && (script === 'publish' || script === 'read')) seen.push({ script, by })
    })
    const member = await join(one.session, source(topic))
    const from = await assignment(member)
    await take(from, 1)
    const next = from.read(10)
    await until('it waits', () => waits)
    return { one, topic, from, next, seen }
  }

  it('a reader that waits asks on the connection of the sender, and nothing is left for the one who wakes it', async () => {
    const { one, topic, from, next, seen } = await waiting()
    await one.session.publish([message(topic, 'a')], never)
    expect(idsOf(await next)).toEqual(['a'])
    const later = from.read(10)
    await one.session.publish([message(topic, 'b'), message(topic, 'c')], never)
    expect(idsOf(await later)).toEqual(['b', 'c'])
    await until('all is seen', () => seen.length >= 4)
    expect(seen.map(({ script }) => script)).toEqual(['publish', 'read', 'publish', 'read'])
    expect(new Set(seen.map(({ by }) => by)).size).toBe(1)
  })

  it('what was handed over with an answer that was lost comes again, once, and before what follows it', async () => {
    const way = await relay(broker.port)
    try {
      const { one, topic, from, next } = await waiting(way.url)
      way.dropAnswers = true
      const lost = one.session.publish([message(topic, 'a')], never)
      await until('it is handed over', async () => ((await see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0] === 2)
      way.cut()
      way.dropAnswers = false
      expect((await lost).failures.map(({ outcome }) => outcome)).toEqual(['unknown'])
      await until('it is connected again', () => one.states.at(-1) === 'connected')
      const after = one.session.publish([message(topic, 'b')], never)
      const got = idsOf(await next)
      while (got.length < 2) got.push(...idsOf(await from.read(10)))
      expect(got).toEqual(['a', 'b'])
      expect((await after).failures).toEqual([])
    } finally {
      await way.close()
    }
  })

  it('a member that lost the partition while it waited gets nothing of what it sends', async () => {
    const { one, topic, from, next } = await waiting()
    await see.hset(`{${topic}}:own:workers`, '0', `somebody/99|${Date.now() + 60_000}`)
    expect((await one.session.publish([message(topic, 'a')], never)).failures).toEqual([])
    expect(await next).toEqual([])
    await until('it is over', () => from.lost.aborted)
    expect(((await see.xpending(`{${topic}}:0`, 'workers')) as unknown[])[0]).toBe(1)
  })
})

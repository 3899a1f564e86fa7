// What Kafka and its client do to those who do not know it, each under the name it has among us.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import {
  assignment,
  content,
  idsOf,
  join,
  message,
  never,
  type Opened,
  plan,
  source,
  take,
  until,
  within,
} from '@posthorn/conformance/live'
import { connect, topic as defineTopic, unchecked } from '@posthorn/core'
import { kafka } from '@posthorn/kafka'
import type { Admin } from 'kafkajs'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { describeLive, open, plain, positions, type Relay, relay, stored, witness } from './server.ts'

vi.setConfig({ testTimeout: 60_000 })

/** Numbers of requests. */
const [fetch, joinGroup, heartbeat] = [1, 11, 12]

describeLive('traps of Kafka and its client', () => {
  let broker: RunningBroker
  let see: Admin
  const opened: Opened[] = []
  const relays: Relay[] = []
  let topics = 0

  beforeAll(async () => {
    broker = await startBroker('kafka')
    see = await witness(broker.url)
  }, 120_000)
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
    await Promise.all(relays.splice(0).map((each) => each.close()))
  })
  afterAll(async () => {
    await see?.disconnect()
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
  /** How many records a topic has had. The plain client looks too early at what was just made. */
  async function ends(topic: string): Promise<number> {
    const offsets = await until(`${topic} is known`, () => see.fetchTopicOffsets(topic).catch(() => null))
    return offsets.reduce((sum, { offset }) => sum + Number(offset), 0)
  }
  const numbers = (count: number, from = 0): readonly number[] => Array.from({ length: count }, (_, n) => from + n)

  it('K1, KAF-3: a send whose answer is lost is unknown at once, and its copy goes where the first one is', async () => {
    const link = await way()
    const one = await start(link.url)
    const topic = await declared(one, { partitions: 4, keyed: false })
    await one.session.publish([message(topic, 'first')], never)
    link.dropAnswers = true
    const publishes = numbers(20).map((n) => one.session.publish([message(topic, `m-${n}`, { partition: n % 4 })], never))
    await until('all are stored', async () => (await ends(topic)) === 21)
    link.cut()
    link.dropAnswers = false
    const reports = await within(3000, 'all are answered', Promise.all(publishes))
    expect(reports.flatMap(({ failures }) => failures.map(({ outcome }) => outcome))).toEqual(Array(20).fill('unknown'))
    await until('it is connected again', () => one.states.at(-1) === 'connected')
    await one.session.publish(
      numbers(20).map((n) => message(topic, `m-${n}`, { partition: n % 4 })),
      never,
    )
    const lying = await stored(broker.url, see, topic)
    for (const n of numbers(20))
      expect(lying.map((ids) => ids.filter((id) => id === `m-${n}`).length)).toEqual(numbers(4).map((p) => (p === n % 4 ? 2 : 0)))
  })

  it('K2, K4: 20,000 messages that nobody waits for are stored, and the process goes on meanwhile', async () => {
    const one = await connect(kafka({ url: broker.url }), { log: false })
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>(), partitions: 4 })
    await one.declare(target)
    const producer = one.producer(target, { maxBuffered: 100_000 })
    const delay = monitorEventLoopDelay({ resolution: 5 })
    const sends = numbers(20_000).map((n) => producer.send({ n }))
    delay.enable()
    await Promise.all(sends)
    delay.disable()
    // The client's own grouping of so many takes seconds in one piece.
    expect(delay.max / 1e6).toBeLessThan(500)
    expect(await ends(target.name)).toBe(20_000)
    await one.close()
  })

  it('K3: a server that says nothing costs a send no longer than its deadline', async () => {
    const link = await way()
    const one = await connect(kafka({ url: link.url, reach: () => link.url.slice(8) }), { log: false })
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>() })
    await one.producer(target).send({ n: 1 })
    link.silent = true
    const began = performance.now()
    const error = await one
      .producer(target, { timeoutMs: 1500 })
      .send({ n: 2 })
      .catch((failure: unknown) => failure)
    expect(error).toMatchObject({ outcome: 'unknown' })
    expect(performance.now() - began).toBeLessThan(3000)
    link.silent = false
    link.cut()
    await one.close({ drainMs: 500 })
  })

  it('K5, K6, KAF-8, KAF-12: a successor ends the transaction of its predecessor, and only then reads the position', async () => {
    const one = await start()
    const two = await start()
    const topic = await declared(one)
    const out = await declared(one)
    await one.session.publish(
      numbers(3).map((n) => message(topic, `m-${n}`)),
      never,
    )
    const first = await join(one.session, source(topic, { atomic: true }))
    const mine = await assignment(first)
    const [a, b] = await take(mine, 3)
    expect(await mine.settle([a?.token], [message(out, 'out-0')])).toBe('settled')
    // Partitions are shared anew, by the ids that the server gave: either of the two is the successor.
    const second = await join(two.session, source(topic, { atomic: true }))
    const theirs = await until('a successor has the partition', () =>
      [...first.all, ...second.all].find((each) => each !== mine && each.role === 'main' && !each.lost.aborted),
    )
    expect(idsOf(await take(theirs, 2))).toEqual(['m-1', 'm-2'])
    expect(await mine.settle([b?.token], [message(out, 'out-1')])).not.toBe('settled')
    const again = await start()
    const cluster = again.session
    expect((await cluster.inspect(topic, 'workers', never)).members).toBe(2)
    expect((await stored(broker.url, see, out))[0]).toEqual(['out-0'])
    await Promise.all([first.leave(), second.leave()])
  })

  it('KAF-12: what a predecessor commits just before it is fenced is not done again', async () => {
    const one = await start()
    const topic = await declared(one)
    const out = await declared(one)
    await one.session.publish(
      numbers(3).map((n) => message(topic, `m-${n}`)),
      never,
    )
    // The predecessor: any client that uses the partition's transactional id.
    const zombie = plain(broker.url).producer({ transactionalId: `${topic}__workers__0`, idempotent: true, maxInFlightRequests: 1 })
    await zombie.connect()
    const transaction = await zombie.transaction()
    await transaction.send({ topic: out, messages: [{ partition: 0, value: 'x', headers: { ce_id: 'out-0' } }] })
    const offsets = { consumerGroupId: `${topic}__workers`, topics: [{ topic, partitions: [{ partition: 0, offset: '1' }] }] }
    await transaction.sendOffsets(offsets)
    const link = await way()
    let committed = false
    const two = await start(link.url)
    link.before = async (api) => {
      if (api !== 22 || committed) return
      committed = true
      await transaction.commit()
    }
    await two.session.declare({ topics: [plan(topic)] }, never)
    const member = await join(two.session, source(topic, { atomic: true }))
    expect(committed).toBe(true)
    expect(idsOf(await take(await assignment(member), 2))).toEqual(['m-1', 'm-2'])
    await zombie.disconnect()
    await member.leave()
  })

  it('K7, KAF-14: ten membership changes under load repeat nothing and lose nothing', async () => {
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>(), partitions: 4, groups: ['workers'] })
    const seen = new Map<number, number>()
    const brokers: Awaited<ReturnType<typeof connect>>[] = []
    const member = async (): Promise<void> => {
      const one = await connect(kafka({ url: broker.url, sessionTimeoutMs: 6000 }), { log: false })
      brokers.push(one)
      await one.consume(target, { group: 'workers', concurrency: 4 }, async ({ value }) => {
        seen.set(value.n, (seen.get(value.n) ?? 0) + 1)
        await new Promise((resolve) => setTimeout(resolve, 15))
      })
    }
    const sender = await connect(kafka({ url: broker.url }), { log: false })
    await member()
    let sent = 0
    let sending = true
    const load = (async () => {
      while (sending) {
        await sender.producer(target).send({ n: sent++ })
        await new Promise((resolve) => setTimeout(resolve, 15))
      }
    })()
    for (let change = 0; change < 10; change++) {
      if (brokers.length < 3) await member()
      else await brokers.shift()?.close()
      const before = seen.size
      await until('it goes on', () => seen.size > before + 10)
    }
    sending = false
    await load
    await until('all are handled', () => seen.size === sent)
    expect([...seen].filter(([, times]) => times !== 1)).toEqual([])
    await Promise.all([...brokers, sender].map((one) => one.close()))
  })

  it('KAF-14: a handler that outlasts the hand-over holds its group up that long and no longer, and nothing is lost or done twice', async () => {
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>(), partitions: 4, groups: ['workers'] })
    const done = new Map<number, number>()
    const progress: number[] = []
    const brokers: Awaited<ReturnType<typeof connect>>[] = []
    let starts = 0
    let open: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const member = async (): Promise<void> => {
      const one = await connect(kafka({ url: broker.url, sessionTimeoutMs: 6000, handOverMs: 300 }), { log: false })
      brokers.push(one)
      await one.consume(target, { group: 'workers', concurrency: 4 }, async ({ value, signal }) => {
        if (value.n < 0) {
          starts++
          await Promise.race([
            gate,
            new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
          ])
        } else progress.push(performance.now())
        done.set(value.n, (done.get(value.n) ?? 0) + 1)
      })
    }
    const sender = await connect(kafka({ url: broker.url }), { log: false })
    await member()
    await sender.producer(target).send({ n: -1 })
    await until('the long handler runs', () => starts === 1)
    let sent = 0
    let sending = true
    const load = (async () => {
      while (sending) {
        await sender.producer(target).send({ n: sent++ })
        await new Promise((resolve) => setTimeout(resolve, 15))
      }
    })()
    await until('the others go on beside it', () => progress.length > 20)
    for (let change = 0; change < 5; change++) {
      const before = starts
      if (change % 2 === 0) await member()
      else await brokers.shift()?.close({ drainMs: 300 })
      await until('the long handler was ended, and runs again', () => starts > before)
      const handled = progress.length
      await until('the others go on beside it', () => progress.length > handled + 20)
    }
    sending = false
    await load
    open()
    await until('all are handled', () => done.size === sent + 1)
    expect([...done].filter(([, times]) => times !== 1)).toEqual([])
    // Without a limit they would wait for the long handler; by default for ten seconds.
    const pauses = progress.slice(1).map((at, index) => at - (progress[index] ?? at))
    expect(Math.max(...pauses)).toBeLessThan(5000)
    await Promise.all([...brokers, sender].map((one) => one.close()))
  })

  it('K7, KAF-6: a handler that outlasts every limit which the server has for a member causes no rebalance', async () => {
    // The server knows two: silence, here eight times over, and the time in which a member has to join again. As many minutes
    // would show no more, since neither counts while signs of life come.
    const link = await way()
    const one = await open({ url: link.url, sessionTimeoutMs: 1000, handOverMs: 100 })
    opened.push(one)
    const topic = await declared(one)
    await one.session.publish([message(topic, 'a')], never)
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const [delivery] = await take(mine, 1)
    const owned = member.all.length
    let signs = 0
    let joins = 0
    link.before = async (api) => {
      if (api === heartbeat) signs++
      if (api === joinGroup) joins++
    }
    const began = performance.now()
    await until('all limits are over', () => performance.now() - began > 8000)
    expect([mine.lost.aborted, mine.leaving.aborted, mine.aliveUntil > performance.now(), joins]).toEqual([false, false, true, 0])
    expect(signs).toBeGreaterThan(8)
    expect(await mine.settle([delivery?.token])).toBe('settled')
    expect([member.all.length, member.all.filter(({ lost }) => lost.aborted).length]).toEqual([owned, 0])
    await member.leave()
  })

  it('K13: a partition that is stuck slows no other one down', async () => {
    const one = await start()
    const topic = await declared(one, { partitions: 4 })
    const member = await join(one.session, source(topic, { maxBytes: 20_000 }))
    await until('all are ours', () => member.all.filter(({ role }) => role === 'main').length === 4)
    const [stuck, ...others] = member.all.filter(({ role }) => role === 'main')
    await one.session.publish(
      numbers(100).map((n) => message(topic, `s-${n}`, { partition: stuck?.partition ?? 0, body: Buffer.alloc(1000) })),
      never,
    )
    await take(stuck as (typeof member.all)[number], 1)
    const began = performance.now()
    for (let round = 0; round < 10; round++) {
      await one.session.publish(
        others.map(({ partition }) => message(topic, `r-${round}`, { partition })),
        never,
      )
      for (const each of others) {
        const [delivery] = await take(each, 1)
        expect(await each.settle([delivery?.token])).toBe('settled')
      }
    }
    expect(performance.now() - began).toBeLessThan(6000)
    await member.leave()
  })

  it('K8, K9, K21: errors of the application and bytes that are none reach neither the client nor other messages', async () => {
    const one = await connect(kafka({ url: broker.url }), { log: false })
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>(), groups: ['workers'], partitions: 1 })
    const seen: number[] = []
    await one.consume(target, { group: 'workers', retry: { attempts: 2, firstDelayMs: 1 } }, ({ value }) => {
      seen.push(value.n)
      if (value.n === 1) throw new TypeError('not the client’s business')
    })
    const foreign = plain(broker.url).producer()
    await foreign.connect()
    await one.producer(target).send({ n: 1 })
    await foreign.send({
      topic: target.name,
      messages: [{ partition: 0, value: 'not-json{', headers: { bad: Buffer.from([0xff, 0xfe]) } }],
    })
    await one.producer(target).send({ n: 2 })
    await until('the one behind them is handled', () => seen.includes(2))
    await until('both are dead letters', async () => {
      const found: string[] = []
      for await (const letter of one.deadLetters(target, 'workers').list()) found.push(letter.reason)
      return found.length === 2 && found.includes('undecodable')
    })
    await foreign.disconnect()
    await one.close()
  })

  it('K10: an idle connection costs next to nothing', async () => {
    const turns = (): number => performance.nodeTiming.uvMetricsInfo.loopCount
    const perSecond = async (): Promise<number> => {
      const [before, began] = [turns(), performance.now()]
      await until('two seconds are over', () => performance.now() - began > 2000)
      return (turns() - before) / ((performance.now() - began) / 1000)
    }
    const alone = await perSecond()
    const one = await connect(kafka({ url: broker.url }), { log: false })
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>(), groups: ['workers'] })
    await one.consume(target, { group: 'workers' }, () => {})
    await one.producer(target).send({ n: 1 })
    // The client's own timer of a millisecond turns the event loop a thousand times a second for each connection.
    expect((await perSecond()) - alone).toBeLessThan(400)
    await one.close()
  })

  it('K11, KAF-4: a position below the log is an event, and reading goes on from the oldest message', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish(
      numbers(10).map((n) => message(topic, `m-${n}`)),
      never,
    )
    // The client deletes only from topics that it has looked at.
    await see.fetchTopicOffsets(topic)
    await until('the first are cut off', () =>
      see.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '7' }] }).then(
        () => true,
        () => false,
      ),
    )
    const member = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(member), 3))).toEqual(['m-7', 'm-8', 'm-9'])
    expect(one.events.filter(({ name }) => name === 'position-lost').length).toBe(1)
    await member.leave()
  })

  it('KAF-4: a topic that is deleted and made again is read from its first message, and nothing known of the old one is kept', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish(
      numbers(20).map((n) => message(topic, `old-${n}`)),
      never,
    )
    const first = await join(one.session, source(topic))
    const mine = await assignment(first)
    const old = await take(mine, 20)
    expect(await mine.settle(old.slice(0, 19).map(({ token }) => token))).toBe('settled')
    await see.deleteTopics({ topics: [topic] })
    // Whoever is first makes it again: the adapter from its plan, or this.
    await until('it is there again', () =>
      see.createTopics({ topics: [{ topic, numPartitions: 1 }] }).then(
        () => true,
        () => true,
      ),
    )
    await until('the old one is over', () => mine.lost.aborted)
    await until('ten new ones are stored', async () => {
      const { failures } = await one.session.publish(
        numbers(10).map((n) => message(topic, `new-${n}`)),
        never,
      )
      return failures.length === 0
    })
    const next = await until('the new log is read', () =>
      first.all.find((each) => each !== mine && each.role === 'main' && !each.lost.aborted),
    )
    const some = await take(next, 10)
    expect(idsOf(some)).toEqual(numbers(10).map((n) => `new-${n}`))
    expect(await mine.settle([old[19]?.token])).toBe('stale')
    expect(await next.settle(some.slice(0, 3).map(({ token }) => token))).toBe('settled')
    expect(await positions(see, `${topic}__workers`, topic)).toEqual([3])
    await first.leave()
    const second = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(second), 7))).toEqual(numbers(7, 3).map((n) => `new-${n}`))
    await second.leave()
  })

  it('KAF-4: a topic that was made again unseen is read from its first message, although the old position is within the new log', async () => {
    const link = await way()
    const one = await start(link.url)
    const topic = await declared(one)
    await one.session.publish(
      numbers(5).map((n) => message(topic, `old-${n}`)),
      never,
    )
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    expect(await mine.settle((await take(mine, 5)).map(({ token }) => token))).toBe('settled')
    let held = 0
    let letGo: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      letGo = resolve
    })
    link.before = async (api) => {
      if (api !== fetch) return
      held++
      await gate
    }
    await until('the next fetch is held on its way', () => held > 0)
    await see.deleteTopics({ topics: [topic] })
    const two = await start()
    await until('it is made again', async () => {
      await two.session.declare({ topics: [plan(topic)] }, never)
      const { failures } = await two.session.publish([message(topic, 'new-0')], never)
      return failures.length === 0
    })
    await two.session.publish(
      numbers(19, 1).map((n) => message(topic, `new-${n}`)),
      never,
    )
    letGo()
    const next = await until('the new log is read', () =>
      member.all.find((each) => each !== mine && each.role === 'main' && !each.lost.aborted),
    )
    const all = await take(next, 20)
    expect(idsOf(all)).toEqual(numbers(20).map((n) => `new-${n}`))
    expect(one.events.filter(({ name }) => name === 'position-lost').length).toBeGreaterThan(0)
    expect(await next.settle(all.slice(0, 3).map(({ token }) => token))).toBe('settled')
    expect(await positions(see, `${topic}__workers`, topic)).toEqual([3])
    await member.leave()
  })

  it('K12, ACK-7: the position stays at what is unfinished, and what finished behind it is not repeated', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish(
      numbers(10).map((n) => message(topic, `m-${n}`)),
      never,
    )
    const first = await join(one.session, source(topic))
    const mine = await assignment(first)
    const all = await take(mine, 10)
    expect(await mine.settle([1, 2, 4, 5, 9].map((n) => all[n]?.token))).toBe('settled')
    expect(await positions(see, `${topic}__workers`, topic)).toEqual([0])
    await first.leave()
    const second = await join(one.session, source(topic))
    expect(idsOf(await take(await assignment(second), 5))).toEqual(['m-0', 'm-3', 'm-6', 'm-7', 'm-8'])
    await second.leave()
  })

  it('K14, K15: what a shutdown interrupts is no failure, and comes again', async () => {
    const target = defineTopic(`traps.t${++topics}`, { schema: unchecked<{ n: number }>(), groups: ['workers'] })
    const one = await connect(kafka({ url: broker.url }), { log: false })
    let running = 0
    await one.consume(target, { group: 'workers', retry: { attempts: 1 } }, async ({ signal }) => {
      running++
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
    })
    await one.producer(target).send({ n: 1 })
    await until('it runs', () => running === 1)
    await one.close({ drainMs: 200 })
    const two = await connect(kafka({ url: broker.url }), { log: false })
    const attempts: number[] = []
    await two.consume(target, { group: 'workers' }, ({ attempt }) => void attempts.push(attempt))
    await until('it comes again', () => attempts.length === 1)
    expect(attempts).toEqual([1])
    for await (const letter of two.deadLetters(target, 'workers').list()) throw new Error(`a dead letter: ${letter.reason}`)
    await two.close()
  })

  it('K16: an empty key and no key are not the same', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish([message(topic, 'empty', { key: '' }), message(topic, 'none')], never)
    const member = await join(one.session, source(topic))
    const both = await take(await assignment(member), 2)
    expect(both.map((each) => content(each).key)).toEqual(['', null])
    await member.leave()
  })

  it('K17, KAF-2: after its end an assignment settles nothing, and nothing is written after leaving', async () => {
    const one = await start()
    const topic = await declared(one)
    await one.session.publish(
      numbers(10).map((n) => message(topic, `m-${n}`)),
      never,
    )
    const first = await join(one.session, source(topic))
    const mine = await assignment(first)
    const all = await take(mine, 10)
    expect(await mine.settle(all.slice(0, 4).map(({ token }) => token))).toBe('settled')
    await first.leave()
    expect(mine.lost.aborted).toBe(true)
    expect(await mine.settle(all.slice(4).map(({ token }) => token))).toBe('stale')
    expect(await positions(see, `${topic}__workers`, topic)).toEqual([4])
  })

  it('K18: what is settled in many partitions at once is written for each', async () => {
    const one = await start()
    const topic = await declared(one, { partitions: 4 })
    await one.session.publish(
      numbers(40).map((n) => message(topic, `m-${n}`, { partition: n % 4 })),
      never,
    )
    const member = await join(one.session, source(topic))
    await until('all are ours', () => member.all.filter(({ role }) => role === 'main').length === 4)
    const mains = member.all.filter(({ role }) => role === 'main')
    await Promise.all(
      mains.map(async (each) => expect(await each.settle((await take(each, 10)).map(({ token }) => token))).toBe('settled')),
    )
    expect(await positions(see, `${topic}__workers`, topic)).toEqual([10, 10, 10, 10])
    await member.leave()
  })

  it('K19, K30: after kill -9 of the server consuming goes on, with nothing lost', async () => {
    const own = await startBroker('kafka')
    try {
      const one = await connect(kafka({ url: own.url, sessionTimeoutMs: 6000 }), { log: false })
      const target = defineTopic('killed', { schema: unchecked<{ n: number }>(), groups: ['workers'] })
      const seen = new Set<number>()
      await one.consume(target, { group: 'workers' }, ({ value }) => void seen.add(value.n))
      for (const n of numbers(50)) await one.producer(target).send({ n })
      await own.signal('SIGKILL')
      await own.start()
      const back = performance.now()
      for (const n of numbers(50, 50)) await one.producer(target).send({ n })
      await until('all are handled', () => seen.size === 100)
      expect(performance.now() - back).toBeLessThan(10_000)
      await one.close()
    } finally {
      await own.stop()
    }
  })

  it('K27, KAF-10: a partition that is not there is a definite failure, and touches no other message', async () => {
    const one = await start()
    const topic = await declared(one)
    const report = await one.session.publish([message(topic, 'a'), message(topic, 'b', { partition: 7 }), message(topic, 'c')], never)
    expect(report.failures.map(({ index, outcome }) => [index, outcome])).toEqual([[1, 'failed']])
    expect((await stored(broker.url, see, topic))[0]).toEqual(['a', 'c'])
  })

  it('K28, KAF-13: one answer lost while many send: what resolved is in the log, in order, and only the unknown is there twice', async () => {
    const link = await way()
    const one = await connect(kafka({ url: link.url, reach: () => link.url.slice(8) }), { log: false })
    const target = defineTopic(`traps.t${++topics}`, {
      schema: unchecked<{ key: string; n: number }>(),
      key: ({ key }) => key,
      partitions: 1,
    })
    await one.declare(target)
    const sends = Array.from({ length: 50 }, async (_, key) => {
      for (const n of numbers(20)) await one.producer(target).send({ key: `k${key}`, n }, { id: `k${key}-${n}` })
    })
    await until('some are stored', async () => (await ends(target.name)) > 200)
    link.dropAnswers = true
    const before = await ends(target.name)
    await until('one more is written', async () => (await ends(target.name)) >= before)
    link.cut()
    link.dropAnswers = false
    await Promise.all(sends)
    const [lying = []] = await stored(broker.url, see, target.name)
    expect(new Set(lying).size).toBe(1000)
    for (let key = 0; key < 50; key++) {
      const firsts = [...new Set(lying.filter((id) => id.startsWith(`k${key}-`)))]
      expect(firsts).toEqual(numbers(20).map((n) => `k${key}-${n}`))
    }
    await one.close()
  })

  it('K29, KAF-15: a deleted topic stops nobody else, and goes on when it exists again', async () => {
    const one = await connect(kafka({ url: broker.url, sessionTimeoutMs: 6000 }), { log: false })
    const made = (name: string) =>
      defineTopic(`traps.${name}${++topics}`, { schema: unchecked<{ n: number }>(), groups: ['workers'], partitions: 1 })
    const gone = made('gone')
    const kept = made('kept')
    const seen = { gone: 0, kept: 0 }
    await one.consume(gone, { group: 'workers' }, () => void seen.gone++)
    await one.consume(kept, { group: 'workers' }, () => void seen.kept++)
    await one.producer(gone).send({ n: 0 })
    await until('both are read', () => seen.gone === 1)
    await see.deleteTopics({ topics: [gone.name] })
    await Promise.all(numbers(100).map((n) => one.producer(kept).send({ n })))
    await until('the other one goes on', () => seen.kept === 100)
    await one.producer(gone, { timeoutMs: 20_000 }).send({ n: 1 })
    await until('it goes on', () => seen.gone === 2)
    await one.close()
  })

  it('K31, KAF-7: bytes, headers and tombstones come back as they are', async () => {
    const one = await start()
    const topic = await declared(one)
    const foreign = plain(broker.url).producer()
    await foreign.connect()
    await foreign.send({ topic, messages: [{ partition: 0, key: 'k', value: null, headers: { many: ['a', 'b'], one: ['c'] } }] })
    await one.session.publish([message(topic, 'empty', { body: new Uint8Array(0) }), message(topic, 'null', { body: null })], never)
    const member = await join(one.session, source(topic))
    const all = await take(await assignment(member), 3)
    expect(all.map((each) => content(each).body?.length ?? null)).toEqual([null, 0, null])
    expect({ ...content(all[0]).headers }).toEqual({ many: 'b', one: 'c' })
    await foreign.disconnect()
    await member.leave()
  })

  it('KAF-1: holes that transactions leave do not stop the position', async () => {
    const one = await start()
    const topic = await declared(one)
    const producer = plain(broker.url).producer({ transactionalId: topic, maxInFlightRequests: 1, idempotent: true })
    await producer.connect()
    for (const n of numbers(10)) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: [{ partition: 0, value: `v${n}`, headers: { ce_id: `v${n}` } }] })
      await (n % 3 === 1 ? transaction.abort() : transaction.commit())
    }
    const member = await join(one.session, source(topic))
    const mine = await assignment(member)
    const all = await take(mine, 7)
    expect(idsOf(all)).toEqual([0, 2, 3, 5, 6, 8, 9].map((n) => `v${n}`))
    await mine.settle(all.map(({ token }) => token))
    await until('nothing is left', async () => (await one.session.inspect(topic, 'workers', never)).backlog === 0)
    await producer.disconnect()
    await member.leave()
  })

  it('KAF-11: a service on kafkajs moves to ours by its own names: none lost, none twice', async () => {
    const topic = `old.t${++topics}`
    await see.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
    const producer = plain(broker.url).producer()
    await producer.connect()
    const send = (n: number): Promise<unknown> => producer.send({ topic, messages: [{ partition: n % 3, value: JSON.stringify({ n }) }] })
    for (const n of numbers(30)) await send(n)
    const seen: number[] = []
    const old = plain(broker.url).consumer({ groupId: 'legacy', sessionTimeout: 6000 })
    await old.connect()
    await old.subscribe({ topics: [topic], fromBeginning: true })
    await old.run({ eachMessage: async ({ message: { value } }) => void seen.push((JSON.parse(String(value)) as { n: number }).n) })
    await until('the old service read them', () => seen.length === 30)
    await old.disconnect()
    for (const n of numbers(30, 30)) await send(n)
    const ours = defineTopic(`new.t${topics}`, {
      schema: unchecked<{ n: number }>(),
      groups: ['workers'],
      native: { kafka: { topic, groupIds: { workers: 'legacy' } } },
    })
    const one = await connect(kafka({ url: broker.url, sessionTimeoutMs: 6000 }), { log: false })
    await one.consume(ours, { group: 'workers' }, ({ value }) => void seen.push(value.n))
    await until('ours read the rest', () => seen.length >= 60)
    await one.close()
    for (const n of numbers(30, 60)) await send(n)
    const back = plain(broker.url).consumer({ groupId: 'legacy', sessionTimeout: 6000 })
    await back.connect()
    await back.subscribe({ topics: [topic], fromBeginning: true })
    await back.run({ eachMessage: async ({ message: { value } }) => void seen.push((JSON.parse(String(value)) as { n: number }).n) })
    await until('the old one goes on where ours was', () => seen.length >= 90)
    await back.disconnect()
    await producer.disconnect()
    expect([...seen].sort((a, b) => a - b)).toEqual(numbers(90))
  })

  it('KAF-11: members on kafkajs and ours share one group, every message once', async () => {
    const topic = `mixed.t${++topics}`
    await see.createTopics({ topics: [{ topic, numPartitions: 4 }], waitForLeaders: true })
    const seen: string[] = []
    const old = plain(broker.url).consumer({ groupId: topic, sessionTimeout: 6000, rebalanceTimeout: 6000, heartbeatInterval: 300 })
    await old.connect()
    await old.subscribe({ topics: [topic], fromBeginning: true })
    await old.run({ eachMessage: async ({ message: { value } }) => void seen.push(`old ${String(value)}`) })
    const ours = defineTopic(`ours.t${topics}`, {
      schema: unchecked<{ n: number }>(),
      groups: ['workers'],
      native: { kafka: { topic, groupIds: { workers: topic } } },
    })
    const one = await connect(kafka({ url: broker.url, sessionTimeoutMs: 6000 }), { log: false })
    await one.consume(ours, { group: 'workers' }, ({ value }) => void seen.push(`ours ${JSON.stringify(value)}`))
    const two = (await see.describeGroups([topic])).groups[0]?.members.length
    expect(two).toBe(2)
    const producer = plain(broker.url).producer()
    await producer.connect()
    for (const n of numbers(40)) await producer.send({ topic, messages: [{ partition: n % 4, value: JSON.stringify({ n }) }] })
    await until('all are handled', () => seen.length >= 40)
    expect(new Set(seen.map((each) => each.replace(/^\w+ /, ''))).size).toBe(40)
    expect(new Set(seen.map((each) => each.split(' ')[0]))).toEqual(new Set(['old', 'ours']))
    await producer.disconnect()
    await old.disconnect()
    await one.close()
  })

  it('many partitions are settled by few commits: thousands of messages a second, one by one', async () => {
    const one = await start()
    const topic = await declared(one)
    await Promise.all(
      numbers(4).map((round) =>
        one.session.publish(
          numbers(500).map((n) => message(topic, `m-${round}-${n}`)),
          never,
        ),
      ),
    )
    const member = await join(one.session, source(topic, { maxUnsettled: 5000 }))
    const mine = await assignment(member)
    const all = await take(mine, 2000)
    const began = performance.now()
    await Promise.all(all.map(({ token }) => mine.settle([token])))
    // A commit each would take 12 s.
    expect(performance.now() - began).toBeLessThan(2000)
    await member.leave()
  })
})

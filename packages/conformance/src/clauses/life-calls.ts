// Lifecycle calls in any order, waits that are cancelled, members and brokers that come and go.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Broker, type Consumer, isMessagingError } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import { settled } from '../clock.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { politeRepeats } from './figures.ts'
import { connectChanged } from './spied.ts'
import { deadIds } from './support.ts'

/** The promise's end must be a value, or one of these codes. */
async function endsWith(t: Trial, what: string, codes: readonly string[], promise: Promise<unknown>): Promise<'resolved' | 'rejected'> {
  try {
    await promise
    return 'resolved'
  } catch (error) {
    if (!isMessagingError(error) || !codes.includes(error.code))
      t.fail(`${what} rejected with ${isMessagingError(error) ? `${error.code}: ${error.message}` : String(error)}`)
    return 'rejected'
  }
}

/** The heap after a collection of garbage, in MiB. */
async function heapMiB(t: Trial): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  for (let n = 0; n < 2; n++) {
    collect()
    await t.real(settled())
  }
  return process.memoryUsage().heapUsed / 1_048_576
}

/** LIFE-6: one broker object, seven calls in a seeded order, none awaited before the next. */
async function interleave(t: Trial, round: number): Promise<void> {
  const topic = t.topic('jobs')
  const stop = new AbortController()
  const early = t.random() < 0.1
  const connecting = t.connect({ signal: stop.signal })
  if (early) stop.abort()
  let broker: Broker
  try {
    broker = await connecting
  } catch (error) {
    t.ok(early && isMessagingError(error, 'CANCELLED'), `round ${round}: connect rejected with ${String(error)}`)
    return
  }
  const consumers: Consumer[] = []
  const work: Promise<unknown>[] = []
  let closing: Promise<void> | undefined
  const close = (): void => {
    const next = broker.close({ drainMs: 500 })
    t.ok(closing === undefined || closing === next, `round ${round}: closing twice is the same promise`)
    closing = next
    work.push(next)
  }
  const calls: readonly (() => void)[] = [
    () => {
      const wasClosing = closing !== undefined
      const consuming = broker
        .consume(topic, t.consumeOptions(), () => {})
        .then((consumer) => {
          consumers.push(consumer)
          t.ok(!wasClosing, `round ${round}: consume after close resolved`)
        })
      work.push(endsWith(t, `round ${round}: consume`, ['CLOSED'], consuming))
    },
    close,
    () => {
      for (let n = 0; n < 10; n++) close()
    },
    () => {
      const [consumer] = consumers
      if (consumer === undefined) return
      const first = consumer.close({ drainMs: 500 })
      t.ok(first === consumer.close(), `round ${round}: closing a consumer twice is the same promise`)
      work.push(first)
    },
    () => {
      const wasClosing = closing !== undefined
      const inside = broker.consume(t.topic('inside'), t.consumeOptions(), async () => {
        close()
      })
      work.push(endsWith(t, `round ${round}: consume`, ['CLOSED'], inside))
      if (!wasClosing)
        work.push(endsWith(t, `round ${round}: send`, ['CLOSED'], broker.producer(t.topic('inside')).send(t.orders(1)[0] as Order)))
    },
    () => {
      for (const consumer of consumers) consumer.pause()
    },
    () => {
      for (const consumer of consumers) consumer.resume()
    },
  ]
  for (let n = 0; n < 7; n++) {
    calls[Math.floor(t.random() * calls.length)]?.()
    const turns = Math.floor(t.random() * 4)
    for (let turn = 0; turn < turns; turn++) await (turn === 3 ? t.sleep(1) : Promise.resolve())
  }
  close()
  await Promise.all(work)
  t.equal(broker.status, 'closed', `status after round ${round}`)
  for (const consumer of consumers) {
    await consumer.closed
    t.equal(consumer.state, 'closed', `state of a consumer after round ${round}`)
  }
}

/** LIFE-6, LIFE-8, LIFE-9, LIFE-11, LIFE-12, LIFE-13. */
export const lifeCalls: readonly Clause[] = [
  {
    id: 'LIFE-6',
    title: 'Lifecycle calls are idempotent in any order',
    needs: 'memory',
    async run(t) {
      for (let round = 0; round < t.rounds(50, 20); round++) await interleave(t, round)
      const topic = t.topic('jobs')
      t.equal((await t.auditor.members(topic.name, 'workers')).length, 0, 'members left behind')
      for (let n = 0; n < 10; n++) {
        const broker = await t.connect()
        const consuming = endsWith(
          t,
          'consume while closing',
          ['CLOSED'],
          broker.consume(topic, t.consumeOptions(), () => t.fail('a handler of a consumer that was closed at once')),
        )
        await broker.close()
        await consuming
      }
      const sender = await t.connect()
      const seen = t.recorder()
      await sender.consume(topic, t.consumeOptions(), seen.handler())
      const orders = t.orders(50)
      await t.send(sender, topic, orders)
      await t.fence(sender, topic, seen)
      seen.exactly(orders)
      t.equal((await t.auditor.members(topic.name, 'workers')).length, 1, 'members')
    },
  },
  {
    id: 'LIFE-8',
    title: 'No leaks',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      await sender.declare(topic)
      const timers = (): number => t.server.simulation?.clock.pending() ?? 0
      const listeners = (): number => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
      const cycle = async (): Promise<void> => {
        const broker = await t.connect()
        const seen = t.recorder()
        await broker.consume(topic, t.consumeOptions(), seen.handler())
        await t.send(broker, topic, t.orders(1))
        await t.until('it is handled', () => seen.finished === 1)
        await broker.close()
      }
      for (let n = 0; n < 10; n++) await cycle()
      await t.pass(2 * t.leaseMs)
      const before = {
        timers: timers(),
        listeners: listeners(),
        connections: (await t.auditor.counters()).connections,
        members: (await t.auditor.members(topic.name, 'workers')).length,
      }
      for (let n = 0; n < t.rounds(100, 30); n++) await cycle()
      await t.pass(2 * t.leaseMs)
      const after = {
        timers: timers(),
        listeners: listeners(),
        connections: (await t.auditor.counters()).connections,
        members: (await t.auditor.members(topic.name, 'workers')).length,
      }
      t.equal(after, before, 'what 100 cycles of start and stop leave behind')

      // The suite remembers every connection that it made; these it does not know, so that only a leak can hold them.
      const unknown = async (): Promise<void> => {
        const broker = await connectChanged(t, () => ({}))
        let handled = false
        await broker.consume(topic, t.consumeOptions(), () => {
          handled = true
        })
        await broker.producer(topic).send(t.orders(1)[0] as Order)
        await t.until('it is handled', () => handled)
        await broker.close()
      }
      for (let n = 0; n < 30; n++) await unknown()
      const heapBefore = await heapMiB(t)
      for (let n = 0; n < 100; n++) await unknown()
      t.atMost((await heapMiB(t)) - heapBefore, 5, 'growth of the heap over 100 cycles, in MiB')
    },
  },
  {
    id: 'LIFE-9',
    title: 'Waiting can be cancelled',
    needs: 'memory',
    async run(t) {
      const within = async (what: string, codes: readonly string[], work: Promise<unknown>, stop: () => unknown): Promise<void> => {
        const ended = t.rejects(work, codes, { what })
        await t.pass(500)
        const since = t.now()
        await stop()
        await ended
        t.atMost(t.now() - since, t.slack(1000), `time until ${what} ended`)
      }
      const sending = t.topic('sent')
      const broker = await t.connect()
      await broker.declare(sending)
      t.link(broker).withhold(['publish'])
      const stopSend = new AbortController()
      const send = broker.producer(sending, { timeoutMs: 30_000 }).send(t.orders(1)[0] as Order, { signal: stopSend.signal })
      await within('a blocked send', ['CANCELLED'], send, () => stopSend.abort())
      t.link(broker).heal()

      const topic = t.topic('jobs')
      const puller = await broker.pull(topic, { group: 'workers' })
      const stopReceive = new AbortController()
      await within('a waiting receive', ['CANCELLED'], puller.receive({ waitMs: 60_000, signal: stopReceive.signal }), () =>
        stopReceive.abort(),
      )
      await puller.close()

      const failing = t.topic('failing')
      const seen = t.recorder('failing')
      const consumer = await broker.consume(
        failing,
        t.consumeOptions({ retry: false }),
        seen.handler(() => {
          throw new Error('fails on purpose')
        }),
      )
      const letters = t.orders(5)
      await t.send(broker, failing, letters)
      await t.until('there are dead letters', async () => (await deadIds(broker, failing)).length === 5)
      await consumer.close()
      t.link(broker).withhold(['publish'])
      const stopReplay = new AbortController()
      const replay = broker.deadLetters(failing, 'workers').replay({ all: true }, { signal: stopReplay.signal })
      await within('a blocked replay', ['CANCELLED'], replay, () => stopReplay.abort())
      t.link(broker).heal()
      t.equal(
        [...(await deadIds(broker, failing))].sort(),
        letters.map((order) => order.id).sort(),
        'dead letters after a replay that was given up',
      )

      const starting = await t.connect()
      await starting.declare(topic)
      t.link(starting).withhold(['subscribe'])
      const since = t.now()
      const consuming = starting.consume(topic, t.consumeOptions(), () => t.fail('a handler of a consumer that never started'))
      const refused = t.rejects(consuming, ['CLOSED', 'CANCELLED'], { what: 'consume on a broker that closes' })
      await t.pass(300)
      const closeAt = t.now()
      await starting.close({ drainMs: 500 })
      await refused
      t.atMost(t.now() - closeAt, t.slack(1500), `time until a starting consume ended (it began ${t.now() - since} ms ago)`)

      const given = await t.connect()
      t.link(given).withhold(['subscribe'])
      const stopConsume = new AbortController()
      const giving = given.consume(topic, t.consumeOptions({ signal: stopConsume.signal }), () =>
        t.fail('a handler of a consumer that was given up'),
      )
      await within('a starting consume', ['CANCELLED'], giving, () => stopConsume.abort())
      await given.close()

      const later = t.recorder('later')
      const orders = t.orders(20)
      const sender = await t.connect()
      await t.send(sender, topic, orders)
      await t.member({ topic, recorder: later })
      await t.until('the later consumer has all', () => later.finished === 20, { withinMs: t.takeoverMs, seen: () => later.finished })
      await t.fence(sender, topic, later)
      later.exactly(orders)
    },
  },
  {
    id: 'LIFE-11',
    title: 'Consumers may come and go',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const most = t.virtual ? t.size(5000) : 2500
      const perRound = Math.floor(most / 25)
      const load = t.load(sender, topic, { everyMs: 1, most })
      for (let round = 0; round < t.rounds(20, 10); round++) {
        const member = await t.member({ topic, recorder: seen, acts: [{ holdMs: [1, 4] }] })
        await t.until(`round ${round} handled enough`, () => member.starts >= perRound, { withinMs: 30_000, seen: () => member.starts })
        await member.close()
        t.equal(member.running, 0, `handlers that still run after close in round ${round}`)
      }
      await t.member({ topic, recorder: seen })
      await t.until('all are sent', () => load.sent.length === most, 30_000)
      const stored = await load.stop()
      t.equal(stored.length, most, 'sends that were stored')
      await t.until('all are handled', () => seen.finished === most, { withinMs: 30_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      seen.each(stored)
      politeRepeats(t, seen, load.sent, 4)
      t.equal(seen.disorder().length, 0, 'times that a key went out of order')
    },
  },
  {
    id: 'LIFE-12',
    title: 'The broker may come late',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const early = await t.connect()
      const seen = t.recorder('connected before')
      await t.crash('SIGTERM')
      const since = t.now()
      const error = await t.rejects(t.connect({ connectTimeoutMs: 3000 }), 'UNAVAILABLE', { what: 'connect while the broker is away' })
      t.equal(error.retryable, true, 'may that be tried again')
      t.atLeast(t.now() - since, 2500, 'time until connect gave up')
      t.atMost(t.now() - since, t.slack(4000), 'time until connect gave up')

      const connecting = t.connect({ connectTimeoutMs: t.slack(20_000) })
      const orders = t.orders(10)
      const sends = orders.map((order) => early.producer(topic, { timeoutMs: t.slack(25_000) }).send(order, { id: order.id }))
      const consuming = early.consume(topic, t.consumeOptions(), seen.handler())
      const letters = deadIds(early, topic)
      letters.catch(() => {})
      t.equal(early.health().ready, false, 'ready while the broker is away')
      await t.pass(10_000)
      await t.restart()
      const backAt = t.now()
      const late = await connecting
      t.atMost(t.now() - backAt, t.slack(t.recoverMs), 'time until a waiting connect resolved')
      await Promise.all(sends)
      await consuming
      await t.until('what was sent meanwhile is handled', () => seen.finished === orders.length, {
        withinMs: t.recoverMs,
        seen: () => seen.finished,
      })
      t.equal(await letters.catch(() => deadIds(early, topic)), [], 'dead letters')
      t.equal(early.health().ready, true, 'ready afterwards')

      const other = t.topic('others')
      const fresh = t.recorder('connected after')
      await late.consume(
        other,
        t.consumeOptions({ retry: false }),
        fresh.handler((_, start) => {
          if (start.seq === 1) throw new Error('fails on purpose')
        }),
      )
      const more = t.orders(2, { keyNames: ['late'] })
      await t.send(late, other, more)
      await t.until(
        'the broker object that came late works',
        async () => fresh.starts.length === 2 && (await deadIds(late, other)).length === 1,
        { seen: () => fresh.starts.length },
      )
      await t.fence(early, topic, seen)
      seen.each(orders)
    },
  },
]

// How things end: draining, closing, what is flushed, what is handed over.

import type { Broker } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Recorder } from '../recorder.ts'
import type { Gate, Trial } from '../trial.ts'
import { politeRepeats } from './figures.ts'
import { foreign, storedIds, utf8 } from './stored.ts'

const settledBy = async (t: Trial, topic: OrderTopic): Promise<number> => (await t.auditor.settles(topic.name, 'workers')).settled
const dead = async (t: Trial, topic: OrderTopic): Promise<number> => (await t.auditor.read(t.place(topic, 'dead'))).length

/** A consumer whose handlers wait, `running` of them running and the others of `orders` held. */
async function stuck(
  t: Trial,
  topic: OrderTopic,
  orders: readonly Order[],
  concurrency: number,
): Promise<{ broker: Broker; seen: Recorder; gate: Gate; signals: AbortSignal[] }> {
  const broker = await t.connect()
  const seen = t.recorder('closing')
  const gate = t.gate()
  const signals: AbortSignal[] = []
  await broker.consume(
    topic,
    t.consumeOptions({ concurrency }),
    seen.handler((message) => {
      signals.push(message.signal)
      return gate.wait()
    }, 'closing'),
  )
  const sender = await t.connect()
  await t.send(sender, topic, orders)
  const running = Math.min(concurrency, orders.length)
  await t.until(
    `${running} handlers run and the rest is held`,
    async () => seen.running === running && (await t.auditor.unsettled(topic.name, 'workers')) === orders.length,
    {
      seen: () => ({ running: seen.running, handedOut: t.calls(broker).handedOut }),
    },
  )
  return { broker, seen, gate, signals }
}

/** LIFE-3: one way to be stuck while closing; everything comes again elsewhere. */
async function closesInTime(t: Trial, how: 'stuck' | 'inside' | 'server gone'): Promise<void> {
  const topic = t.topic(how.replace(' ', '-'))
  const orders = t.orders(3, { keys: 3 })
  let closedAfter: number | undefined
  let close: () => void = () => {}
  const { broker, seen, gate, signals } = await stuck(t, topic, orders, 3)
  if (how === 'inside') {
    // A handler of another consumer on the same broker object closes it, and waits for that.
    const inner = t.topic('inside-closer')
    const closing = new Promise<void>((resolve) => {
      close = resolve
    })
    await broker.consume(inner, t.consumeOptions(), async () => {
      const since = t.now()
      await broker.close({ drainMs: 2000 })
      closedAfter = t.now() - since
      close()
    })
    const sender = await t.connect()
    await t.send(sender, inner, t.orders(1))
    await closing
  } else {
    if (how === 'server gone') await t.crash()
    const since = t.now()
    await broker.close({ drainMs: 2000 })
    closedAfter = t.now() - since
  }
  t.atMost(closedAfter ?? Number.POSITIVE_INFINITY, t.slack(3000), `time of close with drainMs 2000 (${how})`)
  if (how !== 'server gone') {
    const told = t.events('abandoned').flatMap(({ event }) => event['ids'] as readonly string[])
    for (const order of orders) t.ok(told.includes(order.id), `an event names ${order.id}, which close left behind (${how})`, [order.id])
    t.ok(
      t.logs.some((entry) => entry.event === 'abandoned'),
      'the log names what close left behind',
    )
  }
  t.equal(
    signals.map((signal) => signal.aborted),
    [true, true, true],
    `signals of the abandoned handlers (${how})`,
  )
  if (how === 'server gone') await t.restart()
  const again = t.recorder('again')
  await t.member({ topic, recorder: again })
  await t.until('what was left behind is handled', () => again.finished === orders.length, {
    withinMs: t.takeoverMs + t.recoverMs,
    seen: () => again.finished,
  })
  gate.open()
  await t.fence(await t.connect(), topic, again)
  again.exactly(orders)
  t.equal(seen.starts.length, orders.length, 'handlers that the closing one started')
}

/** LIFE-1 to LIFE-5, LIFE-7, LIFE-10. */
export const lifeDrain: readonly Clause[] = [
  {
    id: 'LIFE-1',
    title: 'Drain finishes what runs and hands over the rest',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 1 })
      const orders = t.orders(32, { keys: 32 })
      const { broker, seen, gate } = await stuck(t, topic, orders, 8)
      const closing = broker.close()
      let closed = false
      void closing.then(() => {
        closed = true
      })
      await t.pass(1000)
      t.equal(closed, false, 'closed while handlers run')
      t.equal(await settledBy(t, topic), 0, 'settled while handlers run')
      const next = t.recorder('successor')
      // In this process: another one may take longer to start than the drain may.
      await (await t.connect()).consume(topic, t.consumeOptions({ concurrency: 1 }), next.handler())
      await t.pass(1000)
      t.equal(next.starts.length, 0, 'starts at the successor while the old one drains')
      const since = t.now()
      gate.open()
      await closing
      t.equal(
        { running: seen.running, done: seen.done, starts: seen.starts.length },
        { running: 0, done: 8, starts: 8 },
        'handlers when close resolved',
      )
      t.atMost(t.now() - since, t.slack(1000), 'time of close after the last handler')
      t.equal(t.calls(broker).settled, 8, 'settled by the one that closed')
      const held = orders.slice(8)
      await t.until('the successor has the rest', () => next.finished === held.length, { withinMs: 5000, seen: () => next.finished })
      t.equal(
        next.starts.map((start) => start.id),
        held.map((order) => order.id),
        'order at the successor',
      )
      t.equal(next.starts.filter((start) => start.attempt > 1).length, 0, 'attempts that the hand-over counted')
      await t.fence(await t.connect(), topic, next)
      next.exactly(held)
      seen.exactly(orders.slice(0, 8))
      t.equal(await dead(t, topic), 0, 'dead letters')
    },
  },
  {
    id: 'LIFE-2',
    title: 'While draining, new messages are left alone',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const [first] = t.orders(1)
      if (first === undefined) return
      const { broker, seen, gate } = await stuck(t, topic, [first], 8)
      const closing = broker.close()
      const more = t.orders(10, { keyNames: Array.from({ length: 10 }, (_, index) => `other-${index}`) })
      for (const order of more)
        await t.auditor.write(topic.name, foreign(t, { id: order.id, key: order.key, body: utf8(JSON.stringify(order)) }))
      await t.pass(3000)
      t.equal(seen.starts.length, 1, 'starts while draining')
      t.equal(await settledBy(t, topic), 0, 'settlements while draining')
      gate.open()
      await closing
      t.equal(await settledBy(t, topic), 1, 'settlements after draining')
      t.equal(seen.starts.length, 1, 'starts of the one that closed')
      const next = t.recorder('successor')
      await t.member({ topic, recorder: next })
      await t.until('the ten are handled elsewhere', () => next.finished === 10, { withinMs: 5000, seen: () => next.finished })
      await t.fence(await t.connect(), topic, next)
      next.exactly(more)
      t.equal(next.starts.filter((start) => start.attempt > 1).length, 0, 'attempts above the first')
    },
  },
  {
    id: 'LIFE-3',
    title: 'Close keeps its deadline',
    needs: 'memory',
    async run(t) {
      await closesInTime(t, 'stuck')
      await closesInTime(t, 'inside')
      await closesInTime(t, 'server gone')
    },
  },
  {
    id: 'LIFE-4',
    title: 'Rolling restart is invisible',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const seen = t.recorder()
      const script = { topic, recorder: seen, acts: [{ holdMs: [1, 20] as const }] }
      const team = await t.team(3, script)
      const sender = await t.connect()
      const load = t.load(sender, topic, { everyMs: 10 / 3 })
      await t.until('all three handle', () => team.every((member) => member.starts > 20))
      for (const member of team) {
        t.struck('messages on their way', member.starts)
        await member.close()
        await t.member(script)
        await t.pass(1000)
      }
      const stored = await load.stop()
      t.equal(stored.length, load.sent.length, 'sends that were stored')
      await t.until('all are handled', () => seen.finished === stored.length, {
        withinMs: 10_000,
        seen: () => `${seen.finished} of ${stored.length}`,
      })
      await t.fence(sender, topic, seen)
      seen.each(stored)
      politeRepeats(t, seen, load.sent, 4)
      t.equal(seen.overlaps.length, 0, 'handlers of one key at the same time')
      t.equal(seen.disorder().length, 0, 'times that a key went out of order')
    },
  },
  {
    id: 'LIFE-5',
    title: 'Close flushes sends',
    needs: 'memory',
    async run(t) {
      for (const latencyMs of [0, 50]) {
        const topic = t.topic(`sent-${latencyMs}`)
        const broker = await t.connect()
        await broker.declare(topic)
        if (latencyMs > 0) t.link(broker).delay(latencyMs)
        const producer = broker.producer(topic, { timeoutMs: 30_000 })
        const orders = t.orders(t.size(10_000))
        const sends = orders.map((order) => producer.send(order, { id: order.id }))
        const since = t.now()
        const ended = Promise.allSettled(sends)
        await broker.close()
        t.atMost(t.now() - since, t.slack(11_000), 'time of close')
        const open = t.sends.filter((send) => send.topic === topic.name && send.outcome === 'open').length
        t.equal(open, 0, 'sends without an outcome when close resolved')
        const outcomes = await ended
        const kept = new Set(await storedIds(t, topic))
        const resolved = orders.filter((_, index) => outcomes[index]?.status === 'fulfilled')
        const missing = resolved.filter((order) => !kept.has(order.id))
        if (missing.length > 0)
          t.fail(
            `${missing.length} of ${resolved.length} resolved sends are not at the broker`,
            missing.map((order) => order.id),
          )
        t.equal(resolved.length, orders.length, 'sends that close flushed, with a server that answers')
      }
    },
  },
  {
    id: 'LIFE-7',
    title: 'After close everything rejects',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const [first, ...rest] = t.orders(40)
      if (first === undefined) return
      const { broker, gate } = await stuck(t, topic, [first], 8)
      const pulled = t.topic('pulled')
      const puller = await broker.pull(pulled, { group: 'workers' })
      const producer = broker.producer(topic, { timeoutMs: 5000 })
      await t.settled(pulled)
      const before = (await storedIds(t, topic)).length
      const closing = broker.close()
      for (const when of ['while closing', 'after close']) {
        const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
          ['send', () => producer.send(rest.pop() as Order)],
          ['sendBatch', () => producer.sendBatch([{ value: rest.pop() as Order }])],
          ['send of a new producer', async () => broker.producer(topic).send(rest.pop() as Order)],
          ['receive', () => puller.receive({ waitMs: 60_000 })],
          ['consume', () => broker.consume(topic, t.consumeOptions(), () => {})],
          ['consumeBatch', () => broker.consumeBatch(topic, { group: 'workers' }, async () => {})],
          ['pull', () => broker.pull(topic, { group: 'workers' })],
          ['declare', () => broker.declare(topic)],
        ]
        for (const [what, call] of calls) {
          const since = t.now()
          await t.rejects(call(), 'CLOSED', { what: `${what} ${when}` })
          t.atMost(t.now() - since, t.slack(100), `time until ${what} ${when} rejected`)
        }
        if (when === 'while closing') {
          gate.open()
          await closing
        }
      }
      t.atMost((await storedIds(t, topic)).length, before, 'stored of what was refused')
    },
  },
  {
    id: 'LIFE-10',
    title: 'message.signal tells the truth',
    needs: 'memory',
    async run(t) {
      const sender = await t.connect()
      const abortTimes = async (
        name: string,
        options: { readonly handlerTimeoutMs?: number },
        fault: (broker: Broker) => Promise<unknown>,
      ): Promise<{ readonly startedAt: number; readonly faultAt: number; readonly abortedAt: number }> => {
        const topic = t.topic(name)
        const broker = await t.connect()
        const gate = t.gate()
        let startedAt = 0
        let abortedAt: number | undefined
        await broker.consume(topic, t.consumeOptions(options), (message) => {
          startedAt = t.now()
          message.signal.addEventListener('abort', () => {
            abortedAt ??= t.now()
          })
          return gate.wait()
        })
        await t.send(sender, topic, t.orders(1))
        await t.until('it runs', () => startedAt > 0)
        if (options.handlerTimeoutMs === undefined) await t.pass(1500)
        t.equal(abortedAt, undefined, `aborted before there was a reason (${name})`)
        const faultAt = t.now()
        const work = fault(broker)
        await t.until(`the signal aborts (${name})`, () => abortedAt !== undefined, t.takeoverMs)
        gate.open()
        await work
        return { startedAt, faultAt, abortedAt: abortedAt ?? 0 }
      }

      // A lease may outlive a connection that comes back in time: this one does not come back before the assignment is lost.
      const lost = await abortTimes('lost', {}, (broker) => {
        t.link(broker).refuse(true)
        t.link(broker).cut()
        return Promise.resolve()
      })
      const ends = t.events('lost').filter(({ at, event }) => event['topic'] === t.topic('lost').name && at >= lost.faultAt)
      t.atLeast(ends.length, 1, 'assignments that were lost')
      t.atMost(lost.abortedAt - (ends[0]?.at ?? 0), t.slack(100), 'time from the loss to the signal')
      const expelled = await abortTimes('expelled', {}, async () => {
        for (const instance of await t.auditor.members(t.topic('expelled').name, 'workers')) await t.auditor.expel(instance)
      })
      t.atMost(expelled.abortedAt - expelled.faultAt, t.slack(4000), 'time from the expulsion to the signal')
      const limit = await abortTimes('limited', { handlerTimeoutMs: 700 }, async () => {})
      t.atLeast(limit.abortedAt - limit.startedAt, 700, 'time until the handler limit aborted the signal')
      t.atMost(limit.abortedAt - limit.startedAt, t.slack(900), 'time until the handler limit aborted the signal')
      const drained = await abortTimes('drained', {}, (broker) => broker.close({ drainMs: 1000 }))
      t.atLeast(drained.abortedAt - drained.faultAt, 1000, 'time until the drain deadline aborted the signal')
      t.atMost(drained.abortedAt - drained.faultAt, t.slack(1400), 'time until the drain deadline aborted the signal')

      const topic = t.topic('quiet')
      const broker = await t.connect()
      const signals: AbortSignal[] = []
      const seen = t.recorder()
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(async (message) => {
          signals.push(message.signal)
          await t.sleep(50)
        }),
      )
      const orders = t.orders(20)
      await t.send(sender, topic, orders)
      await t.fence(sender, topic, seen)
      await t.settled(topic)
      await t.pass(2000)
      t.equal(signals.filter((signal) => signal.aborted).length, 0, 'signals aborted by settling')
      await broker.close()
      t.equal(signals.filter((signal) => signal.aborted).length, 0, 'signals of finished handlers aborted by closing')
      seen.exactly(orders)
    },
  },
]

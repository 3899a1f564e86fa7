// Delayed messages on their way into their topic: movers that die, many that wait, clocks that step, several groups.

import { retry } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { FaultPoint } from '../member.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { idsOf, p99 } from './figures.ts'
import { storedIds } from './stored.ts'

/** DLY-4 where core moves: the mover ends itself exactly between two steps. */
async function killMovers(t: Trial): Promise<void> {
  const points: readonly FaultPoint[] = [
    { operation: 'publish', role: 'main', when: 'before' },
    { operation: 'publish', role: 'main', when: 'after' },
    { operation: 'settle', role: 'delay', when: 'before' },
    { operation: 'settle', role: 'delay', when: 'after' },
  ]
  const sender = await t.connect()
  for (let round = 0; round < t.rounds(20, 4); round++) {
    // The mover consumes for another group, so that an extra start of this one comes from the moving alone.
    const topic = t.topic(`round-${round}`, { groups: ['workers', 'movers'] })
    const seen = t.recorder(`round ${round}`)
    const mover = await t.member({ topic, group: 'movers', dieAt: points[round % points.length] as FaultPoint })
    const orders = t.orders(5)
    await t.send(sender, topic, orders, { delayMs: 1000 })
    await mover.died
    t.struck('delayed messages', orders.length)
    const heir = await t.member({ topic, recorder: seen })
    await t.until(`all are handled in round ${round}`, () => seen.finished === orders.length, {
      withinMs: t.takeoverMs + 10_000,
      seen: () => seen.finished,
    })
    await t.fence(sender, topic, seen)
    seen.each(orders)
    for (const order of orders) t.atMost(seen.of(order).length, 2, `starts of ${order.id} in round ${round}`)
    await heir.close()
  }
}

/** DLY-4 where the server moves: it is the process that dies. */
async function killServer(t: Trial): Promise<void> {
  if (t.profile === 'volatile') t.notProven('the server keeps nothing when it ends')
  const signal = t.profile === 'durable' ? 'SIGKILL' : 'SIGTERM'
  const topic = t.topic('moved')
  const seen = t.recorder()
  const sender = await t.connect()
  await t.member({ topic, recorder: seen })
  const all: Order[] = []
  for (let round = 0; round < t.rounds(20, 4); round++) {
    const orders = t.orders(10)
    all.push(...orders)
    const producer = sender.producer(topic, { timeoutMs: 30_000 })
    const due = t.now() + 1000
    // Half are due at the moment of the crash, half right after it.
    await Promise.all(orders.map((order, index) => producer.send(order, { id: order.id, delayMs: index % 2 === 0 ? 1000 : 1200 })))
    const late = due - t.now()
    if (late > 0) await t.sleep(late)
    await t.crash(signal)
    await t.pass(300)
    await t.restart()
    await t.until(`all are handled in round ${round}`, () => seen.finished === all.length, {
      withinMs: t.takeoverMs + t.recoverMs,
      seen: () => seen.finished,
    })
  }
  await t.fence(sender, topic, seen)
  seen.each(all)
  for (const order of all) t.atMost(seen.of(order).length, 2, `starts of ${order.id}`)
}

async function twoMovers(t: Trial): Promise<void> {
  const topic = t.topic('two')
  const seen = t.recorder('two movers')
  await t.team(2, { topic, recorder: seen })
  const sender = await t.connect()
  const orders = t.orders(100)
  await t.send(sender, topic, orders, { delayMs: 2000 })
  await t.until('all are handled', () => seen.finished === orders.length, { withinMs: 10_000, seen: () => seen.finished })
  await t.fence(sender, topic, seen)
  seen.exactly(orders)
}

async function stepped(t: Trial, stepMs: number): Promise<void> {
  const name = stepMs < 0 ? 'back' : 'forth'
  const delayed = t.topic(`${name}-delayed`)
  const failing = t.topic(`${name}-failing`)
  const limited = t.topic(`${name}-limited`)
  const broker = await t.connect()
  const late = t.recorder(`${name} delayed`)
  const retried = t.recorder(`${name} retried`)
  const stuck = t.recorder(`${name} limited`)
  const startedAtWall = new Map<string, number>()
  await broker.consume(
    delayed,
    t.consumeOptions(),
    late.handler((message) => void startedAtWall.set(message.id, t.wall())),
  )
  await broker.consume(
    failing,
    t.consumeOptions({ concurrency: 64, retry: { attempts: 3, firstDelayMs: 5000, factor: 1 } }),
    retried.handler((message) => {
      if (message.attempt === 1) throw new Error('fails on purpose')
    }),
  )
  let abortedAfter: number | undefined
  await broker.consume(
    limited,
    t.consumeOptions({ handlerTimeoutMs: 3000 }),
    stuck.handler((message, start) => {
      return new Promise((resolve) => {
        message.signal.addEventListener('abort', () => {
          abortedAfter = t.now() - start.at
          resolve()
        })
      })
    }),
  )
  const blocked = await t.connect()
  await blocked.declare(failing)
  t.link(blocked).withhold(['publish'])

  const delayMs = 10_000
  const dueWall = t.wall() + delayMs
  const sentAt = t.now()
  const waiting = t.orders(50)
  const brief = t.orders(5)
  const backoff = t.orders(50)
  const held = t.orders(1)
  await t.send(broker, delayed, waiting, { delayMs })
  await t.send(broker, delayed, brief, { delayMs, expiresAt: new Date(t.wall() + 1_800_000) })
  await t.send(broker, failing, backoff)
  await t.send(broker, limited, held)
  let timedOutAfter: number | undefined
  const unknownSince = t.now()
  const unknown = blocked
    .producer(failing, { timeoutMs: 4000, retryUnknown: false })
    .send(t.orders(1)[0] as Order)
    .catch(() => {
      timedOutAfter = t.now() - unknownSince
    })
  await t.until('50 wait in backoff and one handler runs', () => retried.starts.length >= 50 && stuck.running === 1)
  const ownersBefore = [...(await t.auditor.owners(delayed.name, 'workers'))]
  t.struck('messages in backoff', 50 - retried.finished)
  t.stepWall(stepMs)

  await t.until('backoff is over', () => retried.finished >= backoff.length, { withinMs: 10_000, seen: () => retried.finished })
  for (const order of backoff) {
    const [first, second, ...more] = retried.of(order)
    t.equal(more.length, 0, `starts of ${order.id} after the second`)
    const gap = (second?.at ?? 0) - (first?.endedAt ?? 0)
    t.atLeast(gap, 5000, `backoff of ${order.id}`)
    t.atMost(gap, t.slack(6000), `backoff of ${order.id}`)
  }
  await t.until('the handler limit struck', () => abortedAfter !== undefined, 5000)
  t.atLeast(abortedAfter ?? 0, 3000, 'the handler limit')
  t.atMost(abortedAfter ?? 0, t.slack(3250), 'the handler limit')
  await unknown
  t.atLeast(timedOutAfter ?? 0, 4000, 'timeoutMs of a send')
  t.atMost(timedOutAfter ?? 0, t.slack(5000), 'timeoutMs of a send')
  t.equal([...(await t.auditor.owners(delayed.name, 'workers'))], ownersBefore, 'owners before and after the step')
  t.equal(t.events('lost').length, 0, 'assignments lost')

  const expected = stepMs < 0 ? [...waiting, ...brief] : waiting
  await t.until('the delayed are handled', () => late.finished === expected.length, {
    withinMs: delayMs + Math.max(0, -stepMs) + 10_000,
    seen: () => late.finished,
  })
  for (const order of expected) {
    const [start] = late.of(order)
    t.atLeast(startedAtWall.get(order.id) ?? 0, dueWall, `wall clock at the start of ${order.id}`)
    const early = sentAt + delayMs - (start?.at ?? 0)
    t.atMost(early, Math.max(0, stepMs), `milliseconds that ${order.id} came early`)
    t.atMost(-early, t.slack(Math.max(0, -stepMs) + 1500), `milliseconds that ${order.id} came late`)
  }
  if (stepMs > 0) {
    await t.until(
      'what expired meanwhile is reported',
      () => brief.every((order) => idsOf(t, 'expired').includes(order.id)),
      delayMs + 10_000,
    )
  }
  await t.settled(delayed, 'workers', 10_000)
  late.exactly(expected)
  t.link(blocked).heal()
}

/** DLY-4, DLY-6, DLY-9, DLY-10. */
export const dlyMoving: readonly Clause[] = [
  {
    id: 'DLY-4',
    title: 'Moving from delayed to ready is safe',
    needs: 'memory',
    async run(t) {
      if (t.capabilities.delay === 'none') await killMovers(t)
      else await killServer(t)
      await twoMovers(t)
    },
  },
  {
    id: 'DLY-6',
    title: 'Many waiting messages are cheap',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      const topic = t.topic('later')
      const sender = await t.connect()
      const broker = await t.connect()
      const seen = t.recorder()
      const latencies: number[] = []
      const sentAt = new Map<string, number>()
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler((message) => {
          const at = sentAt.get(message.id)
          if (at !== undefined) latencies.push(t.now() - at)
        }),
      )
      const steady = async (): Promise<number> => {
        latencies.length = 0
        for (const order of t.orders(200)) {
          sentAt.set(order.id, t.now())
          await t.send(sender, topic, [order])
          await t.sleep(10)
        }
        await t.fence(sender, topic, seen)
        t.equal(latencies.length, 200, 'undelayed orders handled')
        return p99(latencies)
      }
      const baseline = await steady()
      seen.reset()

      const timersBefore = t.server.simulation?.clock.pending() ?? 0
      const count = t.size(10_000)
      const waiting = t.orders(count)
      const due = t.now() + 60_000
      const producer = sender.producer(topic, { timeoutMs: 30_000, maxBuffered: 10_000 })
      await Promise.all(waiting.map((order) => producer.send(order, { id: order.id, delayMs: 60_000 })))
      const calls = t.calls(broker)
      let held = 0
      const look = (): void => {
        held = Math.max(held, calls.handedOut - calls.settled)
      }
      await t.until(
        'half of the time is over',
        () => {
          look()
          return t.now() > due - 30_000
        },
        60_000,
      )
      if (t.server.simulation !== undefined)
        t.atMost(t.server.simulation.clock.pending() - timersBefore, 50, `timers for ${count} waiting messages`)
      // What else the machine does can only add to a round: the quietest of three is what the waiting messages cost.
      const most = Math.max(2 * baseline, 10)
      let during = await steady()
      for (let round = 2; round <= 3 && during > most; round++) during = Math.min(during, await steady())
      t.atMost(during, most, 'p99 of undelayed messages while many wait, in milliseconds')
      look()
      t.atMost(held, 500, 'waiting messages held by a forwarder')
      t.equal(seen.starts.filter((start) => sentAt.get(start.id) === undefined).length, 0, 'starts before the time')

      await t.until('all are handled', () => seen.finished >= count + 200, { withinMs: 60_000, seen: () => seen.finished })
      for (const order of waiting) {
        const starts = seen.of(order)
        t.equal(starts.length, 1, `starts of ${order.id}`)
        if ((starts[0]?.at ?? 0) < due) t.fail(`${order.id} came early`, [order.id])
      }
      await t.settled(topic)
    },
  },
  {
    id: 'DLY-9',
    title: 'A clock step moves only what is wall-clock time',
    needs: 'memory',
    async run(t) {
      await stepped(t, -3_600_000)
      await stepped(t, 3_600_000)
    },
  },
  {
    id: 'DLY-10',
    title: 'A delayed message enters its topic once, a parked one never',
    needs: 'memory',
    async run(t) {
      // One more group, which nobody reads, so that the server keeps all that entered the topic.
      const topic = t.topic('shared', { keyed: false, groups: ['a', 'b', 'c', 'kept'] })
      const sender = await t.connect()
      const recorders = ['a', 'b', 'c'].map((group) => ({ group, seen: t.recorder(group) }))
      const delayed = t.orders(100)
      const parked = t.orders(100)
      const toPark = new Set(parked.map((order) => order.id))
      for (const { group, seen } of recorders) {
        for (let n = 0; n < 2; n++) {
          const broker = await t.connect()
          await broker.consume(
            topic,
            t.consumeOptions({ group }),
            seen.handler((message) => {
              if (group === 'a' && toPark.has(message.id) && message.attempt === 1) return retry({ afterMs: 31_000 })
            }),
          )
        }
      }
      await t.send(sender, topic, delayed, { delayMs: 3000 })
      await t.send(sender, topic, parked)
      await t.until('the retries are parked', () => t.events('parked').length === parked.length, {
        withinMs: 20_000,
        seen: () => t.events('parked').length,
      })
      await t.until('every group has all', () => recorders.every(({ seen }) => seen.finished === 200), {
        withinMs: 60_000,
        seen: () => recorders.map(({ group, seen }) => `${group}: ${seen.finished}`),
      })
      await t.fence(sender, topic, ...recorders.map(({ seen }) => seen))
      for (const { group, seen } of recorders) {
        if (group !== 'a') seen.exactly([...delayed, ...parked])
        else {
          seen.each([...delayed, ...parked])
          for (const order of delayed) t.equal(seen.of(order).length, 1, `starts of ${order.id} in group a`)
          for (const order of parked)
            t.equal(
              seen.of(order).map((start) => start.attempt),
              [1, 2],
              `attempts of ${order.id} in group a`,
            )
          t.equal(seen.repeats, 0, 'repeats in group a')
        }
      }
      const stored = new Map<string, number>()
      for (const id of await storedIds(t, topic)) stored.set(id, (stored.get(id) ?? 0) + 1)
      for (const order of [...delayed, ...parked]) t.equal(stored.get(order.id), 1, `entries of ${order.id} in the topic`)
    },
  },
]

// Members that die, freeze or leave with work in hand, and who does it then.

import type { Message } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Member } from '../member.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Recorder } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { lateAndUnaware, lateAtTheContract, lateHandlers, signalOfTheLate } from './rbl-zombies.ts'
import { readMeant } from './stored.ts'

/** Members in this process that own something of a topic, once all do. */
async function allOwn(t: Trial, members: readonly Member[]): Promise<void> {
  await t.until(
    'every member owns something',
    () => members.every((member) => member.calls.assignments.some(({ role }) => role === 'main')),
    {
      withinMs: t.takeoverMs,
      seen: () => members.map((member) => `${member.name}: ${member.calls.assignments.length}`),
    },
  )
  await t.pass(1000)
}

/** Handed out to this member and not settled. */
const holds = (member: Member): number => member.calls.handedOut - member.calls.settled

/** Every order that a failing member held was done by another one, within takeover of `since`. */
async function takenOver(t: Trial, seen: Recorder, orders: readonly Order[], since: number, what: string): Promise<void> {
  const left = t.takeoverMs - (t.now() - since)
  await t.until(`all are handled by others (${what})`, () => seen.finished === orders.length, {
    withinMs: Math.max(0, left),
    seen: () => `${seen.finished} of ${orders.length}`,
  })
}

/** RBL-1, RBL-4, RBL-7, RBL-9, RBL-10, RBL-12, RBL-13. */
export const rblTakeover: readonly Clause[] = [
  {
    id: 'RBL-1',
    title: "A dead member's work goes to another",
    needs: 'memory',
    async run(t) {
      const sender = await t.connect()
      for (let round = 0; round < t.rounds(5, 2); round++) {
        const topic = t.topic(`round-${round}`)
        const seen = t.recorder(`round ${round}`)
        const doomed = await t.member({ topic, recorder: seen, acts: [{ then: 'never' }] })
        const heir = await t.member({ topic, recorder: seen })
        await allOwn(t, [doomed, heir])
        const orders = t.orders(40)
        await t.send(sender, topic, orders)
        await t.until(
          'the first holds 10 and the other is through',
          () => holds(doomed) >= 10 && seen.finished + holds(doomed) >= orders.length,
          {
            seen: () => ({ holds: holds(doomed), finished: seen.finished }),
          },
        )
        // Time enough for whatever would settle too early.
        await t.pass(1000)
        const unsettled = await t.auditor.unsettled(topic.name, 'workers')
        t.atLeast(unsettled, 10, 'unsettled when the member dies')
        t.struck('unsettled deliveries', unsettled)
        const since = t.now()
        doomed.kill()
        await takenOver(t, seen, orders, since, `round ${round}`)
        await t.fence(sender, topic, seen)
        seen.each(orders)
        t.atMost(seen.repeats, unsettled, 'repeats')
        for (const order of orders)
          t.ok(
            seen.of(order).some((start) => start.member === heir.name && start.end === 'done'),
            `${order.id} was done by the live member`,
            [order.id],
          )
        await t.settled(topic)
        await heir.close()
      }
    },
  },
  {
    id: 'RBL-4',
    title: 'A zombie cannot settle',
    needs: 'memory',
    async run(t) {
      await lateAtTheContract(t)
      await lateHandlers(t)
      await lateAndUnaware(t)
      await signalOfTheLate(t)
    },
  },
  {
    id: 'RBL-7',
    title: 'Coming back resumes',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('killed')
      const sender = await t.connect()
      const seen = t.recorder()
      const first = await t.member({ topic, recorder: seen, acts: [{ then: 'never' }], options: { concurrency: 10 } })
      const old = t.orders(10, { keys: 5 })
      await t.send(sender, topic, old)
      await t.until('it holds 10', () => holds(first) === 10)
      await t.pass(1000)
      t.struck('unsettled deliveries', holds(first))
      const since = t.now()
      first.kill()
      const newer = t.orders(20, { keys: 5 })
      await t.send(sender, topic, newer)
      const second = await t.member({ topic, recorder: seen })
      // Starting a process takes its time on a busy machine; the lease runs out meanwhile.
      const startedAt = t.virtual ? since : t.now()
      t.ok(second.instance !== first.instance, 'a member that starts again has another identity')
      await t.until('the old ones are handled', () => old.every((order) => seen.of(order).some((start) => start.end === 'done')), {
        withinMs: t.takeoverMs - (t.now() - startedAt),
        seen: () => seen.finished,
      })
      await t.until('all are handled', () => seen.finished === 30, 5000)
      await t.fence(sender, topic, seen)
      seen.each([...old, ...newer])
      for (const order of newer) {
        const start = seen.of(order)[0]?.n ?? 0
        const before = old.filter((other) => other.key === order.key)
        for (const other of before)
          t.ok(
            seen.of(other).some((each) => each.end === 'done' && each.n < start),
            `${other.id} came before the newer ${order.id} of its key`,
            [other.id, order.id],
          )
      }
      t.atMost(seen.repeats, 10, 'repeats')

      const polite = t.topic('closed')
      const again = t.recorder('closed politely')
      const closing = await t.member({ topic: polite, recorder: again })
      await t.send(sender, polite, t.orders(5))
      await t.until('it works', () => again.finished === 5)
      await closing.close()
      const waiting = t.orders(10)
      await t.send(sender, polite, waiting)
      let restartedAt = t.now()
      await t.member({ topic: polite, recorder: again })
      if (!t.virtual) restartedAt = t.now()
      await t.until('the first message comes', () => again.starts.length > 5, 5000)
      t.atMost(t.now() - restartedAt, t.slack(2000), 'time from start to the first message after a polite close')
      await t.until('all are handled', () => again.finished === 15, 5000)
      t.equal(again.repeats, 0, 'repeats after a polite close')
    },
  },
  {
    id: 'RBL-9',
    title: 'Leaving drops nothing',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const leaver = await t.member({ topic, recorder: seen, acts: [{ then: 'never' }] })
      const orders = t.orders(30)
      await t.send(sender, topic, orders)
      await t.until('it holds them all', () => holds(leaver) === orders.length, { seen: () => holds(leaver) })
      await t.pass(1000)
      t.struck('unsettled deliveries', holds(leaver))
      const running = leaver.running
      await leaver.close({ drainMs: 1000 })
      await t.auditor.expel(leaver.instance)
      t.equal(await t.auditor.remaining(topic.name, 'workers'), orders.length, 'messages left by the one that went for good')
      const since = t.now()
      for (let n = 0; n < 2; n++) await t.member({ topic, recorder: seen })
      await takenOver(t, seen, orders, since, 'it left')
      await t.fence(sender, topic, seen)
      seen.each(orders)
      t.atMost(seen.repeats, running, 'repeats')
      await t.settled(topic)
    },
  },
  {
    id: 'RBL-10',
    title: 'Recovered messages are whole',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect({ name: 'teller' })
      const doomed = await t.member({ topic, acts: [{ then: 'never' }], options: { concurrency: 10 } })
      const orders = t.orders(10, { keys: 10 })
      const producer = sender.producer(topic, { timeoutMs: 5000 })
      for (const [index, order] of orders.entries())
        await producer.send(order, { id: order.id, headers: { 'x-number': String(index), 'x-text': 'ä, ö' } })
      await t.until('it holds 10', () => holds(doomed) === 10 && doomed.running === 10)
      const sent = new Map((await readMeant(t, t.place(topic))).map((stored) => [stored.id, stored]))
      t.struck('unsettled deliveries', holds(doomed))
      doomed.kill()
      const seen = t.recorder()
      const found = new Map<string, Message<Order>>()
      const heir = await t.connect()
      await heir.consume(
        topic,
        t.consumeOptions(),
        seen.handler((message) => void found.set(message.id, message)),
      )
      await t.until('all are handled', () => seen.finished === 10, { withinMs: t.takeoverMs, seen: () => seen.finished })
      for (const [index, order] of orders.entries()) {
        const message = found.get(order.id) ?? t.fail(`${order.id} did not come again under its id`, [order.id])
        const stored = sent.get(order.id)
        t.equal(message.value, order, `value of ${order.id}`)
        t.equal(message.key, order.key ?? undefined, `key of ${order.id}`)
        t.equal(message.source, 'teller', `source of ${order.id}`)
        t.equal(
          { number: message.headers['x-number'], text: message.headers['x-text'] },
          { number: String(index), text: 'ä, ö' },
          `headers of ${order.id}`,
        )
        t.equal(message.time?.getTime(), stored?.time ?? undefined, `time of ${order.id}`)
        t.equal(message.attempt, 1, `attempt of ${order.id}, whose first handler never failed`)
        if (t.capabilities.positions === 'native') t.equal(message.position, stored?.position, `position of ${order.id}`)
      }
      seen.exactly(orders)
    },
  },
  {
    id: 'RBL-12',
    title: 'Every member may both recover and read new',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 6 })
      const sender = await t.connect()
      const seen = t.recorder()
      const doomed = await t.member({ topic, recorder: seen, acts: [{ then: 'never' }] })
      const others = [await t.member({ topic, recorder: seen }), await t.member({ topic, recorder: seen })]
      await allOwn(t, [doomed, ...others])
      await t.until(
        'everyone has two',
        () => [doomed, ...others].every((member) => member.calls.assignments.filter(({ role }) => role === 'main').length === 2),
        {
          withinMs: 20_000,
          seen: () => [doomed, ...others].map((member) => member.calls.assignments.length),
        },
      )
      const old = t.orders(120)
      await t.send(sender, topic, old)
      await t.until('the others are through', () => holds(doomed) >= 10 && seen.finished + holds(doomed) >= old.length, {
        seen: () => ({ holds: holds(doomed), finished: seen.finished }),
      })
      const stuck = old.filter((order) => !seen.of(order).some((start) => start.end === 'done'))
      t.struck('unsettled deliveries', stuck.length)
      const since = t.now()
      doomed.kill()
      const killedAt = seen.starts.length
      const load = t.load(sender, topic, { everyMs: 10 })
      await t.until('the old ones are handled', () => stuck.every((order) => seen.of(order).some((start) => start.end === 'done')), {
        withinMs: t.takeoverMs,
        seen: () => seen.finished,
      })
      t.note(`recovered ${t.now() - since} ms after the kill`)
      await t.pass(1000)
      const fresh = await load.stop()
      await t.until('the new ones are handled', () => seen.finished === old.length + fresh.length, {
        withinMs: 5000,
        seen: () => seen.finished,
      })
      const ids = new Set(stuck.map((order) => order.id))
      for (const member of others) {
        const starts = seen.starts.slice(killedAt).filter((start) => start.member === member.name)
        t.atLeast(starts.filter((start) => ids.has(start.id)).length, 1, `recovered messages that ${member.name} handled`)
        t.atLeast(starts.filter((start) => !ids.has(start.id)).length, 1, `new messages that ${member.name} handled`)
      }
      await t.fence(sender, topic, seen)
      seen.each([...old, ...fresh])
    },
  },
  {
    id: 'RBL-13',
    title: 'A frozen owner starts nothing on waking',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      const topic = t.topic('jobs', { partitions: 2 })
      const out: OrderTopic = t.topic('out')
      const sender = await t.connect()
      await sender.declare(out)
      const seen = t.recorder('owner')
      for (let round = 0; round < t.rounds(10, 2); round++) {
        seen.reset()
        const gate = t.gate(`round ${round}`)
        const owner = await t.member({
          topic,
          recorder: seen,
          options: { concurrency: 10, maxUnsettled: 64 },
          acts: [{ gate, forward: out }],
        })
        const heirs = t.recorder(`heir of round ${round}`)
        const orders = t.orders(140)
        await t.send(sender, topic, orders)
        await t.until('10 run and 50 are held', () => owner.running === 10 && holds(owner) >= 60, {
          seen: () => ({ running: owner.running, holds: holds(owner) }),
        })
        t.struck('running handlers', owner.running)
        // In every other round the link still looks open when it wakes: it has to know by its own clock.
        const silent = round % 2 === 0
        if (silent) owner.link.silence('both')
        owner.freeze()
        gate.open()
        const heir = await t.member({ topic, recorder: heirs, options: { maxUnsettled: 64 } })
        await t.pass(2 * t.leaseMs)
        await t.until('the heir has handled all', () => heirs.finished === orders.length, {
          withinMs: t.takeoverMs,
          seen: () => heirs.finished,
        })
        const { starts } = owner
        const { published } = owner.calls
        const wokeAt = t.now()
        owner.thaw()
        await t.pass(5000)
        t.equal(owner.starts - starts, 0, `starts after the proof of ownership was too old (round ${round})`)
        t.equal(owner.calls.published - published, 0, `forwarded publishes after it was too old (round ${round})`)
        t.equal((await t.auditor.read(t.place(out))).length, 0, `forwarded messages at the server (round ${round})`)
        const told = t
          .events()
          .filter(({ at, name }) => at >= wokeAt && (name === 'stalled' || name === 'lost' || name === 'adapter' || name === 'status'))
        t.atLeast(told.length, 1, `events about it (round ${round})`)
        owner.link.heal()
        await t.until('it takes part again', () => owner.calls.assignments.some(({ role, since }) => role === 'main' && since >= wokeAt), {
          withinMs: t.takeoverMs + t.recoverMs,
          seen: () => owner.calls.assignments,
        })
        heirs.exactly(orders, `orders of round ${round}`)
        await owner.close()
        await heir.close()
        await t.settled(topic)
      }
    },
  },
]

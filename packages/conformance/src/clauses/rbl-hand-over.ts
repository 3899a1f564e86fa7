// Work that moves between members that live: joins, polite leaves, revokes.

import type { Broker, Message } from '@posthorn/core'
import type { Assignment } from '@posthorn/core/adapter'
import type { Clause } from '../clause.ts'
import type { Member } from '../member.ts'
import { partitionOfKey } from '../murmur2.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { politeRepeats } from './figures.ts'
import { connectChanged } from './spied.ts'

/** When an assignment of a partition began, was asked back and was given up, in one count with the starts of handlers. */
interface Tenure {
  readonly member: string
  readonly partition: number
  readonly from: number
  leaving: number
  released: number
}
interface Start {
  readonly member: string
  readonly partition: number
  readonly n: number
  readonly id: string
}
interface Ledger {
  readonly tenures: Tenure[]
  readonly starts: Start[]
  n: number
}

/** A member that writes down what happens to its assignments, in order. */
async function joined(
  t: Trial,
  topic: OrderTopic,
  name: string,
  ledger: Ledger,
  handler: (message: Message<Order>) => Promise<unknown>,
  concurrency: number,
): Promise<Broker> {
  const broker = await connectChanged(t, (session) => ({
    async subscribe(source, signal) {
      const assignments = await session.subscribe(source, signal)
      return (async function* (): AsyncGenerator<Assignment> {
        for await (const assignment of assignments) {
          const { partition } = assignment
          if (assignment.role === 'main' && partition !== null) {
            const tenure: Tenure = {
              member: name,
              partition,
              from: ledger.n++,
              leaving: Number.POSITIVE_INFINITY,
              released: Number.POSITIVE_INFINITY,
            }
            ledger.tenures.push(tenure)
            assignment.leaving.addEventListener('abort', () => {
              tenure.leaving = Math.min(tenure.leaving, ledger.n++)
            })
            assignment.lost.addEventListener('abort', () => {
              tenure.released = Math.min(tenure.released, ledger.n++)
            })
          }
          yield assignment
        }
      })()
    },
  }))
  await broker.consume(topic, t.consumeOptions({ concurrency, maxUnsettled: 64 }), (message) => {
    if (message.key !== undefined)
      ledger.starts.push({ member: name, partition: partitionOfKey(message.key, partitions), n: ledger.n++, id: message.id })
    return handler(message) as Promise<void>
  })
  return broker
}
const partitions = 12

/** RBL-14: three members, three more join, the first three close. */
async function rollingDeploy(t: Trial, keyed: boolean): Promise<void> {
  const topic = t.topic(keyed ? 'keyed' : 'plain', { keyed, partitions })
  const seen = t.recorder(keyed ? 'keyed' : 'plain')
  const ledger: Ledger = { tenures: [], starts: [], n: 0 }
  const member = (name: string): Promise<Broker> =>
    joined(t, topic, name, ledger, seen.handler(() => t.sleep(50 + Math.floor(t.random() * 450)), name) as never, 24)
  // 3 × 24 slots are a little too few for 300 a second of 275 ms: there is always work that could start and must not.
  const old = [await member('old-1'), await member('old-2'), await member('old-3')]
  const sender = await t.connect()
  const load = t.load(sender, topic, { everyMs: 10 / 3, keys: 512 })
  await t.until('the old ones are in full swing', () => ['old-1', 'old-2', 'old-3'].every((name) => seen.handledBy(name) > 50), 10_000)
  const young: Broker[] = []
  for (const name of ['new-1', 'new-2', 'new-3']) {
    young.push(await member(name))
    await t.pass(1500)
  }
  t.struck('running handlers', seen.running)
  for (const broker of old) {
    await broker.close()
    await t.pass(1500)
  }
  const stored = await load.stop()
  t.equal(stored.length, load.sent.length, 'sends that were stored')
  await t.until('all are handled', () => seen.finished === stored.length && seen.running === 0, {
    withinMs: 60_000,
    seen: () => `${seen.finished} of ${stored.length}`,
  })
  await t.fence(sender, topic, seen)
  seen.each(stored)
  if (keyed) {
    politeRepeats(t, seen, load.sent, partitions)
    t.equal(seen.overlaps.length, 0, 'handlers of one key at the same time')
    t.equal(seen.disorder().length, 0, 'times that a key went out of order')
    politeTenures(t, ledger)
  } else if (seen.repeats > 0)
    t.fail(
      `${seen.repeats} repeats of messages without a key`,
      seen.repeated.map((start) => start.id),
    )
  for (const name of ['new-1', 'new-2', 'new-3']) t.atLeast(seen.handledBy(name), 1, `handled by ${name}`)
  for (const broker of young) await broker.close()
}

/** No start after `leaving`, and none of a successor before the one before it had given up. */
function politeTenures(t: Trial, { tenures, starts }: Ledger): void {
  t.atLeast(tenures.filter((tenure) => tenure.leaving < Number.POSITIVE_INFINITY).length, 1, 'assignments that were handed over')
  for (const start of starts) {
    const own = tenures
      .filter((tenure) => tenure.member === start.member && tenure.partition === start.partition && tenure.from < start.n)
      .at(-1)
    if (own === undefined) t.fail(`${start.member} started ${start.id} of a partition that it does not own`, [start.id])
    else if (own.leaving < start.n) t.fail(`${start.member} started ${start.id} after it was asked to hand the partition over`, [start.id])
  }
  for (const [index, tenure] of tenures.entries()) {
    const before = tenures.slice(0, index).filter((other) => other.partition === tenure.partition)
    const first = starts.find((start) => start.member === tenure.member && start.partition === tenure.partition && start.n > tenure.from)
    if (first === undefined) continue
    for (const other of before) {
      if (other.released > first.n)
        t.fail(`${tenure.member} started ${first.id} before ${other.member} had released the partition`, [first.id])
    }
  }
}

/** RBL-5: what a member that is asked to hand over does, while its handlers do not end by themselves. */
async function revoked(t: Trial, how: 'ends' | 'never ends' | 'link lost'): Promise<void> {
  const topic = t.topic(how.replaceAll(' ', '-'))
  const seen = t.recorder(how)
  const sender = await t.connect()
  const broker = await t.connect()
  const gate = t.gate(how)
  const gone = new Map<string, number>()
  await broker.consume(
    topic,
    t.consumeOptions({ concurrency: 16 }),
    seen.handler((message) => {
      message.signal.addEventListener('abort', () => gone.set(message.id, t.now()))
      return gate.wait()
    }, 'old'),
  )
  const orders = t.orders(32, { keys: 16 })
  await t.send(sender, topic, orders)
  await t.until('16 handlers run', () => seen.running === 16)
  if (how === 'link lost') t.link(broker).silence('both')
  const next = await t.member({ topic, recorder: seen })
  t.struck('running handlers', seen.running)
  await t.pass(3000)
  if (how !== 'link lost') t.equal(next.starts, 0, 'starts of the new member while the old handlers run')
  if (how === 'ends') gate.open()
  const ofNew = (): number => next.starts
  await t.until('the new member has work', () => ofNew() > 0, { withinMs: t.takeoverMs + 10_000, seen: ofNew })
  await t.pass(2000)
  if (how === 'ends') {
    t.equal(seen.overlaps.length, 0, 'handlers of one key at the same time')
  } else {
    const moved = seen.starts.filter((start) => start.member === next.name)
    for (const start of moved) {
      for (const old of seen.of(start.id).filter((each) => each.member === 'old')) {
        const abortedAt = gone.get(start.id)
        if (old.end === 'open' && (abortedAt === undefined || abortedAt > start.at))
          t.fail(`${start.id} started at the new member while its old handler was not told to stop`, [start.id])
      }
    }
    for (const { first, second } of seen.overlaps) {
      const abortedAt = gone.get(first.id)
      if (abortedAt === undefined || abortedAt > second.at)
        t.fail(`${second.id} started while ${first.id} of its key was still held elsewhere`, [first.id, second.id])
    }
  }
  const before = await t.auditor.settles(topic.name, 'workers')
  const stale = before.stale
  if (how !== 'ends') {
    // Only what the old member still owns may be settled by its late handlers.
    const late = seen.starts.filter((start) => start.end === 'open' && gone.has(start.id)).map((start) => start.id)
    t.atLeast(late.length, 1, 'handlers that outlived their assignment')
    if (how === 'link lost') t.link(broker).heal()
    gate.open()
  }
  await t.until(
    'all are handled',
    () => orders.every((order) => seen.of(order).some((start) => start.end === 'done')) && seen.running === 0,
    { withinMs: t.takeoverMs + t.recoverMs, seen: () => seen.finished },
  )
  await t.settled(topic, 'workers', t.takeoverMs)
  await t.fence(sender, topic, seen)
  const after = await t.auditor.settles(topic.name, 'workers')
  t.equal(after.stale - stale, 0, 'settlements that came after the revoke')
  t.atMost(after.settled, orders.length + seen.hidden.size, 'settlements of all members')
  seen.each(orders)
  t.equal(seen.disorder().length, 0, 'times that a key went out of order')
  if (how === 'ends') politeRepeats(t, seen, orders, 4)
}

/** RBL-2: members come every other time and go in between. */
async function comings(t: Trial, leave: 'politely' | 'killed'): Promise<void> {
  const topic = t.topic(leave)
  const seen = t.recorder(leave)
  const script = { topic, recorder: seen, acts: [{ holdMs: [5, 50] as const }] }
  const sender = await t.connect()
  const team: Member[] = [await t.member(script), await t.member(script)]
  const load = t.load(sender, topic, { everyMs: 5, keys: 256 })
  let bound = 0
  let running = 0
  for (let round = 0; round < t.rounds(15, 7); round++) {
    await t.pass(2000)
    if (round % 2 === 0) {
      team.push(await t.member(script))
      continue
    }
    const leaver = team.shift()
    if (leaver === undefined) break
    if (leave === 'politely') {
      running += leaver.running
      await leaver.close()
    } else {
      // At this load a member of one partition has nothing in hand a quarter of the time: it is killed when it has something.
      const holds = (): number => leaver.calls.handedOut - leaver.calls.settled
      await t.until('the one to be killed has some in hand', () => holds() >= 2, { withinMs: t.takeoverMs, seen: holds })
      leaver.kill()
      // What it still told on its way out counts.
      await leaver.died
      bound += holds()
      t.struck('unsettled deliveries', holds())
    }
  }
  if (leave === 'politely') t.struck('running handlers of members that left', running)
  const stored = await load.stop()
  t.equal(stored.length, load.sent.length, 'sends that were stored')
  await t.until('all are handled', () => seen.finished === stored.length && seen.running === 0, {
    withinMs: t.takeoverMs + 20_000,
    seen: () => `${seen.finished} of ${stored.length}`,
  })
  await t.fence(sender, topic, seen)
  seen.each(stored)
  if (leave === 'politely') politeRepeats(t, seen, load.sent, 4)
  else t.atMost(seen.repeats, bound, 'repeats after kills')
  if (leave === 'politely') t.equal(seen.overlaps.length, 0, 'handlers of one key at the same time')
  t.equal(seen.disorder().length, 0, 'times that a key went out of order')
  // The last one who came may be taking his share over just now.
  let owners = await t.auditor.owners(topic.name, 'workers')
  await t.until(
    'every partition is owned at the end',
    async () => {
      owners = await t.auditor.owners(topic.name, 'workers')
      return [...owners.keys()].sort().join() === '0,1,2,3'
    },
    { withinMs: t.takeoverMs, seen: () => [...owners.keys()] },
  )
  const alive = new Set(team.map((member) => member.instance))
  for (const [partition, owner] of owners) t.ok(alive.has(owner), `partition ${partition} is owned by a member that lives`)
  for (const member of team) await member.close()
}

/** RBL-3: the last settlements are on their way when the member closes. */
async function settleAndClose(t: Trial): Promise<void> {
  const topic = t.topic('rounds', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare(topic)
  const all: Order[] = []
  const seen = t.recorder('rounds')
  for (let round = 0; round < t.rounds(50, 20); round++) {
    const orders = t.orders(32)
    all.push(...orders)
    await t.send(sender, topic, orders)
    const broker = await t.connect()
    if (round % 2 === 1) t.link(broker).delay(20)
    await broker.consume(topic, t.consumeOptions({ concurrency: 32 }), seen.handler())
    await t.until(`round ${round} is handled`, () => seen.finished === all.length, { seen: () => seen.finished })
    await broker.close()
    t.equal(await t.auditor.remaining(topic.name, 'workers'), 0, `messages left unsettled by a polite close in round ${round}`)
  }
  const last = t.recorder('after the rounds')
  await t.member({ topic, recorder: last })
  await t.fence(sender, topic, last)
  t.equal(last.starts.length, 0, 'starts of what had been settled')
  seen.exactly(all)
}

/** RBL-2, RBL-3, RBL-5, RBL-14. */
export const rblHandOver: readonly Clause[] = [
  {
    id: 'RBL-2',
    title: 'Rebalance under load',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      await comings(t, 'politely')
      await comings(t, 'killed')
    },
  },
  {
    id: 'RBL-3',
    title: 'Leaving politely is free',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      const topic = t.topic('jobs')
      const seen = t.recorder()
      const script = { topic, recorder: seen, acts: [{ holdMs: [5, 30] as const }] }
      const [leaver, stayer] = await t.team(2, script)
      if (leaver === undefined || stayer === undefined) return
      const sender = await t.connect()
      const load = t.load(sender, topic, { everyMs: 5 })
      await t.until('both handle', () => leaver.starts > 50 && stayer.starts > 50)
      await t.until('the leaver is at work', () => leaver.running > 0)
      t.struck('running handlers', leaver.running)
      await leaver.close()
      await t.until(
        'its share runs elsewhere',
        async () => [...(await t.auditor.owners(topic.name, 'workers')).values()].filter((owner) => owner === stayer.instance).length === 4,
        {
          withinMs: 5000,
          seen: () => stayer.calls.assignments.length,
        },
      )
      const stored = await load.stop()
      await t.until('all are handled', () => seen.finished === stored.length, { withinMs: 10_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      seen.each(stored)
      politeRepeats(t, seen, load.sent, 4)
      t.equal(seen.overlaps.length + seen.disorder().length, 0, 'violations of the order of a key')
      await settleAndClose(t)
    },
  },
  {
    id: 'RBL-5',
    title: 'Revoked work ends before it starts elsewhere',
    needs: 'memory',
    async run(t) {
      await revoked(t, 'ends')
      await revoked(t, 'never ends')
      await revoked(t, 'link lost')
    },
  },
  {
    id: 'RBL-14',
    title: 'A hand-over repeats nothing',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      await rollingDeploy(t, true)
      await rollingDeploy(t, false)
    },
  },
]

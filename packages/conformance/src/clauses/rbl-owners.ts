// Who owns what: names, starts at the same time, foreign neighbours, even shares, one owner at a time.

import type { Broker } from '@posthorn/core'
import type { Assignment } from '@posthorn/core/adapter'
import type { Clause } from '../clause.ts'
import type { Member } from '../member.ts'
import type { OrderTopic } from '../orders.ts'
import type { Opened, Trial } from '../trial.ts'

const mainOf = (t: Trial, broker: Broker): number => t.calls(broker).assignments.filter(({ role }) => role === 'main').length
const shares = async (t: Trial, topic: OrderTopic): Promise<ReadonlyMap<string, number>> => {
  const counts = new Map<string, number>()
  for (const owner of (await t.auditor.owners(topic.name, 'workers')).values()) counts.set(owner, (counts.get(owner) ?? 0) + 1)
  return counts
}

/** RBL-11: partitions with two owners that believe it, among members that run and have noticed what happened to them. */
function contested(members: readonly Member[], partitions: number, thawedAt: ReadonlyMap<Member, number>): readonly number[] {
  const found: number[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const owners = members.filter(
      (member) =>
        member.alive &&
        !member.frozen &&
        member.calls.assignments.some(
          (each) => each.role === 'main' && each.partition === partition && each.since >= (thawedAt.get(member) ?? 0),
        ),
    )
    if (owners.length > 1) found.push(partition)
  }
  return found
}

/** RBL-16: what one client writes down while it consumes at the contract. */
interface Watcher {
  readonly opened: Opened
  readonly yielded: { readonly assignment: Assignment; readonly tokens: unknown[] }[]
}
async function watch(t: Trial, topic: OrderTopic, all: Watcher[], trouble: string[]): Promise<Watcher> {
  const opened = await t.open()
  const watcher: Watcher = { opened, yielded: [] }
  all.push(watcher)
  const stop = new AbortController()
  await opened.session.declare(
    {
      topics: [
        {
          name: topic.name,
          keyed: true,
          partitions: 4,
          retentionMs: null,
          groups: [{ name: 'workers', start: 'earliest' }],
          delays: [],
          create: true,
          native: undefined,
        },
      ],
    },
    stop.signal,
  )
  const assignments = await opened.session.subscribe(
    {
      topic: topic.name,
      kind: 'group',
      group: 'workers',
      keyed: true,
      settleFirst: false,
      atomic: false,
      handOverMs: 5000,
      maxUnsettled: 32,
      maxBytes: 1_048_576,
      native: undefined,
    },
    stop.signal,
  )
  const consume = async (): Promise<void> => {
    for await (const assignment of assignments) {
      if (assignment.role !== 'main') continue
      for (const other of all) {
        for (const { assignment: old } of other.yielded) {
          if (old.partition === assignment.partition && !old.lost.aborted)
            trouble.push(`partition ${assignment.partition} was yielded while an older assignment of it was not lost`)
        }
      }
      const entry = { assignment, tokens: [] as unknown[] }
      watcher.yielded.push(entry)
      void (async () => {
        const deliveries = await assignment.read(5)
        entry.tokens.push(...deliveries.map((delivery) => delivery.token))
      })()
    }
  }
  consume().catch((error: unknown) => trouble.push(`the subscription threw ${String(error)}`))
  return watcher
}

/** RBL-6, RBL-8, RBL-11, RBL-15, RBL-16. */
export const rblOwners: readonly Clause[] = [
  {
    id: 'RBL-6',
    title: 'Members never fight',
    needs: 'memory',
    async run(t) {
      const sender = await t.connect()
      const topic = t.topic('named')
      const seen = t.recorder('one name')
      const twins = [await t.connect({ name: 'twin' }), await t.connect({ name: 'twin' })] as const
      for (const [index, broker] of twins.entries())
        await broker.consume(topic, t.consumeOptions(), seen.handler(undefined, `twin ${index}`))
      await t.until('both own their share', () => twins.every((broker) => mainOf(t, broker) === 2), {
        withinMs: 20_000,
        seen: () => twins.map((broker) => mainOf(t, broker)),
      })
      t.equal(new Set(await t.auditor.members(topic.name, 'workers')).size, 2, 'members of one name')
      const orders = t.orders(200)
      const connects = twins.map((broker) => t.link(broker).connects().length)
      await t.send(sender, topic, orders)
      await t.fence(sender, topic, seen)
      seen.exactly(orders)
      for (const index of [0, 1]) t.atLeast(seen.handledBy(`twin ${index}`), 20, `handled by twin ${index}`)
      t.equal(
        twins.map((broker) => t.link(broker).connects().length),
        connects,
        'connections that the twins made',
      )

      for (let round = 0; round < t.rounds(20, 3); round++) {
        const contested = t.topic(`round-${round}`)
        const both = await Promise.all([
          t.member({ topic: contested }),
          t.sleep(Math.floor(t.random() * 100)).then(() => t.member({ topic: contested })),
        ])
        await t.until(
          'both own their share',
          () => both.every((member) => member.calls.assignments.filter(({ role }) => role === 'main').length === 2),
          {
            withinMs: 20_000,
            seen: () => both.map((member) => member.calls.assignments.length),
          },
        )
        await t.pass(5000)
        const kinds = new Map<number | null, number>()
        for (const member of both)
          for (const { partition } of member.calls.assignments) kinds.set(partition, (kinds.get(partition) ?? 0) + 1)
        const given = new Map<number | null, number>()
        for (const { event } of t
          .events('assigned')
          .filter((each) => each.event['topic'] === contested.name && each.event['group'] === 'workers')) {
          const partition = event['partition'] as number | null
          given.set(partition, (given.get(partition) ?? 0) + 1)
        }
        // The first start is one, what the second takes over is the one extra.
        for (const [partition, count] of given)
          t.atMost(count, 2 * (kinds.get(partition) ?? 0), `times that partition ${partition} was given in round ${round}`)
        await Promise.all(both.map((member) => member.close()))
      }
    },
  },
  {
    id: 'RBL-8',
    title: 'A new subscription disturbs nobody',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('steady')
      const sender = await t.connect()
      const broker = await t.connect()
      const beside = await t.member({ topic, group: 'workers' })
      const seen = t.recorder('steady')
      await beside.close()
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(() => t.sleep(5)),
      )
      const second = t.recorder('steady, another member')
      const other = await t.member({ topic, recorder: second, acts: [{ holdMs: 5 }] })
      await t.until(
        'both own something',
        () => mainOf(t, broker) === 2 && other.calls.assignments.filter(({ role }) => role === 'main').length === 2,
        20_000,
      )
      const subscribed = t.calls(broker).subscribe
      const load = t.load(sender, topic, { everyMs: 10 })
      await t.until('it flows', () => seen.starts.length > 20 && second.starts.length > 20)
      const moves = (): number =>
        t.events('leaving').filter(({ event }) => event['topic'] === topic.name).length +
        t.events('lost').filter(({ event }) => event['topic'] === topic.name).length
      const movedBefore = moves()
      const from = t.now()
      for (let n = 0; n < 5; n++) {
        const added = t.topic(`added-${n}`)
        const consumer = await broker.consume(added, t.consumeOptions(), () => {})
        await t.send(sender, added, t.orders(10))
        await t.pass(1000)
        await consumer.close()
        await t.pass(1000)
      }
      const until = t.now()
      const stored = await load.stop()
      t.atLeast(t.calls(broker).subscribe - subscribed, 5, 'subscriptions that came and went')
      t.equal(moves(), movedBefore, 'assignments of the steady topic that moved')
      for (const recorder of [seen, second]) {
        const times = [from, ...recorder.starts.map((start) => start.at).filter((at) => at >= from && at <= until), until]
        const gaps = times.slice(1).map((at, index) => at - (times[index] ?? at))
        t.atMost(Math.max(...gaps), 1000, `longest pause of ${recorder.name}`)
      }
      const handled = (): number => seen.finished + second.finished
      await t.until('all are handled', () => handled() === stored.length, { withinMs: 10_000, seen: handled })
      t.equal(seen.repeats + second.repeats, 0, 'repeats')
      t.equal(seen.starts.length + second.starts.length, stored.length, 'starts of both members')
    },
  },
  {
    id: 'RBL-11',
    title: 'One owner per partition',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const members: Member[] = [...(await t.team(3, { topic, recorder: seen, acts: [{ holdMs: 20 }] }))]
      const thawedAt = new Map<Member, number>()
      const load = t.load(sender, topic, { everyMs: 20 })
      let contestedSince: number | undefined
      const owned = (): boolean => {
        const both = contested(members, 4, thawedAt)
        // What members in other processes know is told a moment later, and not by all at once.
        contestedSince = both.length === 0 ? undefined : (contestedSince ?? t.now())
        if (contestedSince !== undefined && t.now() - contestedSince >= (t.virtual ? 0 : 500))
          t.fail(`partitions ${both.join(', ')} have two owners at one instant`)
        return [0, 1, 2, 3].every((partition) =>
          members.some(
            (member) =>
              member.alive &&
              !member.frozen &&
              member.calls.assignments.some(
                (each) => each.role === 'main' && each.partition === partition && each.since >= (thawedAt.get(member) ?? 0),
              ),
          ),
        )
      }
      const state = (): unknown =>
        members.map(
          (member) =>
            `${member.name}${member.alive ? '' : ' dead'}${member.frozen ? ' frozen' : ''}: ${member.calls.assignments
              .filter(({ role }) => role === 'main')
              .map(({ partition }) => partition)
              .join(' ')}`,
        )
      for (let round = 0; round < t.rounds(10, 4); round++) {
        await t.until('every partition is owned', owned, { withinMs: t.takeoverMs, seen: state })
        const victim = members.find((member) => member.alive && member.calls.assignments.some(({ role }) => role === 'main'))
        if (victim === undefined) t.fail('nobody owns anything')
        else if (round % 2 === 0) {
          t.struck('assignments of the one that dies', victim.calls.assignments.length)
          victim.kill()
          await t.until('what it owned is owned again', owned, { withinMs: t.takeoverMs, seen: state })
          members.push(await t.member({ topic, recorder: seen, acts: [{ holdMs: 20 }] }))
        } else {
          t.struck('assignments of the one that freezes', victim.calls.assignments.length)
          victim.freeze()
          await t.until('what it owned is owned again', owned, { withinMs: t.takeoverMs, seen: state })
          thawedAt.set(victim, t.now())
          victim.thaw()
          const woke = t.now()
          await t.until(
            'it has noticed',
            () => {
              owned()
              return victim.calls.assignments.every(({ since }) => since >= woke)
            },
            { withinMs: t.takeoverMs, seen: state },
          )
          thawedAt.delete(victim)
        }
        const end = t.now() + 2000
        await t.until(
          'two more seconds',
          () => {
            owned()
            return t.now() >= end
          },
          5000,
        )
      }
      const stored = await load.stop()
      await t.until('all are handled', () => stored.every((order) => seen.of(order).some((start) => start.end === 'done')), {
        withinMs: t.takeoverMs + 10_000,
        seen: () => `${seen.finished} of ${stored.length}`,
      })
      await t.fence(sender, topic, seen)
      seen.each(stored)
    },
  },
  {
    id: 'RBL-15',
    title: 'Partitions are shared evenly',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 8 })
      const members: Member[] = []
      const quietMs = t.virtual ? 30_000 : 1.5 * t.leaseMs
      const fair = async (count: number): Promise<void> => {
        await t.until(
          `nobody owns more than its share of 8 among ${count}`,
          async () => {
            const now = await shares(t, topic)
            const total = [...now.values()].reduce((sum, each) => sum + each, 0)
            return total === 8 && now.size === Math.min(count, 8) && Math.max(...now.values()) <= Math.ceil(8 / count)
          },
          { withinMs: 20_000, seen: () => members.map((member) => `${member.name}: ${member.calls.assignments.length}`) },
        )
        // What the server gave, the members have to hear of too.
        await t.pass(1000)
        const before = [...(await t.auditor.owners(topic.name, 'workers'))].sort(([a], [b]) => a - b)
        const moves = t.events('assigned').length
        await t.pass(quietMs)
        t.equal(
          [...(await t.auditor.owners(topic.name, 'workers'))].sort(([a], [b]) => a - b),
          before,
          `owners among ${count}, ${quietMs / 1000} s later`,
        )
        t.equal(t.events('assigned').length, moves, `assignments that moved in ${quietMs / 1000} s without a change, among ${count}`)
        for (const member of members.filter((each) => each.alive)) {
          t.equal(
            member.calls.assignments.filter(({ role }) => role === 'main').length <= Math.ceil(8 / count),
            true,
            `${member.name} knows its share`,
          )
        }
      }
      for (let n = 1; n <= 4; n++) {
        members.push(await t.member({ topic }))
        await fair(n)
      }
      await members.shift()?.close()
      await fair(3)
      members.pop()?.kill()
      await t.pass(t.takeoverMs)
      await fair(2)
    },
  },
  {
    id: 'RBL-16',
    title: 'lost comes before the successor',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      await sender.declare(topic)
      await t.send(sender, topic, t.orders(64))
      const trouble: string[] = []
      const watchers: Watcher[] = []
      const [first, second] = [await watch(t, topic, watchers, trouble), await watch(t, topic, watchers, trouble)]
      const live = (watcher: Watcher): number =>
        watcher.yielded.filter(({ assignment }) => !assignment.lost.aborted && !assignment.leaving.aborted).length
      // At the contract, whoever is asked to hand over has to release.
      const release = (): void => {
        for (const { yielded } of watchers)
          for (const { assignment } of yielded) if (assignment.leaving.aborted && !assignment.lost.aborted) void assignment.release()
      }
      const shared = async (): Promise<void> =>
        t.until(
          'both own their share',
          () => {
            release()
            return live(first) === 2 && live(second) === 2
          },
          { withinMs: t.takeoverMs + t.recoverMs, seen: () => [live(first), live(second)] },
        )
      let forced = 0
      while (forced < t.rounds(50, 12)) {
        await shared()
        const victim = forced % 4 < 2 ? first : second
        const old = victim.yielded.filter(({ assignment }) => !assignment.lost.aborted)
        await t.until('they have read', () => old.every(({ tokens }) => tokens.length > 0), {
          seen: () => old.map(({ tokens }) => tokens.length),
        })
        await t.auditor.expel(victim.opened.instance)
        forced += old.length
        await t.until('its assignments are lost', () => old.every(({ assignment }) => assignment.lost.aborted), t.takeoverMs)
        for (const { assignment, tokens } of old) {
          t.equal(await assignment.settle(tokens), 'stale', 'settlement of an old token')
          t.equal(await assignment.read(5), [], 'deliveries of a lost assignment')
          await assignment.release()
        }
      }
      t.struck('forced moves', forced)
      t.equal(trouble, [], 'assignments that began before their predecessor was lost')
      t.equal((await t.auditor.settles(topic.name, 'workers')).settled, 0, 'messages settled by old tokens')
      for (const { opened } of watchers) await opened.close()
    },
  },
]

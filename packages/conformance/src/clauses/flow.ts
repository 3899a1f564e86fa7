import type { Clause } from '../clause.ts'
import { flowFair } from './flow-fair.ts'
import { heldOf } from './support.ts'

/** The FLOW clauses, in the order of the page. */
export const flow: readonly Clause[] = [
  {
    id: 'FLOW-1',
    title: 'What is held is bounded',
    needs: 'memory',
    withinMs: 60_000,
    async run(t) {
      for (const keyed of [true, false]) {
        const topic = t.topic(keyed ? 'keyed' : 'plain', { keyed })
        const sender = await t.connect()
        const broker = await t.connect()
        await sender.declare(topic)
        const orders = t.orders(t.size(10_000))
        await t.send(sender, topic, orders)
        const gate = t.gate()
        const seen = t.recorder()
        const consumer = await broker.consume(
          topic,
          t.consumeOptions(),
          seen.handler(() => gate.wait()),
        )
        await t.until('8 handlers run', () => seen.running === 8, { seen: () => seen.running })
        await t.pass(2000)
        const calls = t.calls(broker)
        const owned = calls.assignments.filter(({ role }) => role === 'main').length
        t.atLeast(owned, 1, 'assignments')
        t.equal(seen.running, 8, 'handlers that run with concurrency 8')
        t.atMost(await heldOf(t, topic.name, calls), 32 * owned, `handed out and unsettled with maxUnsettled 32 and ${owned} assignments`)
        t.atMost(calls.handedOut, 32 * owned, 'deliveries that the client took in')
        t.atMost(consumer.stats().unsettled, 32 * owned, 'deliveries that the consumer says it holds')
        gate.open()
        let most = 0
        await t.until(
          'all are handled',
          () => {
            most = Math.max(most, calls.handedOut - calls.settled)
            return seen.finished === orders.length
          },
          { withinMs: 60_000, seen: () => seen.finished },
        )
        // What is settled leaves the window when its settlement leaves, which may be a moment before the answer.
        t.atMost(most, 2 * 32 * owned, 'held at once while all flows')
        t.equal(seen.mostRunning, 8, 'most handlers at once')
        await t.fence(sender, topic, seen)
        seen.exactly(orders)
        await consumer.close()
      }
    },
  },
  {
    id: 'FLOW-2',
    title: 'Concurrency is real',
    needs: 'memory',
    async run(t) {
      for (const keyed of [true, false]) {
        const topic = t.topic(keyed ? 'keyed' : 'plain', { keyed })
        const broker = await t.connect()
        const seen = t.recorder()
        const barrier = t.gate('barrier of 8')
        await broker.consume(
          topic,
          t.consumeOptions(),
          seen.handler(async () => {
            if (seen.running === 8) barrier.open()
            await barrier.wait()
          }),
        )
        const orders = t.orders(8, { keys: 8 })
        await t.send(broker, topic, orders)
        await t.until('8 handlers have met', () => seen.finished === 8, {
          withinMs: 5000,
          seen: () => ({ running: seen.running, done: seen.done }),
        })
        await t.fence(broker, topic, seen)
        seen.exactly(orders)
        t.equal(seen.mostRunning, 8, 'most handlers at once')
      }
    },
  },
  {
    id: 'FLOW-3',
    title: 'Concurrency means the same everywhere',
    needs: 'memory',
    async run(t) {
      const keyed = t.topic('keyed')
      const plain = t.topic('plain', { keyed: false })
      const single = t.topic('single', { partitions: 1 })
      const first = t.topic('first')
      const second = t.topic('second')
      const sender = await t.connect()
      for (const topics of [[keyed], [plain], [single], [first, second]] as const) {
        const broker = await t.connect()
        const seen = t.recorder(topics.map((topic) => topic.name).join(' and '))
        const orders = t.orders(200)
        const share = orders.length / topics.length
        await Promise.all(topics.map((topic, index) => t.send(sender, topic, orders.slice(index * share, (index + 1) * share))))
        await broker.consume(
          topics,
          t.consumeOptions({ concurrency: 4 }),
          seen.handler(() => t.sleep(50)),
        )
        await t.until('all are handled', () => seen.finished === orders.length, { withinMs: 10_000, seen: () => seen.finished })
        const took = Math.max(...seen.starts.map((start) => start.endedAt ?? 0)) - Math.min(...seen.starts.map((start) => start.at))
        t.atLeast(took, 2000, `time for 200 × 50 ms with concurrency 4 (${seen.name})`)
        t.atMost(took, t.slack(3750), `time for 200 × 50 ms with concurrency 4 (${seen.name})`)
        t.equal(seen.mostRunning, 4, `most handlers at once (${seen.name})`)
        seen.exactly(orders)
        await broker.close()
      }
    },
  },
  {
    id: 'FLOW-4',
    title: 'Pause holds, resume loses nothing',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const seen = t.recorder()
      const brokers = [await t.connect(), await t.connect()] as const
      const [paused, other] = brokers
      const consumer = await paused.consume(
        topic,
        t.consumeOptions(),
        seen.handler(() => t.sleep(5), 'paused'),
      )
      await other.consume(
        topic,
        t.consumeOptions(),
        seen.handler(() => t.sleep(5), 'other'),
      )
      const owns = (broker: typeof paused): number => t.calls(broker).assignments.filter(({ role }) => role === 'main').length
      await t.until('both own something', () => owns(paused) === 2 && owns(other) === 2)
      const load = t.load(sender, topic, { everyMs: 5 })
      await t.until('both handle', () => seen.handledBy('paused') > 20 && seen.handledBy('other') > 20)

      const starts = (): number => seen.starts.filter((start) => start.member === 'paused').length
      const before = starts()
      const owners = [...(await t.auditor.owners(topic.name, 'workers'))].sort()
      const members = async (): Promise<readonly string[]> => [...(await t.auditor.members(topic.name, 'workers'))].sort()
      const joined = await members()
      const subscribed = t.calls(paused).subscribe
      const moves = (): number => t.events('lost').length + t.events('leaving').length
      const moved = moves()
      consumer.pause()
      t.equal(consumer.state, 'paused', 'state after pause()')
      await t.pass(1000)
      const settledDown = starts()
      t.atMost(settledDown - before, 32 * owns(paused), 'starts after pause()')
      await t.pass(3 * t.leaseMs)
      t.equal(starts() - settledDown, 0, `starts in ${3 * t.leaseMs} ms of pause`)
      t.equal([...(await t.auditor.owners(topic.name, 'workers'))].sort(), owners, 'owners after the pause')
      t.equal(await members(), joined, 'members after the pause')
      t.equal(t.calls(paused).subscribe, subscribed, 'subscriptions')
      t.equal(moves(), moved, 'assignments that moved, before and after the pause')
      t.equal(consumer.state, 'paused', 'state while paused')
      t.equal(paused.health().ready, true, 'health while paused')

      consumer.resume()
      t.equal(consumer.state, 'running', 'state after resume()')
      const stored = await load.stop()
      await t.until('all are handled', () => seen.finished >= stored.length, {
        withinMs: 60_000,
        seen: () => `${seen.finished} of ${stored.length}`,
      })
      await t.fence(sender, topic, seen)
      seen.exactly(stored)
      seen.ordered()
    },
  },
  {
    id: 'FLOW-5',
    title: 'A long handler is not run twice',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const { holdMs } = t.capabilities.limits
      const seen = t.recorder()
      const hold = Math.min(3 * t.leaseMs, holdMs ?? Number.POSITIVE_INFINITY)
      const team = await t.team(2, { topic, recorder: seen, acts: [{ holdMs: hold }] })
      const before = await t.auditor.settles(topic.name, 'workers')
      const connects = team.map((member) => member.link.connects().length)
      const sender = await t.connect()
      const orders = t.orders(8, { keys: 8 })
      await t.send(sender, topic, orders)
      await t.until('all are done', () => seen.finished === 8, {
        withinMs: hold + 10_000,
        seen: () => ({ starts: seen.starts.length, done: seen.done }),
      })
      await t.fence(sender, topic, seen)
      seen.exactly(orders)
      await t.settled(topic)
      const after = await t.auditor.settles(topic.name, 'workers')
      const fences = seen.hidden.size
      t.atMost(after.settled - before.settled, orders.length + fences, 'settlements')
      t.equal(after.repeated - before.repeated, 0, 'deliveries handed out again')
      t.equal(after.stale - before.stale, 0, 'stale settlements')
      t.equal(
        team.map((member) => member.link.connects().length),
        connects,
        'connections made',
      )
    },
  },
  {
    id: 'FLOW-6',
    title: 'Waiting in the buffer is not idleness',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { partitions: 1 })
      const seen = t.recorder()
      const sender = await t.connect()
      // 12 handlers one after the other take four leases; the second member waits for work all the time.
      const hold = t.leaseMs / 3
      for (let n = 0; n < 2; n++) await t.member({ topic, recorder: seen, options: { concurrency: 1 }, acts: [{ holdMs: hold }] })
      const orders = t.orders(12)
      await t.send(sender, topic, orders)
      await t.until('the first runs', () => seen.running === 1)
      t.struck('held messages behind it', (await t.auditor.unsettled(topic.name, 'workers')) - 1)
      await t.until('all are done', () => seen.finished === 12, { withinMs: 12 * hold + 10_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      seen.exactly(orders)
      t.equal((await t.auditor.settles(topic.name, 'workers')).repeated, 0, 'deliveries handed out again')
    },
  },
  {
    id: 'FLOW-7',
    title: 'Slow is never an error',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const broker = await t.connect()
      const seen = t.recorder()
      let slow = true
      const consumer = await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(() => t.sleep(slow ? 800 : 1)),
      )
      const subscribed = t.calls(broker).subscribe
      const load = t.load(sender, topic, { everyMs: 10 })
      await t.until('it works', () => seen.done > 0)
      const connects = t.link(broker).connects().length
      await t.pass(15_000)
      t.atMost(seen.done, 160, 'handled in 15 s by handlers that manage a tenth')
      t.atLeast(seen.done, 100, 'handled in 15 s by handlers that manage a tenth')
      t.equal(consumer.state, 'running', 'state of the slow consumer')
      t.equal(broker.status, 'connected', 'status of its broker object')
      t.equal(broker.health().ready, true, 'health')
      t.equal(t.link(broker).connects().length, connects, 'connections made')
      t.equal(t.calls(broker).subscribe, subscribed, 'subscriptions, before and after')
      for (const name of ['lost', 'leaving', 'stalled', 'consumer-failed', 'failed', 'settle-unknown', 'settle-stale'] as const) {
        t.equal(t.events(name).length, 0, `events "${name}"`)
      }
      slow = false
      const stored = await load.stop()
      t.equal(stored.length, load.sent.length, 'sends that were stored')
      await t.until('all are handled', () => seen.finished === stored.length, { withinMs: 30_000, seen: () => seen.finished })
      await t.fence(sender, topic, seen)
      seen.exactly(stored)
    },
  },
  {
    id: 'FLOW-8',
    title: 'A big backlog is ordinary',
    needs: 'long',
    withinMs: 120_000,
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      await sender.declare(topic)
      const orders = t.orders(t.size(100_000))
      for (let from = 0; from < orders.length; from += 5000) await t.send(sender, topic, orders.slice(from, from + 5000))
      const broker = await t.connect()
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions(), seen.handler())
      const assignedAt = t.now()
      await t.until('all are handled', () => seen.finished === orders.length, { withinMs: 600_000, seen: () => seen.finished })
      t.atMost((seen.starts[0]?.at ?? 0) - assignedAt, t.slack(1000), 'time to the first start')
      t.atMost(seen.mostRunning, 8, 'most handlers at once')
      seen.exactly(orders)
      seen.ordered()
    },
  },
  {
    id: 'FLOW-9',
    title: 'A handler that never ends frees its slot',
    needs: 'memory',
    async run(t) {
      t.note('without a key')
      const topic = t.topic('plain', { keyed: false })
      const broker = await t.connect()
      const gate = t.gate('the handler that never ends')
      const seen = t.recorder('without a key')
      const orders = t.orders(6)
      const [stuck, ...others] = orders
      if (stuck === undefined) return
      let abortedAt: number | undefined
      await broker.consume(
        topic,
        t.consumeOptions({ concurrency: 1, handlerTimeoutMs: 500 }),
        seen.handler(async (message) => {
          if (message.id !== stuck.id || message.attempt > 1) return
          message.signal.addEventListener('abort', () => {
            abortedAt = t.now()
          })
          await gate.wait()
          throw new Error("a late failure, which is nobody's business any more")
        }),
      )
      await t.send(broker, topic, [stuck])
      await t.until('it runs', () => seen.running === 1)
      const since = seen.starts[0]?.at ?? 0
      await t.send(broker, topic, others)
      await t.until('the others are handled', () => others.every((order) => seen.of(order).length > 0), {
        withinMs: 8000,
        seen: () => seen.starts.map((start) => start.id),
      })
      t.atLeast((abortedAt ?? 0) - since, 500, 'time until the signal aborted')
      t.atMost((abortedAt ?? 0) - since, t.slack(750), 'time until the signal aborted')
      const freed = Math.min(...others.map((order) => seen.of(order)[0]?.at ?? 0)) - since
      t.atLeast(freed, 5500, 'time until its slot was free: the limit and 5 s of grace')
      t.atMost(freed, t.slack(6500), 'time until its slot was free')
      await t.until('the next attempt is done', () => seen.of(stuck).length === 2, 5000)
      t.equal(
        seen.of(stuck).map((start) => start.attempt),
        [1, 2],
        'attempts of the stuck message',
      )
      await t.settled(topic)
      const settles = (await t.auditor.settles(topic.name, 'workers')).settled
      gate.open()
      await t.fence(broker, topic, seen)
      t.equal(seen.of(stuck).length, 2, 'starts of the stuck message after its late end')
      t.atMost((await t.auditor.settles(topic.name, 'workers')).settled - settles, seen.hidden.size + 1, 'settlements after the late end')
      for (const order of others) t.equal(seen.of(order).length, 1, `starts of ${order.id}`)
      await t.settled(topic)
      t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 0, 'dead letters')

      t.note('with a key')
      const keyed = t.topic('keyed')
      const lane = t.recorder('with a key')
      const open = t.gate('the keyed handler that never ends')
      const blocked = t.orders(3, { keyNames: ['stuck'] })
      const free = t.orders(40, { keys: 20 })
      const first = blocked[0]?.id
      await broker.consume(
        keyed,
        t.consumeOptions({ concurrency: 2, handlerTimeoutMs: 500 }),
        lane.handler((message) => (message.id === first && message.attempt === 1 ? open.wait() : undefined)),
      )
      await t.send(broker, keyed, [...blocked, ...free])
      await t.until('the other keys are handled', () => free.every((order) => lane.of(order).length === 1), {
        withinMs: 5000,
        seen: () => lane.finished,
      })
      await t.pass(20_000)
      t.equal(lane.starts.filter((start) => start.key === 'stuck').length, 1, 'starts of the stuck key while its old handler runs')
      t.equal(t.events('timed-out').length, 2, 'events "timed-out"')
      open.open()
      await t.until('the stuck key goes on', () => lane.finished === blocked.length + free.length, {
        withinMs: 5000,
        seen: () => lane.finished,
      })
      await t.fence(broker, keyed, lane)
      t.equal(
        lane.of(blocked[0] ?? '').map((start) => start.attempt),
        [1, 2],
        'attempts at the head of the stuck key',
      )
      for (const order of [...blocked.slice(1), ...free]) t.equal(lane.of(order).length, 1, `starts of ${order.id}`)
      t.equal(lane.overlaps.length, 0, 'handlers of one key at the same time')
      t.equal(
        lane.starts.filter((start) => start.key === 'stuck').map((start) => start.seq),
        [0, 0, 1, 2],
        'order of the stuck key',
      )
    },
  },
  ...flowFair,
]

// What a consumer and a broker object say about themselves: states, refusals, deaths, lines for people.

import type { Broker, Consumer, Topic } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Trial } from '../trial.ts'

interface Parties {
  readonly topic: OrderTopic
  readonly broker: Broker
  readonly consumer: Consumer
}

/** LIFE-14: from the fault to the next message, nothing may look well. */
async function watched(t: Trial, name: string, fault: (parties: Parties) => Promise<() => void>): Promise<void> {
  const topic = t.topic(name)
  const broker = await t.connect()
  const sender = await t.connect()
  const seen = t.recorder(name)
  const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler())
  await t.send(sender, topic, t.orders(4))
  await t.until(`all flows before (${name})`, () => seen.finished === 4)
  await t.until(`it says so (${name})`, () => consumer.state === 'running' && broker.health().ready)
  t.equal(broker.status, 'connected', `status before the fault (${name})`)

  const before = t.now()
  const heal = await fault({ topic, broker, consumer })
  const struckAt = t.now()
  const main = (): number => t.calls(broker).assignments.filter(({ role }) => role === 'main').length
  // What is made again within an instant may have been lost and found between two looks.
  const anew = (): boolean => t.calls(broker).assignments.some(({ role, since }) => role === 'main' && since > before)
  await t.until(`the state is "recovering" (${name})`, () => consumer.state === 'recovering' || anew(), {
    withinMs: 4000,
    seen: () => ({ state: consumer.state, status: broker.status, owns: main() }),
  })
  if (consumer.state === 'recovering') {
    t.equal(broker.health().ready, false, `ready while it recovers (${name})`)
    t.atLeast(broker.health().reasons.length, 1, `reasons for not being ready (${name})`)
  }
  t.note(`recovering ${t.now() - struckAt} ms after the fault`)
  heal()
  await t.until(
    `the state is "running" again (${name})`,
    () => {
      const { state } = consumer
      const { ready } = broker.health()
      if (state !== 'running' && ready) t.fail(`${name}: the consumer is ${state}, and health() says ready`)
      if (state === 'running' && main() === 0) t.fail(`${name}: the consumer says "running", and owns nothing`)
      return state === 'running'
    },
    { withinMs: t.takeoverMs + t.recoverMs, seen: () => ({ state: consumer.state, status: broker.status, owns: main() }) },
  )
  t.equal(broker.status, 'connected', `status when it runs again (${name})`)
  const again = t.orders(4)
  const runsAt = t.now()
  await t.send(sender, topic, again)
  await t.until(`messages flow when it says so (${name})`, () => again.every((order) => seen.of(order).length > 0), {
    withinMs: 1000,
    seen: () => seen.finished,
  })
  t.note(`messages flow ${t.now() - runsAt} ms after "running"`)
  await t.until(`ready again (${name})`, () => broker.health().ready, 1000)
  await broker.close()
}

/** LIFE-18: each way to receive is refused in the same words, and leaves nothing behind. */
async function refused(
  t: Trial,
  broker: Broker,
  topic: Topic,
  group: string,
  code: string,
  more: Readonly<Record<string, unknown>>,
  what: string,
  naming: readonly string[],
): Promise<void> {
  const before = (await t.auditor.counters()).connections
  const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['consume', () => broker.consume(topic, { group, ...more }, () => {})],
    [
      'consumeBatch',
      () => broker.consumeBatch(topic, { group, ...more, ...('forward' in more ? { forward: undefined } : {}) } as never, async () => {}),
    ],
    ['pull', () => broker.pull(topic, { group, ...more } as never)],
  ]
  for (const [verb, call] of calls) {
    if ('forward' in more && verb !== 'consume') continue
    await t.rejects(call(), code, { naming: [topic.name, group, ...naming], what: `${verb}: ${what}` })
  }
  if (await t.auditor.exists(topic.name)) {
    const left = await t.auditor.members(topic.name, group).catch(() => [])
    t.equal(left, [], `members left by what was refused (${what})`)
  }
  t.equal((await t.auditor.counters()).connections, before, `connections after a refusal (${what})`)
  t.equal(t.calls(broker).assignments.length, 0, `assignments after a refusal (${what})`)
}

/** LIFE-14 to LIFE-20. */
export const lifeStatus: readonly Clause[] = [
  {
    id: 'LIFE-14',
    title: 'Status is about the consumer, not the socket',
    needs: 'memory',
    async run(t) {
      await watched(t, 'expelled', async ({ topic }) => {
        for (const instance of await t.auditor.members(topic.name, 'workers')) await t.auditor.expel(instance)
        return () => {}
      })
      await watched(t, 'group-removed', async ({ topic }) => {
        await t.auditor.remove({ topic: topic.name, group: 'workers' })
        return () => {}
      })
      await watched(t, 'link-cut', async ({ broker }) => {
        const link = t.link(broker)
        link.refuse(true)
        link.cut()
        return () => link.heal()
      })
      await watched(t, 'link-silent', async ({ broker }) => {
        const link = t.link(broker)
        link.silence('both')
        return () => link.heal()
      })
    },
  },
  {
    id: 'LIFE-15',
    title: 'No rejection goes unhandled',
    needs: 'memory',
    standing: true,
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const sender = await t.connect()
      const seen = t.recorder()
      await broker.consume(
        topic,
        t.consumeOptions({ handlerTimeoutMs: 500 }),
        seen.handler(async (message, start) => {
          if (message.attempt > 1) return
          if (start.seq % 3 === 0) throw new Error('fails on purpose')
          if (start.seq % 3 === 1) return Promise.reject(new Error('rejects on purpose'))
        }),
      )
      const orders = t.orders(200)
      await t.send(sender, topic, orders)
      t.link(broker).cut()
      await t.pass(300)
      await t.crash('SIGTERM')
      const lost = sender.producer(topic, { timeoutMs: 500 }).send(t.orders(1)[0] as Order)
      await t.rejects(lost, ['UNAVAILABLE', 'TIMED_OUT'], { what: 'a send while the server is away' })
      await t.restart()
      await t.until('all are handled', () => orders.every((order) => seen.of(order).some((start) => start.end === 'done')), {
        withinMs: t.takeoverMs + t.recoverMs + 10_000,
        seen: () => seen.finished,
      })
      await t.pass(1000)
    },
  },
  {
    id: 'LIFE-16',
    title: 'After close, silence',
    needs: 'memory',
    standing: true,
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const broker = await t.connect()
      const seen = t.recorder()
      await broker.consume(
        topic,
        t.consumeOptions({ retry: { attempts: 50, firstDelayMs: 300, factor: 1 } }),
        seen.handler(async (_, start) => {
          await t.sleep(5)
          if (start.n % 4 === 0) throw new Error('fails on purpose')
        }),
      )
      const load = t.load(sender, topic, { everyMs: 5 })
      await t.until('it is in full swing', () => seen.done > 50)
      t.struck('running handlers', seen.running)
      const closing = broker.close()
      await closing
      const starts = seen.starts.length
      const settles = await t.auditor.settles(topic.name, 'workers')
      const { lastCallAt } = t.calls(broker)
      t.equal(seen.running, 0, 'handlers that run when close resolves')
      await load.stop()
      await sender.close()
      const { requests } = await t.auditor.counters()
      await t.pass(2 * t.leaseMs)
      t.equal(seen.starts.length, starts, 'starts after close')
      t.equal(await t.auditor.settles(topic.name, 'workers'), settles, 'settlements after close')
      t.equal(t.calls(broker).lastCallAt, lastCallAt, 'time of the last call at the contract')
      t.equal((await t.auditor.counters()).requests, requests, 'requests that reached the server after close')
    },
  },
  {
    id: 'LIFE-17',
    title: 'Connections do not grow with subscriptions',
    needs: 'memory',
    async run(t) {
      const timed = async (count: number): Promise<{ took: number; connections: number; joins: number; broker: Broker }> => {
        const broker = await t.connect()
        const before = await t.auditor.counters()
        t.link(broker).delay(50)
        const since = t.now()
        await Promise.all(
          Array.from({ length: count }, (_, index) => broker.consume(t.topic(`part-${count}-${index}`), t.consumeOptions(), () => {})),
        )
        const took = t.now() - since
        // What runs beside the consumers, as forwarders do, has joined by then.
        await t.pass(1000)
        const after = await t.auditor.counters()
        return {
          took,
          connections: after.connections - before.connections,
          joins: (after.requests.subscribe ?? 0) - (before.requests.subscribe ?? 0),
          broker,
        }
      }
      const one = await timed(1)
      const many = await timed(20)
      const perConsumer = t.server.connectionsPerConsumer ?? 0
      if (perConsumer === 0) t.equal(many.connections, one.connections, 'connections for 20 consumers, beyond those of the broker object')
      else t.atMost(many.connections, 20 * perConsumer, 'connections for 20 consumers, against those that the adapter documents for each')
      t.atMost(many.joins, 20 * one.joins, 'group joins for 20 consumers')
      t.atMost(many.took, t.slack(3 * one.took), `start of 20 consumers (one takes ${one.took} ms)`)
      const made = t.link(one.broker).connects().length
      const ever = t.link(many.broker).connects().length
      if (perConsumer === 0) t.equal(ever, made, 'connections that the broker object ever made, against one with a single consumer')
      // Where each consumer has its own, twenty make no more than twenty times those of one.
      else t.atMost(ever, 20 * made, 'connections that the broker object ever made, against one with a single consumer')
    },
  },
  {
    id: 'LIFE-18',
    title: 'A refused consumer rejects',
    needs: 'memory',
    async run(t) {
      const broker = await t.connect()
      const sender = await t.connect()
      const topic = t.topic('jobs')
      await sender.declare(topic)
      // Connections that a broker object makes with its first consumer are no trace of a refused one.
      const warm = await broker.consume(t.topic('warm'), t.consumeOptions(), () => {})
      await t.until('it owns all', () => t.calls(broker).assignments.filter(({ role }) => role === 'main').length === 4, t.takeoverMs)
      await warm.close()
      // What closes with it, as forwarders do, is closed by then.
      await t.pass(3000)
      await refused(t, broker, topic, 'wrokers', 'INVALID_ARGUMENT', {}, 'an unknown group', ['workers'])

      await sender.declare(t.topic('sized', { partitions: 4 }))
      await refused(t, broker, t.topic('sized', { partitions: 8 }), 'workers', 'CONFLICT', {}, 'another partition count', [])

      const { attempts, replay, forward } = t.capabilities
      if (attempts === 'none')
        await refused(t, broker, topic, 'workers', 'UNSUPPORTED', { maxDeliveries: 5 }, 'a crash guard without a count', ['attempts'])
      if (replay === 'none')
        await refused(t, broker, topic, 'workers', 'UNSUPPORTED', { startFrom: new Date(t.wall()) }, 'a start in the past', ['replay'])
      if (forward === 'none')
        await refused(t, broker, topic, 'workers', 'UNSUPPORTED', { forward: { atomic: true, to: [t.topic('out')] } }, 'atomic forwards', [
          'forward',
        ])

      const denied = t.topic('denied')
      await sender.declare(denied)
      await t.auditor.deny('subscribe', denied.name)
      await refused(t, broker, denied, 'workers', 'UNAUTHORIZED', {}, 'a right denied', [])
      await t.auditor.allow()

      for (const each of [topic, denied]) {
        const seen = t.recorder(each.name)
        const consumer = await broker.consume(each, t.consumeOptions(), seen.handler())
        const orders = t.orders(5)
        await t.send(sender, each, orders)
        await t.fence(sender, each, seen)
        seen.exactly(orders)
        t.equal((await t.auditor.members(each.name, 'workers')).length, 1, `members of ${each.name}`)
        await consumer.close()
      }
      t.equal(broker.health().ready, true, 'ready after consumers were refused')
    },
  },
  {
    id: 'LIFE-19',
    title: 'A consumer that dies for good says so',
    needs: 'memory',
    async run(t) {
      const sender = await t.connect()
      const broker = await t.connect()
      const healthy = t.topic('healthy')
      const others = t.recorder('others')
      const other = await broker.consume(healthy, t.consumeOptions(), others.handler())

      const dies = async (
        name: string,
        codes: readonly string[],
        observed: boolean,
        fault: (topic: OrderTopic) => Promise<unknown>,
      ): Promise<void> => {
        const topic = t.topic(name)
        await sender.declare(topic)
        const seen = t.recorder(name)
        const consumer = await broker.consume(topic, t.consumeOptions({ onInvalid: 'stop' }), seen.handler())
        let closed: unknown
        let times = 0
        if (observed) {
          consumer.closed.then(
            () => t.fail(`${name}: closed resolved`),
            (error: unknown) => {
              times++
              closed = error
            },
          )
        }
        await fault(topic)
        await t.until(`the consumer has failed (${name})`, () => consumer.state === 'failed', {
          withinMs: t.takeoverMs,
          seen: () => consumer.state,
        })
        if (observed) {
          await t.until(`closed rejects (${name})`, () => times === 1, { withinMs: 15_000, seen: () => times })
          await t.rejects(Promise.reject(closed), codes, { naming: [topic.name], what: `closed (${name})` })
        }
        await t.until(`its end is over (${name})`, async () => (await t.auditor.members(topic.name, 'workers')).length === 0, 15_000)
        t.equal(consumer.state, 'failed', `state (${name})`)
        t.equal(broker.health().ready, false, `ready with a dead consumer (${name})`)
        t.ok(
          broker.health().reasons.some((reason) => reason.includes(topic.name)),
          `health() names the dead consumer (${name})`,
        )
        t.equal(
          t.events('consumer-failed').filter(({ event }) => event['topic'] === topic.name).length,
          1,
          `events "consumer-failed" (${name})`,
        )
        await consumer.close()
        t.equal(other.state, 'running', `state of the other consumer (${name})`)
        const orders = t.orders(5)
        others.reset()
        await t.send(sender, healthy, orders)
        await t.fence(sender, healthy, others)
        others.exactly(orders)
        // One that takes its place makes the broker object ready again.
        await t.auditor.allow()
        const next = await broker.consume(topic, t.consumeOptions({ onInvalid: 'drop' }), seen.handler())
        t.equal(broker.health().ready, true, `ready with a new consumer (${name})`)
        await t.fence(sender, topic, seen)
        await t.settled(topic)
        await next.close()
        await next.closed
      }
      const invalid = (topic: OrderTopic): Promise<unknown> =>
        t.auditor.write(topic.name, { id: 'bad', key: 'bad', body: new TextEncoder().encode('{ no json') })
      await dies('invalid', ['UNDECODABLE', 'INVALID_MESSAGE'], true, invalid)
      await dies('denied', ['UNAUTHORIZED'], true, async (topic) => {
        await t.auditor.deny('read', topic.name)
        await t.send(sender, topic, t.orders(5))
      })
      // Nobody looks at `closed`: Node then ends the process, which here is only heard.
      const { name } = t.topic('unobserved')
      let unhandled = 0
      const hear = (error: unknown): void => {
        if (String(error).includes(name)) unhandled++
      }
      t.expectUnhandled(name)
      process.on('unhandledRejection', hear)
      try {
        await dies('unobserved', [], false, invalid)
        await t.until('the rejection that nobody handles is raised', () => unhandled > 0, 5000)
        t.equal(unhandled, 1, 'rejections that nobody handles')
      } finally {
        process.off('unhandledRejection', hear)
      }
    },
  },
]

// Servers that restart, die, stand still, forget, and take rights away.

import { type Broker, type Consumer, isMessagingError } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { ProcessSignal } from '../harness.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { carriedOver } from './carried.ts'
import { idsOf } from './figures.ts'
import { nodesLostInTurn } from './net-cluster.ts'
import { fullBroker } from './net-full.ts'
import { heldOf, since } from './support.ts'

/** NET-8, NET-9: the server ends at a third and at a half of 10,000. */
async function restarts(t: Trial, signal: ProcessSignal, lossy: boolean): Promise<void> {
  const most = t.size(10_000)
  await carriedOver(t, 'restarted', { most, lossy, timeoutMs: 15_000 }, async (carried) => {
    for (const part of [most / 3, most / 2]) {
      await t.until(`${Math.floor(part)} are sent`, () => carried.sent.length >= part, {
        withinMs: 60_000,
        seen: () => carried.sent.length,
      })
      await carried.strikes('messages on their way')
      await t.crash(signal === 'SIGTERM' ? 'SIGTERM' : 'SIGKILL')
      await t.pass(1000)
      await t.restart()
      await t.until('everyone is connected again', () => carried.all.every((broker) => broker.status === 'connected'), {
        withinMs: t.recoverMs,
        seen: () => carried.all.map((broker) => broker.status),
      })
    }
  })
}

/** Sends until one is stored, as an application does that goes on after an error. Answers the orders that were stored. */
async function persist(t: Trial, broker: Broker, topic: OrderTopic, count: number): Promise<readonly Order[]> {
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  const stored: Order[] = []
  const deadline = t.now() + t.recoverMs + 20_000
  while (stored.length < count) {
    const [order] = t.orders(1)
    if (order === undefined) break
    try {
      await producer.send(order, { id: order.id })
      stored.push(order)
    } catch (error) {
      if (!isMessagingError(error) || t.now() > deadline) throw error
      await t.sleep(250)
    }
  }
  return stored
}

const reported = (t: Trial, reason: string): number => t.events('adapter').filter(({ event }) => event['reason'] === reason).length

/** NET-8 to NET-13, NET-17 to NET-19. */
export const netServer: readonly Clause[] = [
  {
    id: 'NET-8',
    title: 'Clean broker restart',
    needs: 'memory',
    withinMs: 60_000,
    run: (t) => restarts(t, 'SIGTERM', t.profile === 'volatile'),
  },
  {
    id: 'NET-9',
    title: 'kill -9 of the broker',
    needs: 'memory',
    withinMs: 60_000,
    gate: (_, profile) => (profile === 'durable' ? 'run' : 'other'),
    run: (t) => restarts(t, 'SIGKILL', false),
    other: (t) => restarts(t, 'SIGKILL', true),
  },
  {
    id: 'NET-10',
    title: 'A frozen broker',
    needs: 'memory',
    async run(t) {
      await carriedOver(t, 'frozen', {}, async (carried) => {
        await t.until('a publish is on its way', () => t.link(carried.producer).open('publish') > 0, 1000)
        await carried.strikes('messages on their way')
        // A client may have several connections, each of which is made again.
        const sockets = carried.all.map((broker) => t.link(broker).connects().length)
        const frozenAt = t.now()
        await t.server.signal('SIGSTOP')
        await t.pass(10_000)
        const during = t.sends.filter((send) => send.topic === carried.topic.name && send.at >= frozenAt && send.endedAt !== undefined)
        t.equal(during.filter((send) => send.outcome === 'stored').length, 0, 'sends that a frozen server is said to have stored')
        for (const send of during)
          if (send.outcome === 'refused') t.fail(`a send to a frozen server ended as ${send.error?.code}: ${send.error?.message}`)
        const before = t.calls(carried.producer).published
        const wokeAt = t.now()
        await t.server.signal('SIGCONT')
        const open = t.sends.filter(
          (send) => send.topic === carried.topic.name && send.at <= wokeAt && (send.endedAt === undefined || send.endedAt >= frozenAt),
        ).length
        await t.pass(2000)
        const fresh = carried.sent.length - t.sends.filter((send) => send.topic === carried.topic.name && send.at <= wokeAt).length
        t.atMost(t.calls(carried.producer).published - before, 2 * open + fresh, 'messages published in the 2 s after waking')
        for (const [index, broker] of carried.all.entries()) {
          const tries = t
            .link(broker)
            .connects()
            .filter((at) => at >= frozenAt)
          for (const at of tries)
            t.atMost(
              tries.filter((other) => other >= at && other < at + 1000).length,
              2 * (sockets[index] ?? 1),
              'tries to connect within one second',
            )
        }
      })
    },
  },
  {
    id: 'NET-11',
    title: 'Everything is re-applied',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs', { groups: ['workers', 'others'] })
      const sender = await t.connect()
      const broker = await t.connect()
      const seen = t.recorder('workers')
      const beside = t.recorder('others')
      const gate = t.gate()
      let stuck = false
      const hold = (): Promise<void> | undefined => (stuck ? gate.wait() : undefined)
      const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler(hold))
      await broker.consume(topic, t.consumeOptions({ group: 'others' }), beside.handler())
      const all: Order[] = []
      for (let n = 0; n < 10; n++) {
        const orders = t.orders(20)
        all.push(...orders)
        await t.send(sender, topic, orders)
        const link = t.link(broker)
        const before = link.connects().length
        t.struck('connections', link.connected)
        link.cut()
        const back = (): boolean => consumer.state === 'running' && broker.status === 'connected' && link.connected
        await t.until('it runs again', () => link.connects().length > before && back(), {
          withinMs: t.recoverMs,
          seen: () => [consumer.state, broker.status],
        })
        await t.until('all are handled', () => seen.finished === all.length && beside.finished === all.length, {
          withinMs: t.recoverMs,
          seen: () => [seen.finished, beside.finished],
        })
      }
      for (const group of ['workers', 'others']) {
        t.equal((await t.auditor.members(topic.name, group)).length, 1, `subscriptions of ${group} after 10 cuts`)
        let owned: readonly number[] = []
        await t.until(
          `${group} owns all partitions`,
          async () => {
            owned = [...(await t.auditor.owners(topic.name, group)).keys()]
            return owned.length === 4
          },
          { withinMs: t.recoverMs, seen: () => owned },
        )
      }
      stuck = true
      // Before, answers to settlements were cut off, and messages handed out again.
      const before = { ...t.calls(broker) }
      const more = t.orders(300)
      await t.send(sender, topic, more)
      await t.until('8 handlers run', () => seen.running === 8)
      await t.pass(1000)
      t.atMost(await heldOf(t, topic.name, since(t.calls(broker), before)), 4 * 32, 'held after 10 cuts with maxUnsettled 32')
      t.equal(seen.running, 8, 'handlers after 10 cuts with concurrency 8')
      gate.open()
      await t.until('all are handled', () => seen.finished === all.length + 300, { withinMs: 10_000, seen: () => seen.finished })

      // A group that is deleted while its consumer is away is made again, and misses nothing that is sent from then on.
      const link = t.link(broker)
      link.refuse(true)
      link.cut()
      await t.until('it is away', () => broker.status === 'recovering')
      await t.auditor.remove({ topic: topic.name, group: 'workers' })
      const said = reported(t, 'position-lost')
      link.heal()
      await t.until(
        'the group is there again',
        async () => (await t.auditor.members(topic.name, 'workers').catch(() => [])).length === 1 && consumer.state === 'running',
        {
          withinMs: t.recoverMs + t.takeoverMs,
          seen: () => consumer.state,
        },
      )
      t.atLeast(reported(t, 'position-lost'), said + 1, 'events that say so')
      const last = await persist(t, sender, topic, 20)
      await t.until('new messages flow', () => last.every((order) => seen.of(order).length > 0 && beside.of(order).length > 0), {
        withinMs: 5000,
        seen: () => seen.finished,
      })
    },
  },
  {
    id: 'NET-12',
    title: 'Deleted while consuming',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const broker = await t.connect()
      const seen = t.recorder()
      const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler())
      const first = t.orders(50)
      await t.send(sender, topic, first)
      await t.until('all flows', () => seen.finished === 50)
      const connects = t.link(broker).connects().length
      for (const what of ['group', 'topic'] as const) {
        const said = reported(t, 'position-lost')
        t.struck('members', (await t.auditor.members(topic.name, 'workers')).length)
        await t.auditor.remove(what === 'group' ? { topic: topic.name, group: 'workers' } : { topic: topic.name })
        // A log keeps what is sent while there is no group; the group that is made again may not begin behind it.
        const meanwhile = what === 'group' && t.capabilities.retention === 'log' ? t.orders(20) : []
        if (meanwhile.length > 0) await t.send(sender, topic, meanwhile)
        await t.until(
          `the ${what} is there again`,
          async () => (await t.auditor.members(topic.name, 'workers').catch(() => [])).length === 1 && consumer.state === 'running',
          {
            withinMs: t.recoverMs + t.takeoverMs,
            seen: () => consumer.state,
          },
        )
        // A log may lose a topic without its groups noticing: the event comes when it is read again.
        await t.until(`an event about the deleted ${what}`, () => reported(t, 'position-lost') > said, { withinMs: t.recoverMs })
        const later = await persist(t, sender, topic, 20)
        await t.until('new messages flow', () => [...meanwhile, ...later].every((order) => seen.of(order).length > 0), {
          withinMs: 5000,
          seen: () => ({
            meanwhile: meanwhile.filter((order) => seen.of(order).length > 0).length,
            later: later.filter((order) => seen.of(order).length > 0).length,
          }),
        })
      }
      t.equal(consumer.state, 'running', 'state of the consumer')
      t.equal(broker.health().ready, true, 'ready')
      t.atMost(t.link(broker).connects().length, 2 * connects, 'connections made')
    },
  },
  {
    id: 'NET-13',
    title: 'An emptied broker',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const broker = await t.connect()
      const seen = t.recorder()
      const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler())
      await t.send(sender, topic, t.orders(50))
      await t.until('all flows', () => seen.finished === 50)
      const logged = t.logs.length
      const since = t.now()
      const said = reported(t, 'position-lost')
      await t.crash('SIGKILL')
      await t.server.wipe()
      await t.pass(2000)
      await t.restart()
      await t.until(
        'the group is there again',
        async () => (await t.auditor.members(topic.name, 'workers').catch(() => [])).length === 1 && consumer.state === 'running',
        {
          withinMs: t.recoverMs + t.takeoverMs,
          seen: () => consumer.state,
        },
      )
      const later = await persist(t, sender, topic, 50)
      await t.until('new messages flow', () => later.every((order) => seen.of(order).length > 0), {
        withinMs: 5000,
        seen: () => seen.finished,
      })
      await t.pass(10_000)
      t.atLeast(reported(t, 'position-lost'), said + 1, 'events about the lost position')
      const lines = t.logs.slice(logged).filter((entry) => entry.level !== 'debug')
      t.atMost(lines.length, 2 * 2 * Math.ceil((t.now() - since) / 1000), 'log lines of two clients, at most two a second each')
      t.equal(consumer.state, 'running', 'state of the consumer')
      t.equal([sender.status, broker.status], ['connected', 'connected'], 'statuses')
      t.equal(idsOf(t, 'consumer-failed').length, 0, 'consumers that died')
    },
  },
  {
    id: 'NET-17',
    title: 'Losing a right while running',
    needs: 'memory',
    async run(t) {
      const sender = await t.connect()
      const broker = await t.connect()
      const [denied, free] = [t.topic('denied'), t.topic('free')]
      const seen = t.recorder('denied')
      const other = t.recorder('free')
      const consume = (): Promise<Consumer> => broker.consume(denied, t.consumeOptions(), seen.handler())
      let consumer = await consume()
      await broker.consume(free, t.consumeOptions(), other.handler())
      const flows = async (): Promise<void> => {
        const orders = t.orders(20)
        await t.send(sender, free, orders)
        await t.until('the other topic flows', () => orders.every((order) => other.of(order).length === 1), {
          withinMs: 2000,
          seen: () => other.finished,
        })
      }
      await t.send(sender, denied, t.orders(10))
      await t.until('all flows', () => seen.finished === 10)

      await t.auditor.deny('publish', denied.name)
      for (let n = 0; n < 3; n++) {
        const published = t.calls(sender).publish
        await t.rejects(sender.producer(denied, { timeoutMs: 5000 }).send(t.orders(1)[0] as Order), 'UNAUTHORIZED', {
          naming: [denied.name, 'publish'],
          what: 'a send without the right',
        })
        t.atMost(t.calls(sender).publish - published, 1, 'publishes of one send that is not allowed')
        await flows()
      }
      await t.auditor.allow()
      const again = t.orders(10)
      await t.send(sender, denied, again)
      await t.until('sends work again', () => again.every((order) => seen.of(order).length === 1), 2000)

      for (const right of ['read', 'settle'] as const) {
        const gone = consumer
        const ended = t.rejects(gone.closed, 'UNAUTHORIZED', {
          naming: [denied.name, right],
          what: `closed of a consumer that may not ${right}`,
        })
        const failures = t.events('consumer-failed').length
        const before = { ...t.calls(broker) }
        const tries = before.subscribe + before.settle + before.read
        await t.auditor.deny(right, denied.name)
        const orders = t.orders(10)
        await t.send(sender, denied, orders)
        await ended
        const since = t.now()
        await t.pass(5000)
        const after = t.calls(broker)
        t.atMost(
          after.subscribe + after.settle + after.read - tries - 4 - 4 * 10,
          Math.ceil((t.now() - since) / 1000),
          `calls after the right to ${right} was gone`,
        )
        t.equal(t.events('consumer-failed').length, failures + 1, `terminal errors (${right})`)
        t.equal(gone.state, 'failed', `state of the consumer that may not ${right}`)
        await flows()
        await t.auditor.allow()
        consumer = await consume()
        await t.until('it works again', () => orders.every((order) => seen.of(order).some((start) => start.end === 'done')), {
          withinMs: t.takeoverMs,
          seen: () => seen.finished,
        })
        await t.settled(denied)
      }
      t.equal(other.repeats, 0, 'repeats in the other topic')
    },
  },
  { id: 'NET-18', title: 'A cluster loses its nodes in turn', needs: 'long', run: nodesLostInTurn },
  { id: 'NET-19', title: 'A full broker', needs: 'memory', run: fullBroker },
]

import { retry } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'
import { batchOneByOne, batchPerMessage, decisions, noneRepeatsOthers, postponeCountsNothing } from './ack-decisions.ts'
import { anyOrder, atMostOnce, finishedAgain, onlyTheFinished, settledStays, stuckPartition } from './ack-faults.ts'
import { lateAtTheContract, lateByPull, lateHandlers } from './ack-late.ts'
import { staleIsTold } from './ack-stale.ts'

/** The ACK clauses, in the order of the page: when a delivery counts as done. */
export const ack: readonly Clause[] = [
  {
    id: 'ACK-1',
    title: 'Nothing is settled before its handler ends',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const gate = t.gate()
      const seen = t.recorder()
      await broker.consume(
        topic,
        t.consumeOptions({ concurrency: 10 }),
        seen.handler(() => gate.wait()),
      )
      const orders = t.orders(10, { keys: 10 })
      await t.send(broker, topic, orders)
      await t.until('10 handlers run', () => seen.running === 10, { seen: () => seen.running })
      t.equal(await t.auditor.unsettled(topic.name, 'workers'), 10, 'unsettled while 10 handlers run')
      const before = await t.auditor.settles(topic.name, 'workers')
      await t.pass(2000)
      t.equal(await t.auditor.unsettled(topic.name, 'workers'), 10, 'unsettled after two more seconds')
      t.equal((await t.auditor.settles(topic.name, 'workers')).settled, before.settled, 'settled by the server meanwhile')
      gate.open()
      await t.settled(topic)
      seen.exactly(orders)
    },
  },
  {
    id: 'ACK-2',
    title: 'One settle per delivery',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const puller = await broker.pull(topic, { group: 'workers', maxUnsettled: 32 })
      const orders = t.orders(100)
      await t.send(broker, topic, orders)
      const ids: string[] = []
      let connects: number | undefined
      const perConsumer = t.server.connectionsPerConsumer ?? 0
      while (ids.length < orders.length) {
        const messages = await puller.receive({ max: 10, waitMs: 5000 })
        connects ??= t.link(broker).connects().length
        t.ok(messages.length > 0, `only ${ids.length} of ${orders.length} messages were pulled`)
        for (const message of messages) {
          ids.push(message.id)
          t.equal(await message.done(), 'done', `the first done() of ${message.id}`)
          const second = ids.length % 2 === 0 ? await message.done() : await message.settle(retry())
          t.equal(second, 'stale', `the second settlement of ${message.id}`)
        }
      }
      t.equal(new Set(ids).size, orders.length, 'different messages pulled')
      await t.settled(topic)
      const counts = await t.auditor.settles(topic.name, 'workers')
      t.equal(
        { settled: counts.settled, stale: counts.stale, repeated: counts.repeated },
        { settled: 100, stale: 0, repeated: 0 },
        'settlements at the server',
      )
      // A second acknowledgement on the wire is what servers end channels and connections for.
      for (const name of ['lost', 'consumer-recovering'] as const) t.equal(t.events(name).length, 0, `events "${name}"`)
      // Where each partition has a connection of its own, some are made after the first message.
      if (perConsumer === 0) t.equal(t.link(broker).connects().length, connects, 'connections made')
    },
  },
  {
    id: 'ACK-3',
    title: 'Settled stays settled',
    needs: 'memory',
    run: settledStays,
  },
  {
    id: 'ACK-4',
    title: 'A late settle is stale and harmless',
    needs: 'memory',
    async run(t) {
      await lateAtTheContract(t)
      await lateByPull(t)
      await staleIsTold(t)
      await lateHandlers(t)
    },
  },
  {
    id: 'ACK-5',
    title: 'Only the finished message is settled',
    needs: 'memory',
    run: onlyTheFinished,
  },
  {
    id: 'ACK-6',
    title: 'A stuck message holds only its own partition',
    needs: 'memory',
    run: stuckPartition,
  },
  {
    id: 'ACK-7',
    title: 'Ends in any order are safe',
    needs: 'memory',
    run: anyOrder,
  },
  {
    id: 'ACK-8',
    title: 'Unsettled comes back',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const gate = t.gate()
      const first = t.recorder('first')
      const second = t.recorder('second')
      const leaving = await t.connect()
      const staying = await t.connect()
      const orders = t.orders(40, { keys: 40 })
      await leaving.consume(
        topic,
        t.consumeOptions(),
        first.handler(() => gate.wait()),
      )
      await t.send(leaving, topic, orders)
      await t.until('8 handlers run', () => first.running === 8)
      const before = t.now()
      await leaving.close({ drainMs: 500 })
      t.atMost(t.now() - before, t.slack(1500), 'milliseconds that the close took')
      await staying.consume(topic, t.consumeOptions(), second.handler())
      await t.until('all came back', () => second.finished === orders.length, { withinMs: t.takeoverMs, seen: () => second.finished })
      await t.fence(staying, topic, second)
      second.exactly(orders)
      t.equal(first.starts.length, 8, 'starts at the member that left')
      await t.settled(topic)
    },
  },
  {
    id: 'ACK-9',
    title: 'A failed settle is seen',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const sender = await t.connect()
      const broker = await t.connect({ jitter: 'free' })
      const seen = t.recorder()
      let gate = t.gate()
      const consumer = await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(() => gate.wait()),
      )
      const idsOf = (name: 'settle-unknown' | 'settled'): readonly string[] =>
        t.events(name).flatMap(({ event }) => [...((event.ids as readonly string[] | undefined) ?? []), event.id as string])
      const told = (): readonly string[] => idsOf('settle-unknown')
      const done = (): readonly string[] => idsOf('settled')
      const sent: Order[] = []
      // First the link ends under the settlements; then it stands, and only their answers never come.
      for (const lose of ['link', 'answers']) {
        gate = t.gate()
        const orders = t.orders(8, { keys: 8 })
        sent.push(...orders)
        await t.send(sender, topic, orders)
        await t.until('8 handlers run', () => seen.running === 8)
        t.link(broker).withhold(['settle'])
        gate.open()
        await t.until('settlements wait for their answers', () => t.calls(broker).openSettles > 0)
        t.struck('settlements', t.calls(broker).openSettles)
        if (lose === 'link') {
          t.link(broker).cut()
          t.link(broker).heal()
        }
        // What was under way is not known. What had not left yet may be settled over the next connection, and is reported as that.
        const ended = (): readonly string[] => [...told(), ...done()]
        await t.until(`each has an end after its ${lose} were lost`, () => orders.every((order) => ended().includes(order.id)), {
          seen: () => ({ unknown: told(), settled: done() }),
          withinMs: t.recoverMs + 30_000,
        })
        const unknown = orders.filter((order) => told().includes(order.id))
        t.atLeast(unknown.length, 1, `settlements that are reported as unknown after their ${lose} were lost`)
        t.link(broker).heal()
        await t.until('the consumer runs again', () => consumer.state === 'running', {
          withinMs: t.recoverMs + 5000,
          seen: () => consumer.state,
        })
        await t.fence(sender, topic, seen)
        seen.each(sent)
        await t.settled(topic, 'workers', t.recoverMs + 10_000)
      }
    },
  },
  {
    id: 'ACK-10',
    title: 'Each decision does what it says',
    needs: 'memory',
    run: decisions,
  },
  {
    id: 'ACK-11',
    title: 'Settles flush when idle',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      const seen = t.recorder()
      await broker.consume(topic, t.consumeOptions(), seen.handler())
      let total = 0
      for (const count of [1, 7, 33]) {
        await t.send(broker, topic, t.orders(count))
        total += count
        await t.until(`${total} are done`, () => seen.done === total, { seen: () => seen.done })
        await t.settled(topic, 'workers', 1000)
      }
    },
  },
  {
    id: 'ACK-12',
    title: 'At-most-once means at most one start',
    needs: 'memory',
    run: atMostOnce,
  },
  {
    id: 'ACK-13',
    title: 'A batch fails per message',
    needs: 'memory',
    run: batchPerMessage,
  },
  {
    id: 'ACK-14',
    title: 'Handlers do not repeat each other',
    needs: 'memory',
    run: noneRepeatsOthers,
  },
  {
    id: 'ACK-15',
    title: 'A batch that throws is handed out one by one',
    needs: 'memory',
    run: batchOneByOne,
  },
  {
    id: 'ACK-16',
    title: 'postpone counts nothing',
    needs: 'memory',
    run: postponeCountsNothing,
  },
  {
    id: 'ACK-17',
    title: 'Finished is not run again',
    needs: 'memory',
    run: finishedAgain,
  },
  {
    id: 'ACK-18',
    title: 'A pulled message does not stay out for ever',
    needs: 'memory',
    async run(t) {
      const topic = t.topic('jobs')
      const broker = await t.connect()
      // Long enough for the auditor, which looks between two handings out.
      const settleWithinMs = t.slack(500)
      const puller = await broker.pull(topic, {
        group: 'workers',
        maxUnsettled: 32,
        settleWithinMs,
        retry: { attempts: 3, firstDelayMs: 100, factor: 1 },
      })
      await t.send(broker, topic, t.orders(1))
      const [first] = await puller.receive({ max: 1, waitMs: 5000 })
      t.equal(first?.attempt, 1, 'attempt of the first handing out')
      const began = t.now()
      const [second] = await puller.receive({ max: 1, waitMs: 10_000 })
      t.equal({ id: second?.id, attempt: second?.attempt }, { id: first?.id, attempt: 2 }, 'what is handed out again')
      t.atLeast(t.now() - began, 0.9 * settleWithinMs, 'milliseconds until then')
      t.equal(await first?.done(), 'stale', 'the late done()')
      t.atLeast(await t.auditor.remaining(topic.name, 'workers'), 1, 'messages that are not settled by a late done()')
      t.equal(await second?.done(), 'done', 'the done() in time')
      await t.settled(topic)
    },
  },
]

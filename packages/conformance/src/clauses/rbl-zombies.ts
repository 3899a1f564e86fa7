// RBL-4: members that are dead to their group and do not know it.

import type { Message } from '@posthorn/core'
import type { Assignment } from '@posthorn/core/adapter'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { connectChanged } from './spied.ts'

/** RBL-4: at the contract, tokens of a membership that is over settle nothing. */
export async function lateAtTheContract(t: Trial): Promise<void> {
  const topic = t.topic('contract', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare(topic)
  const orders = t.orders(10)
  await t.send(sender, topic, orders)
  const zombie = await t.open()
  const stop = new AbortController()
  await zombie.session.declare(
    {
      topics: [
        {
          name: topic.name,
          keyed: true,
          partitions: 1,
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
  const assignments = await zombie.session.subscribe(
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
  const iterator = assignments[Symbol.asyncIterator]()
  const next = async (): Promise<Assignment> => {
    const { value, done } = await iterator.next()
    return done === true ? t.fail('the member was given nothing') : value
  }
  let found = await next()
  while (found.role !== 'main') found = await next()
  const deliveries = await found.read(5)
  t.struck('deliveries held', deliveries.length)
  await t.auditor.expel(zombie.instance)
  await t.until('its assignment is lost', () => found.lost.aborted, t.takeoverMs)
  const remaining = await t.auditor.remaining(topic.name, 'workers')
  const { settled } = await t.auditor.settles(topic.name, 'workers')
  t.equal(await found.settle(deliveries.map((delivery) => delivery.token)), 'stale', 'settlement of a membership that is over')
  t.equal(await found.read(5), [], 'deliveries of an assignment that is lost')
  t.equal(await t.auditor.remaining(topic.name, 'workers'), remaining, 'messages left, before and after')
  t.equal((await t.auditor.settles(topic.name, 'workers')).settled, settled, 'messages settled, before and after')
  await zombie.close()
  const seen = t.recorder('after the zombie')
  const heir = await t.member({ topic, recorder: seen })
  await t.until('all are handled', () => seen.finished === orders.length, { withinMs: t.takeoverMs, seen: () => seen.finished })
  seen.exactly(orders)
  await heir.close()
}

/** RBL-4: handlers of a member that stood still end when their messages are somebody else's. */
export async function lateHandlers(t: Trial): Promise<void> {
  const topic = t.topic('frozen', { partitions: 2 })
  const sender = await t.connect()
  const old = t.recorder('zombie')
  const young = t.recorder('heir')
  const oldGate = t.gate('handlers of the zombie')
  const youngGate = t.gate('handlers of the heir')
  const zombie = await t.member({ topic, recorder: old, acts: [{ gate: oldGate }] })
  const orders = t.orders(8, { keys: 8 })
  await t.send(sender, topic, orders)
  await t.until('8 handlers run', () => zombie.running === 8)
  const heir = await t.member({ topic, recorder: young, acts: [{ gate: youngGate }] })
  zombie.freeze()
  t.struck('running handlers', zombie.running)
  await t.pass(2 * t.leaseMs)
  await t.until('the heir has them all', () => heir.running === 8, { withinMs: t.takeoverMs, seen: () => heir.running })
  const before = await t.auditor.settles(topic.name, 'workers')
  const remaining = await t.auditor.remaining(topic.name, 'workers')
  const settledEvents = t.events('settled').length
  zombie.thaw()
  oldGate.open()
  await t.until('its handlers have ended', () => zombie.running === 0)
  await t.pass(3000)
  t.equal((await t.auditor.settles(topic.name, 'workers')).settled, before.settled, 'settled by a zombie')
  t.equal(await t.auditor.remaining(topic.name, 'workers'), remaining, 'messages that the heir has in hand')
  t.equal(t.events('settled').length, settledEvents, 'settlements that a zombie reports as done')
  t.equal(heir.running, 8, 'handlers of the heir, undisturbed')
  youngGate.open()
  await t.settled(topic, 'workers', 10_000)
  young.each(orders)
  t.equal(young.starts.length, 8, 'starts at the heir')
}

/** RBL-4: a member that has not heard yet that it owns nothing settles late, and reports it as what it is. */
export async function lateAndUnaware(t: Trial): Promise<void> {
  const topic = t.topic('unaware', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare(topic)
  // An adapter joins again at once. What it owns then it may settle, copies of what finished here included, so it is given back:
  // whatever is settled after the expulsion was settled by the member that is none any more.
  let expelled = false
  const unaware = await connectChanged(t, (session) => ({
    async subscribe(source, signal) {
      const assignments = await session.subscribe(source, signal)
      return (async function* (): AsyncGenerator<Assignment> {
        for await (const inner of assignments) {
          if (expelled) {
            void inner.release()
            continue
          }
          yield {
            topic: inner.topic,
            role: inner.role,
            partition: inner.partition,
            leaving: inner.leaving,
            lost: new AbortController().signal,
            aliveUntil: Number.POSITIVE_INFINITY,
            read: (max) => inner.read(max),
            settle: (tokens, outputs) => (outputs === undefined ? inner.settle(tokens) : inner.settle(tokens, outputs)),
            release: () => inner.release(),
          }
        }
      })()
    },
  }))
  const old = t.recorder('unaware')
  const gate = t.gate('handlers of the unaware')
  await unaware.consume(
    topic,
    t.consumeOptions(),
    old.handler(() => gate.wait()),
  )
  const orders = t.orders(4, { keys: 4 })
  await t.send(sender, topic, orders)
  await t.until('4 handlers run', () => old.running === 4)
  t.struck('running handlers', old.running)
  const settles = (await t.auditor.settles(topic.name, 'workers')).settled
  const done = t.events('settled').length
  const stale = t.events('settle-stale').length
  expelled = true
  for (const instance of await t.auditor.members(topic.name, 'workers')) await t.auditor.expel(instance)
  gate.open()
  await t.until('it has settled late', () => t.events('settle-stale').length > stale, {
    withinMs: 2000,
    seen: () => t.events('settled').length - done,
  })
  // A settlement that is tried again in the name of a later membership would arrive by now.
  await t.pass(500)
  t.equal(t.events('settled').length, done, 'late settlements that are reported as done')
  t.equal((await t.auditor.settles(topic.name, 'workers')).settled, settles, 'messages settled late')
  await unaware.close({ drainMs: 1000 })
  const seen = t.recorder('after the unaware')
  const heir = await t.member({ topic, recorder: seen })
  await t.until('all are handled', () => seen.finished === orders.length, { withinMs: t.takeoverMs, seen: () => seen.finished })
  seen.exactly(orders)
  await heir.close()
}

/** RBL-4: the signal of such a handler aborts. */
export async function signalOfTheLate(t: Trial): Promise<void> {
  const topic = t.topic('signalled', { partitions: 1 })
  const broker = await t.connect()
  const gate = t.gate()
  let signal: AbortSignal | undefined
  await broker.consume(topic, t.consumeOptions(), (message: Message<Order>) => {
    signal ??= message.signal
    return gate.wait()
  })
  const sender = await t.connect()
  await t.send(sender, topic, t.orders(1))
  await t.until('it runs', () => signal !== undefined)
  const link = t.link(broker)
  link.silence('both')
  await t.until('its signal aborts', () => signal?.aborted === true, { withinMs: t.leaseMs + 1000, seen: () => signal?.aborted })
  link.heal()
  gate.open()
}

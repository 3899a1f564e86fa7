// ACK-3: settlements that come too late: at the contract, by pull, and of handlers.

import type { Broker, Message, Pulled } from '@posthorn/core'
import type { Assignment, Delivery } from '@posthorn/core/adapter'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'

export async function lateAtTheContract(t: Trial): Promise<void> {
  const topic = t.topic('contract', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare(topic)
  await t.send(sender, topic, t.orders(2, { keys: 2 }))
  const opened = await t.open()
  const stop = new AbortController()
  // As core does: a session knows a topic that it declared.
  await opened.session.declare(
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
  const found: Assignment[] = []
  const all: Assignment[] = []
  const source = {
    topic: topic.name,
    kind: 'group',
    group: 'workers',
    keyed: true,
    settleFirst: false,
    maxUnsettled: 32,
    maxBytes: 1_048_576,
    native: undefined,
    atomic: false,
    handOverMs: 5000,
  } as const
  const assignments = await opened.session.subscribe(source, stop.signal)
  const collecting = (async () => {
    for await (const assignment of assignments) {
      all.push(assignment)
      if (assignment.role === 'main') found.push(assignment)
    }
  })()
  await t.until('an assignment', () => found.length === 1)
  const old = found[0] as Assignment
  const tokens = (await readAll(t, old, 2)).map((delivery) => delivery.token)
  t.struck('unsettled deliveries', tokens.length)
  t.link(opened).cut()
  const moved = (): boolean => old.lost.aborted && found.length === 2
  const cutAt = t.now()
  await t.until('the assignment is lost and comes again, or outlives the cut', () => moved() || t.now() - cutAt > t.leaseMs, {
    withinMs: t.recoverMs + t.leaseMs + 1000,
  })
  if (!moved()) {
    // Where ownership is a lease it outlives a connection, and the tokens are good. It has to be taken away.
    await t.auditor.expel(opened.instance)
    await t.until('the assignment is lost and comes again', moved, { withinMs: t.takeoverMs })
  }
  const fresh = found[1] as Assignment
  const again = await readAll(t, fresh, 2)
  t.equal(await old.settle(tokens), 'stale', 'settling tokens of the connection before')
  t.equal(await t.auditor.unsettled(topic.name, 'workers'), 2, 'unsettled after it')
  t.equal(await fresh.settle(again.map((delivery) => delivery.token)), 'settled', 'settling the new tokens')
  await t.settled(topic)
  stop.abort()
  await t.until('the member may leave', () => fresh.leaving.aborted || fresh.lost.aborted)
  await Promise.all(all.map((assignment) => assignment.release()))
  await collecting
}

async function readAll(t: Trial, assignment: Assignment, count: number): Promise<readonly Delivery[]> {
  const all: Delivery[] = []
  while (all.length < count) {
    const some = await assignment.read(count)
    if (some.length === 0) t.fail(`the assignment ended after ${all.length} of ${count} deliveries`)
    all.push(...some)
  }
  return all
}

/** After a cut: what is owned began anew. Where ownership is a lease that outlives it, it is taken away. */
async function begunAgain(t: Trial, broker: Broker, topic: string, before: number): Promise<void> {
  const again = (): boolean => t.calls(broker).assignments.some((each) => each.role === 'main' && each.since > before)
  await t.until('it owns the partition again, or its lease outlives the cut', () => again() || t.now() - before > t.leaseMs, {
    withinMs: t.recoverMs + t.leaseMs,
  })
  if (again()) return
  for (const instance of await t.auditor.members(topic, 'workers')) await t.auditor.expel(instance)
  await t.until('it owns the partition again', again, t.takeoverMs)
}

export async function lateByPull(t: Trial): Promise<void> {
  const topic = t.topic('pulled', { partitions: 1 })
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const puller = await broker.pull(topic, { group: 'workers', maxUnsettled: 32 })
  await t.send(sender, topic, t.orders(2, { keys: 2 }))
  const old: Pulled<Message<Order>>[] = []
  while (old.length < 2) old.push(...(await puller.receive({ max: 2, waitMs: 5000 })))
  t.struck('unsettled deliveries', old.length)
  const before = t.now()
  t.link(broker).cut()
  await begunAgain(t, broker, topic.name, before)
  for (const message of old) t.equal(await message.done(), 'stale', `done() of ${message.id} after its connection ended`)
  // What was done here is not handed out here again (ACK-17): at most it comes, and its own settlement counts.
  for (const message of await puller.receive({ max: 2, waitMs: 3000 })) t.equal(await message.done(), 'done', `done() of ${message.id}`)
  await t.settled(topic)
}

export async function lateHandlers(t: Trial): Promise<void> {
  const topic = t.topic('handled', { partitions: 1 })
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const gate = t.gate()
  const seen = t.recorder('handled')
  const orders = t.orders(2, { keys: 2 })
  await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler(() => gate.wait()),
  )
  await t.send(sender, topic, orders)
  await t.until('2 handlers run', () => seen.running === 2)
  t.struck('running handlers', seen.running)
  const before = t.now()
  t.link(broker).cut()
  await begunAgain(t, broker, topic.name, before)
  await t.until('the server counts the new deliveries', async () => (await t.auditor.unsettled(topic.name, 'workers')) === 2)
  gate.open()
  await t.settled(topic)
  await t.fence(sender, topic, seen)
  seen.each(orders)
  t.atMost(seen.repeats, 2, 'repeats')
}

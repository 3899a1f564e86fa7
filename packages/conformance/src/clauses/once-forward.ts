// ONCE-7 to ONCE-9, ONCE-11 and ONCE-13: what handlers forward.

import { deadLetter } from '@posthorn/core'
import type { Script } from '../member.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { effectsOf, ledgers, processOf, storeIn } from './ledger.ts'
import { foreign, lettersWhen, readMeant, storedIds } from './stored.ts'
import { failing } from './support.ts'

/** ONCE-7, where source and outputs are one step. */
export async function atomicForward(t: Trial): Promise<void> {
  const topic = t.topic('source')
  const target = t.topic('target')
  const sender = await t.connect()
  await sender.declare([topic, target])
  const seen = t.recorder()
  const orders = t.orders(t.size(1000))
  await t.send(sender, topic, orders)
  const script: Script = { topic, recorder: seen, options: { forward: { atomic: true, to: [target] } }, acts: [{ forward: target }] }
  const failed: Script = { ...script, acts: [{ when: { attempts: 1, first: 5 }, forward: target, then: 'throw' }, { forward: target }] }
  for (let round = 0; round < t.rounds(5, 3); round++) {
    const dying = await t.member({
      ...failed,
      dieAt: { operation: 'settle', role: 'main', when: round % 2 === 0 ? 'before' : 'after', nth: 1 + Math.floor(t.random() * 3) },
    })
    await dying.died
    t.struck('unsettled deliveries', await t.auditor.remaining(topic.name, 'workers'))
  }
  await t.member(script)
  await t.settled(topic, 'workers', t.takeoverMs + 30_000)
  const outputs = await readMeant(t, t.place(target))
  const values = outputs.map(({ body }) => (JSON.parse(Buffer.from(body ?? []).toString()) as Order).id)
  t.equal(values.length, orders.length, 'outputs of so many inputs')
  t.equal([...values].sort(), orders.map(({ id }) => id).sort(), 'inputs that the outputs are of')
  t.equal(new Set(outputs.map(({ id }) => id)).size, orders.length, 'different ids of outputs')
}

/** ONCE-8, where source and outputs are one step. */
export async function zombies(t: Trial): Promise<void> {
  const topic = t.topic('source', { partitions: 1 })
  const target = t.topic('target', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare([topic, target])
  const gate = t.gate()
  const [slow, quick] = [t.recorder('slow'), t.recorder('quick')]
  const script: Script = { topic, options: { forward: { atomic: true, to: [target] } } }
  const zombie = await t.member({ ...script, recorder: slow, acts: [{ gate, forward: target }] })
  const orders = t.orders(4, { keys: 4 })
  await t.send(sender, topic, orders)
  await t.until('four handlers run', () => zombie.running === orders.length)
  t.struck('running handlers in a transaction', zombie.running)
  const settledBefore = zombie.calls.settled
  zombie.freeze()
  await t.member({ ...script, recorder: quick, acts: [{ forward: target }] })
  await t.until('another member has done them', () => quick.finished === orders.length, {
    withinMs: t.takeoverMs + 10_000,
    seen: () => quick.finished,
  })
  await t.settled(topic)
  zombie.thaw()
  gate.open()
  await t.until('its handlers end', () => slow.running === 0, t.takeoverMs)
  await t.pass(5000)
  const values = (await readMeant(t, t.place(target))).map(({ body }) => (JSON.parse(Buffer.from(body ?? []).toString()) as Order).id)
  t.equal([...values].sort(), orders.map(({ id }) => id).sort(), 'inputs that the outputs are of')
  t.equal(zombie.calls.settled, settledBefore, 'settlements of the zombie that the server took')
  t.equal(slow.starts.length, orders.length, 'starts at the zombie: nothing is tried again in place')
  const told = [...t.events('lost'), ...t.events('settle-stale')].filter(({ event }) => event['topic'] === topic.name)
  t.atLeast(told.length, 1, 'events that say that the assignment or the settlement is gone')
}

/** ONCE-7 and ONCE-8, where the server cannot: the demand is refused, and outputs follow the handler. */
export async function noAtomicForward(t: Trial): Promise<void> {
  const topic = t.topic('demanded')
  const target = t.topic('demanded-target')
  const broker = await t.connect()
  const refused = broker.consume(topic, t.consumeOptions({ forward: { atomic: true, to: [target] } }), () => undefined)
  await t.rejects(refused, 'UNSUPPORTED', { naming: ['forward', topic.name], what: 'a demand for an atomic forward' })
  t.equal(await t.auditor.exists(topic.name), false, 'a topic was made by a consumer that was refused')
  await outputsFollow(t)
}

/** ONCE-9 */
export async function outputsFollow(t: Trial): Promise<void> {
  const broker = await t.connect()
  await failThenSucceed(t)
  // Confirmed before the source is settled: while the confirmation is away, so is the settlement.
  const topic = t.topic('confirmed', { partitions: 1 })
  const target = t.topic('confirmed-target', { partitions: 1 })
  await broker.declare([topic, target])
  const seen = t.recorder()
  const receiver = await t.connect()
  await receiver.consume(
    topic,
    t.consumeOptions(),
    seen.handler((message) => message.forward(target, message.value)),
  )
  t.link(receiver).withhold(['publish'])
  const orders = t.orders(3, { keys: 3 })
  await t.send(broker, topic, orders)
  // In one partition the next may wait for the confirmation of the first.
  await t.until('an output is stored', async () => (await storedIds(t, target)).length > 0)
  await t.pass(1000)
  t.struck('outputs that are not confirmed', t.link(receiver).withheld)
  t.equal(await t.auditor.remaining(topic.name, 'workers'), orders.length, 'sources left while their outputs are not confirmed')
  t.link(receiver).heal()
  t.link(receiver).cut()
  await t.settled(topic, 'workers', t.recoverMs + t.takeoverMs + 30_000)
  t.equal(new Set(await storedIds(t, target)).size, orders.length, 'different ids of outputs after repeats')
  await crashAfterOutput(t)
}

async function failThenSucceed(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = t.topic('failing', { partitions: 1 })
  const target = t.topic('failing-target', { partitions: 1 })
  await broker.declare([topic, target])
  const seen = t.recorder()
  const gate = t.gate()
  await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler(async (message) => {
      message.forward(target, message.value)
      if (message.attempt === 1) failing()
      await gate.wait()
    }),
  )
  const orders = t.orders(5, { keys: 5 })
  await t.send(broker, topic, orders)
  await t.until('each failed once and runs again', () => orders.every((order) => seen.of(order).length === 2), 10_000)
  await t.pass(1000)
  t.equal(await storedIds(t, target), [], 'outputs of attempts that failed, and of handlers that still run')
  gate.open()
  await t.settled(topic)
  t.equal((await storedIds(t, target)).length, orders.length, 'outputs after the second attempt')
}

async function crashAfterOutput(t: Trial): Promise<void> {
  const sender = await t.connect()
  const topic = t.topic('crashed', { partitions: 1 })
  const target = t.topic('crashed-target', { partitions: 1 })
  await sender.declare([topic, target])
  const seen = t.recorder()
  const script: Script = { topic, recorder: seen, acts: [{ forward: target }] }
  const dying = await t.member({ ...script, dieAt: { operation: 'publish', role: 'main', when: 'after' } })
  const [order] = t.orders(1) as [Order]
  await t.send(sender, topic, [order])
  await dying.died
  const before = await storedIds(t, target)
  t.struck('outputs whose source is not settled', before.length)
  await t.member(script)
  await t.settled(topic, 'workers', t.takeoverMs + 10_000)
  const after = await storedIds(t, target)
  t.equal(after, [...before, ...before], 'ids of the output and of its repeat')
}

/** ONCE-11 */
export async function idsOfForwards(t: Trial): Promise<void> {
  const topic = t.topic('source', { partitions: 1, groups: ['north', 'south'] })
  const target = t.topic('target', { partitions: 1 })
  const sender = await t.connect()
  await sender.declare([topic, target])
  const [same] = t.orders(1) as [Order]
  const fixed: Order = { ...same, id: 'fixed', key: 'k' }
  const idsBy = new Map<string, string[]>()
  const collect = async (label: string, count: number): Promise<readonly string[]> => {
    await t.until(`outputs of ${label}`, async () => (await storedIds(t, target)).length === total + count, {
      withinMs: t.takeoverMs + 10_000,
    })
    const fresh = (await storedIds(t, target)).slice(total)
    total += count
    idsBy.set(label, [...fresh])
    return fresh
  }
  let total = 0
  // Two groups, one source, one value.
  for (const group of ['north', 'south']) {
    const broker = await t.connect()
    await broker.consume(topic, t.consumeOptions({ group, concurrency: 1 }), (message) => {
      message.forward(target, fixed, { key: message.value.pad === 'other key' ? 'other' : 'k' })
      if (message.value.pad === 'twice') message.forward(target, fixed, { key: 'k' })
      if (message.value.pad === 'other body') message.forward(target, { ...fixed, seq: 7 }, { key: 'k' })
    })
  }
  const write = async (pad: string, id: string, source: string): Promise<void> => {
    const event = {
      id,
      key: 'k',
      body: Buffer.from(JSON.stringify({ ...fixed, pad })),
      attributes: { specversion: '1.0', source, type: topic.name, datacontenttype: 'application/json' },
      partition: 0,
    }
    await t.auditor.write(topic.name, foreign(t, event))
  }
  await write('plain', 'first', 'shop')
  const plain = await collect('two groups', 2)
  t.equal(new Set(plain).size, 2, 'ids of one value forwarded by two groups')
  await write('plain', 'first', 'shop')
  t.equal([...(await collect('the same message again', 2))].sort(), [...plain].sort(), 'ids when the same message is handled again')
  await write('twice', 'first', 'shop')
  const twice = await collect('the same value twice', 4)
  t.equal(new Set(twice).size, 4, 'ids of one value forwarded twice by two groups')
  t.ok(
    plain.every((id) => twice.includes(id)),
    'the first of two equal outputs has the id that a single one has',
  )
  await write('twice', 'first', 'shop')
  t.equal([...(await collect('twice, again', 4))].sort(), [...twice].sort(), 'ids of two equal outputs when the message is handled again')
  for (const [pad, id, source] of [
    ['plain', 'second', 'shop'],
    ['plain', 'first', 'bank'],
    ['other key', 'first', 'shop'],
  ] as const) {
    await write(pad, id, source)
    const ids = await collect(`${pad} ${id} ${source}`, 2)
    t.equal(
      ids.filter((each) => plain.includes(each)),
      [],
      `ids that meet those of another message (${pad}, ${id}, ${source})`,
    )
    t.equal(new Set(ids).size, 2, `ids of two groups (${pad}, ${id}, ${source})`)
  }
  await write('other body', 'first', 'shop')
  t.equal(new Set(await collect('another body', 4)).size, 4, 'ids of two values in two groups')
  const distinct = new Set([...idsBy.values()].flat())
  t.equal(distinct.size, 2 + 2 + 6 + 2, 'different ids in all')
  await crashAfterOutput(t)
}

/** ONCE-13 */
export async function neighbours(t: Trial): Promise<void> {
  const sender = await t.connect()
  for (const [index, ledger] of ledgers(t).entries()) {
    const [topic, target] = [t.topic(`jobs-${index}`, { partitions: 1 }), t.topic(`target-${index}`, { partitions: 1 })]
    await sender.declare([topic, target])
    // Confirmed inside the transaction: while the confirmation is away there is no commit.
    const receiver = await t.connect()
    const seen = t.recorder(ledger.name)
    await receiver.consume(
      topic,
      t.consumeOptions({ once: storeIn(processOf(), ledger) }),
      seen.handler((message) => message.forward(target, message.value)),
    )
    t.link(receiver).withhold(['publish'])
    const [first, second] = t.orders(2, { keys: 2 }) as [Order, Order]
    await t.send(sender, topic, [first])
    await t.until('the output is stored', async () => (await storedIds(t, target)).length >= 1)
    await t.pass(1000)
    t.struck('outputs that are not confirmed', t.link(receiver).withheld)
    t.equal(effectsOf(ledger, [first.id]), [0], `effects while an output is not confirmed (store ${ledger.name})`)
    t.link(receiver).heal()
    t.link(receiver).cut()
    await t.settled(topic, 'workers', t.recoverMs + t.takeoverMs + 30_000)
    t.equal(effectsOf(ledger, [first.id]), [1], `effects in the end (store ${ledger.name})`)
    t.equal(new Set(await storedIds(t, target)).size, 1, 'different ids of one output')
    await receiver.close()

    // Killed between the output and the commit.
    const own = processOf()
    const dying = await t.member({
      topic,
      recorder: seen,
      acts: [{ forward: target }],
      once: storeIn(own, ledger),
      dieAt: { operation: 'publish', role: 'main', when: 'after' },
    })
    void dying.died.then(own.end)
    await t.send(sender, topic, [second])
    await dying.died
    t.struck('outputs without a commit', (await storedIds(t, target)).length > 1)
    t.equal(effectsOf(ledger, [second.id]), [0], `effects of a transaction whose process died (store ${ledger.name})`)
    await t.member({ topic, recorder: seen, acts: [{ forward: target }], once: storeIn(processOf(), ledger) })
    await t.settled(topic, 'workers', t.takeoverMs + 10_000)
    t.equal(effectsOf(ledger, [second.id]), [1], `effects after the kill (store ${ledger.name})`)
    const outputs = (await storedIds(t, target)).slice(1)
    t.equal(new Set(outputs).size, 2, `different ids of the outputs of two messages: ${outputs.length} stored`)

    await deadThenReplayed(t, index)
  }
}

/** A message that went to the dead letters left no record: its replay is not a repeat. */
async function deadThenReplayed(t: Trial, index: number): Promise<void> {
  const ledger = ledgers(t)[index] as ReturnType<typeof ledgers>[number]
  const topic = t.topic(`dead-${index}`)
  const broker = await t.connect()
  const seen = t.recorder(`dead ${ledger.name}`)
  let healthy = false
  const orders = t.orders(6, { keys: 6 })
  await broker.consume(
    topic,
    t.consumeOptions({ once: storeIn(processOf(), ledger) }),
    seen.handler((message) => {
      if (healthy) return
      const way = orders.findIndex(({ id }) => id === message.id) % 3
      if (way === 0) return deadLetter('not yet')
      if (way === 1) throw deadLetter('not yet')
      failing()
    }),
  )
  await t.send(broker, topic, orders)
  await lettersWhen(t, broker, topic, orders.length)
  await t.settled(topic)
  t.equal(
    effectsOf(
      ledger,
      orders.map(({ id }) => id),
    ),
    orders.map(() => 0),
    `effects of what went to the dead letters (store ${ledger.name})`,
  )
  healthy = true
  const { replayed } = await broker.deadLetters(topic, 'workers').replay({ all: true })
  t.equal(replayed, orders.length, 'replayed')
  await t.until('the replayed ones are done', () => seen.finished === orders.length, { seen: () => seen.finished })
  await t.settled(topic)
  t.equal(
    effectsOf(
      ledger,
      orders.map(({ id }) => id),
    ),
    orders.map(() => 1),
    `effects after the replay (store ${ledger.name})`,
  )
}

import type { Broker, Receipt } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import { partitionOfKey } from '../murmur2.ts'
import type { Order } from '../orders.ts'
import type { SendRecord, Trial } from '../trial.ts'
import { outcomesOf, readMeant, storedIds } from './stored.ts'

const idOf = ({ id }: { readonly id: string | undefined | null }): string => id ?? ''

/** A round of PUB-2: many await their sends one after the other while the server is killed. */
async function killedServer(t: Trial, round: number): Promise<void> {
  const topic = t.topic(`killed-${round}`)
  const broker = await t.connect()
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  await producer.send(t.orders(1)[0] as Order)
  // So that something is always on its way.
  t.link(broker).delay(5)
  const queue = [...t.orders(t.size(2000))]
  const total = queue.length
  const resolved: string[] = []
  let open = 0
  const sending = Promise.all(
    Array.from({ length: 20 }, async () => {
      for (let order = queue.shift(); order !== undefined; order = queue.shift()) {
        open++
        await producer.send(order, { id: order.id }).then(
          ({ id }) => resolved.push(id),
          () => {},
        )
        open--
      }
    }),
  )
  const strikeAt = Math.floor(total * (0.2 + 0.5 * t.random()))
  await t.until('the killer strikes in mid-flow', () => resolved.length >= strikeAt, { withinMs: 60_000, seen: () => resolved.length })
  t.struck('unconfirmed sends', Math.max(open, t.link(broker).open('publish')))
  await t.crash('SIGKILL')
  await t.pass(500)
  await t.restart()
  await sending
  const stored = new Set(await storedIds(t, topic))
  const lost = resolved.filter((id) => !stored.has(id))
  if (t.profile === 'durable') t.equal(lost, [], `resolved sends that are not stored after kill -9 (round ${round})`)
  else t.note(`broker loss: ${lost.length} of ${resolved.length} resolved sends (round ${round})`)
  t.atLeast(resolved.length, Math.floor(total / 2), 'sends that resolved')
  await broker.close()
}

const unreachable = new Set(['UNAVAILABLE', 'TIMED_OUT'])

async function serverDown(t: Trial): Promise<void> {
  const known = t.topic('known')
  const fresh = t.topic('fresh')
  const broker = await t.connect()
  await t.send(broker, known, t.orders(10))
  await t.crash('SIGTERM')
  const orders = t.orders(100)
  const since = t.sends.length
  const sends = [
    ...orders.slice(0, 90).map((order) => broker.producer(known, { timeoutMs: 5000 }).send(order, { id: order.id })),
    // A topic that was never declared here has nobody to ask.
    ...orders.slice(90).map((order) => broker.producer(fresh, { timeoutMs: 5000 }).send(order, { id: order.id })),
  ]
  const ended = await outcomesOf(sends)
  t.equal(ended.stored.map(idOf), [], 'sends that resolved while the server was down')
  for (const error of ended.errors)
    t.ok(
      unreachable.has(error.code),
      `a send to a server that is down rejects with UNAVAILABLE or TIMED_OUT, not ${error.code}: ${error.message}`,
    )
  for (const record of t.sends.slice(since)) {
    t.atMost(
      (record.endedAt ?? Number.POSITIVE_INFINITY) - record.at,
      t.slack(6000),
      `milliseconds until the send of ${record.id} rejected`,
    )
    t.ok(record.id !== undefined, 'a rejected send tells the id of its message')
  }
  await t.restart()
  await t.until('the link is back', () => broker.status === 'connected', t.recoverMs)
  await t.send(broker, known, t.orders(64))
  const stored = new Set([...(await storedIds(t, known)), ...((await t.auditor.exists(fresh.name)) ? await storedIds(t, fresh) : [])])
  const failed = t.sends.filter(({ outcome }) => outcome === 'failed' || outcome === 'refused').map(idOf)
  t.equal(
    failed.filter((id) => stored.has(id)),
    [],
    'sends that failed for sure and are stored after the restart',
  )
}

/** Sends them, and resolves when the server has them all but no answer came. */
async function forwarded(t: Trial, broker: Broker, sends: () => readonly Promise<Receipt>[]): Promise<readonly Promise<Receipt>[]> {
  const before = t.calls(broker).published
  t.link(broker).withhold(['publish'])
  const begun = sends()
  await t.until('all have left', () => t.calls(broker).published >= before + begun.length, {
    seen: () => t.calls(broker).published - before,
  })
  await t.until('their answers are withheld', () => t.link(broker).withheld > 0)
  t.struck('unconfirmed publishes', t.link(broker).withheld)
  return begun
}

async function lostConfirm(t: Trial): Promise<void> {
  for (const keyed of [true, false]) {
    const topic = t.topic(keyed ? 'keyed' : 'keyless', { keyed })
    const broker = await t.connect()
    const producer = broker.producer(topic, { timeoutMs: 5000, retryUnknown: false })
    await producer.send(t.orders(1)[0] as Order)
    const orders = t.orders(100)
    const since = t.sends.length
    const sends = await forwarded(t, broker, () => orders.map((order) => producer.send(order, { id: order.id })))
    t.link(broker).cut()
    const ended = await outcomesOf(sends)
    const shown = new Map<string, number>()
    for (const { outcome } of ended.errors) shown.set(outcome, (shown.get(outcome) ?? 0) + 1)
    t.equal(ended.stored.map(idOf), [], 'sends that resolved without an answer')
    t.equal([...shown], [['unknown', 100]], 'outcomes of sends whose answers were lost')
    t.equal(ended.errors.map(({ messageId }) => messageId).sort(), orders.map(idOf).sort(), 'their message ids')
    for (const record of t.sends.slice(since))
      t.atMost((record.endedAt ?? Number.POSITIVE_INFINITY) - record.at, t.slack(6000), 'milliseconds until a send without an answer ended')
    t.link(broker).heal()
    const stored = new Set(await storedIds(t, topic))
    t.note(`${orders.filter(({ id }) => stored.has(id)).length} of ${orders.length} unknown sends were stored`)
    await broker.close()
  }
}

async function refusal(t: Trial): Promise<void> {
  const topic = t.topic('denied')
  const broker = await t.connect()
  const first = t.orders(10)
  await t.send(broker, topic, first)
  await t.auditor.deny('publish', topic.name)
  const denied = t.orders(10)
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  const ended = await outcomesOf(denied.map((order) => producer.send(order, { id: order.id })))
  t.equal(ended.stored.map(idOf), [], 'sends that resolved though the server refused them')
  for (const { code, outcome } of ended.errors) {
    // A bare negative answer says nothing about what is stored; a reason from the closed list does.
    if (outcome === 'failed') t.equal(code, 'UNAUTHORIZED', 'the code of a refusal for want of a right')
    else t.equal(outcome, 'unknown', 'the outcome of a refusal without a reason')
  }
  const stored = await storedIds(t, topic)
  t.equal(stored.length, first.length, 'messages stored while the right was withdrawn')
  await t.auditor.allow()
  const after = t.orders(10)
  await t.send(broker, topic, after)
  t.equal([...(await storedIds(t, topic))].sort(), [...first, ...after].map(idOf).sort(), 'messages stored once the right is back')
}

async function repeated(t: Trial): Promise<void> {
  const topic = t.topic('repeated')
  const broker = await t.connect({ name: 'shop' })
  const producer = broker.producer(topic, { timeoutMs: 5000 })
  await producer.send(t.orders(1)[0] as Order)
  const orders = t.orders(100)
  const since = t.now()
  const sends = await forwarded(t, broker, () => orders.map((order) => producer.send(order, { id: order.id })))
  t.link(broker).cut()
  t.link(broker).heal()
  const ended = await outcomesOf(sends)
  t.equal(
    ended.errors.map(({ message }) => message),
    [],
    'sends that did not resolve though the link was back',
  )
  t.atMost(t.now() - since, 5000, 'milliseconds until all had resolved')
  t.equal(ended.stored.map(idOf), orders.map(idOf), 'ids of the receipts')
  await copiesAreEqual(t, topic.name, orders, 2)
}

/** Every copy is the same message, in the partition of its key. */
async function copiesAreEqual(t: Trial, topic: string, orders: readonly Order[], most: number): Promise<void> {
  const stored = await readMeant(t, t.place(topic))
  for (const order of orders) {
    const copies = stored.filter(({ id }) => id === order.id)
    t.ok(copies.length >= 1 && copies.length <= most, `${order.id} is stored 1 to ${most} times, not ${copies.length}`, [order.id])
    for (const copy of copies) {
      t.equal(copy.attributes['source'], 'shop', `the source of each copy of ${order.id}`)
      t.equal(copy.key, order.key, `the key of each copy of ${order.id}`)
      t.equal(copy.partition, partitionOfKey(order.key as string, 4), `the partition of each copy of ${order.id}`)
    }
  }
  t.equal(new Set(stored.map(idOf)).size, orders.length + 1, 'different ids stored')
}

async function notRepeated(t: Trial): Promise<void> {
  const topic = t.topic('by-hand')
  const broker = await t.connect({ name: 'shop' })
  const producer = broker.producer(topic, { timeoutMs: 5000, retryUnknown: false })
  await producer.send(t.orders(1)[0] as Order)
  const orders = t.orders(100)
  const sends = await forwarded(t, broker, () => orders.map((order) => producer.send(order, { id: order.id })))
  t.link(broker).cut()
  t.link(broker).heal()
  const ended = await outcomesOf(sends)
  t.equal(ended.errors.filter(({ outcome }) => outcome === 'unknown').length, 100, 'unknown outcomes without repeats')
  await t.pass(5000)
  const ids = await storedIds(t, topic)
  t.equal(orders.filter(({ id }) => ids.filter((other) => other === id).length > 1).map(idOf), [], 'messages that somebody repeated')
  const byHand = await Promise.all(orders.map((order, n) => producer.send(order, { id: ended.errors[n]?.messageId })))
  t.equal(byHand.map(idOf), orders.map(idOf), 'ids of repeats by hand')
  await copiesAreEqual(t, topic.name, orders, 2)
}

async function outage(t: Trial): Promise<void> {
  const topic = t.topic('outage')
  const broker = await t.connect()
  const producer = broker.producer(topic, { timeoutMs: 30_000, maxBuffered: 1000 })
  await producer.send(t.orders(1)[0] as Order)
  await t.crash('SIGTERM')
  const orders = t.orders(5000)
  const since = t.sends.length
  const sends = outcomesOf(orders.map((order) => producer.send(order, { id: order.id })))
  await t.pass(100)
  const records = t.sends.slice(since)
  const held = records.filter(({ outcome }) => outcome === 'open')
  t.struck('held sends', held.length)
  t.atMost(held.length, 1000, 'sends held while the server is down')
  const refused = records.filter(({ outcome }) => outcome !== 'open')
  t.equal(refused.length, 5000 - held.length, 'sends that rejected at once')
  for (const record of refused) {
    t.equal(record.error?.code, 'UNAVAILABLE', 'the code of a send that finds no room')
    t.equal(record.error?.outcome, 'failed', 'the outcome of a send that finds no room')
  }
  await t.pass(9900)
  await t.restart()
  const ended = await sends
  t.equal(ended.stored.length + ended.errors.length, 5000, 'sends that ended')
  const stored = new Set(await storedIds(t, topic))
  t.equal(ended.stored.filter(({ id }) => !stored.has(id)).map(idOf), [], 'resolved sends that are not stored')
  // There was time enough: what was held and had 20 s left is there.
  t.equal(held.filter((record: SendRecord) => record.outcome !== 'stored').map(idOf), [], 'held sends that vanished in the outage')
}

/** PUB-2 to PUB-5, PUB-17 and PUB-18. */
export const pubFaults: readonly Clause[] = [
  {
    id: 'PUB-2',
    title: 'A resolved send survives kill -9 of the broker',
    needs: 'memory',
    async run(t) {
      for (let round = 0; round < t.rounds(3, 2); round++) await killedServer(t, round)
    },
  },
  { id: 'PUB-3', title: 'Broker down: send rejects in bounded time, never resolves', needs: 'memory', run: serverDown },
  { id: 'PUB-4', title: 'A link lost between write and confirm gives unknown', needs: 'memory', run: lostConfirm },
  { id: 'PUB-5', title: 'A refusal is not success', needs: 'memory', run: refusal },
  {
    id: 'PUB-17',
    title: 'An unknown is repeated under its id, by core alone',
    needs: 'memory',
    async run(t) {
      await repeated(t)
      await notRepeated(t)
    },
  },
  { id: 'PUB-18', title: 'Nothing vanishes in an outage', needs: 'memory', run: outage },
]

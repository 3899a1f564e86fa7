// ONCE-1 to ONCE-6, ONCE-10 and ONCE-12: what a store for `once` promises together with core.

import type { Decision, Message, OnceStore, Topic } from '@posthorn/core'
import { unsupportedReason } from '../harness.ts'
import type { Script } from '../member.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { effectsOf, type Ledger, ledgers, processOf, storeIn } from './ledger.ts'
import { foreign } from './stored.ts'
import { failing } from './support.ts'

type Play = (message: Message<Order>) => Promise<Decision | void> | Decision | void

/** A member whose transactions are rolled back when it dies. */
async function memberWith(
  t: Trial,
  ledger: Ledger,
  script: Script,
  between?: () => Promise<void>,
): Promise<Awaited<ReturnType<Trial['member']>>> {
  const own = processOf()
  const member = await t.member({ ...script, once: storeIn(own, ledger, between) })
  void member.died.then(own.end)
  return member
}

const never = new Promise<void>(() => {})

/** The store as a handler in this process uses it. */
const whole = (ledger: Ledger): OnceStore<unknown> => storeIn(processOf(), ledger)

/** Writes what lies at the topic once more, byte for byte, each `every`th. */
async function writtenTwice(t: Trial, topic: Topic, every = 1, partition?: number): Promise<number> {
  const stored = await t.auditor.read(t.place(topic))
  const again = stored.filter((_, index) => index % every === 0)
  for (const { position: _position, dueAt: _due, undecodable: _undecodable, ...message } of again) {
    await t.auditor.write(topic.name, { ...message, partition: partition ?? message.partition })
  }
  return again.length
}

const ones = (orders: readonly unknown[]): readonly number[] => orders.map(() => 1)
const idsOf = (orders: readonly { readonly id: string }[]): readonly string[] => orders.map(({ id }) => id)

/** ONCE-1 */
export async function oneEffect(t: Trial): Promise<void> {
  const sender = await t.connect()
  for (const [index, ledger] of ledgers(t).entries()) {
    const topic = t.topic(`jobs-${index}`)
    const seen = t.recorder(ledger.name)
    const orders = t.orders(t.size(2000))
    await t.send(sender, topic, orders)
    const extra = await writtenTwice(t, topic, 10)
    let kills = 0
    const rounds = t.rounds(10, 3)
    for (let round = 0; round < rounds; round++) {
      const dying = await memberWith(t, ledger, {
        topic,
        recorder: seen,
        dieAt: { operation: 'settle', role: 'main', when: 'before', nth: 1 + Math.floor(t.random() * 3) },
      })
      await Promise.race([dying.died, t.sleep(t.takeoverMs)])
      if (!dying.alive) kills++
    }
    t.struck('effects whose settlement never left', kills)
    t.equal(kills, rounds, 'kills between an effect and its settlement')
    await memberWith(t, ledger, { topic, recorder: seen })
    await t.settled(topic, 'workers', t.takeoverMs + 60_000)
    const wrong = effectsOf(ledger, idsOf(orders)).flatMap((times, at) => (times === 1 ? [] : [`${orders[at]?.id}: ${times}`]))
    t.equal(wrong, [], `orders whose effect is not exactly one (store ${ledger.name}, ${extra} copies)`)
    t.atLeast(t.events('repeat').length, extra, 'repeats that were recognised')
  }
}

/** ONCE-2 */
export async function recordAndEffect(t: Trial): Promise<void> {
  const sender = await t.connect()
  for (const [index, ledger] of ledgers(t).entries()) {
    for (const point of ['before', 'between', 'after'] as const) {
      const topic = t.topic(`${point}-${index}`, { partitions: 1 })
      const seen = t.recorder(`${point} ${ledger.name}`)
      for (let round = 0; round < t.rounds(10, 1); round++) {
        const [order] = t.orders(1) as [Order]
        let kill: () => void = () => {}
        const killed = () => {
          kill()
          return never
        }
        const script: Script = {
          topic,
          recorder: seen,
          ...(point === 'before' ? { acts: [{ then: 'exit' }] as const } : {}),
          ...(point === 'after' ? { dieAt: { operation: 'settle', when: 'before' } as const } : {}),
        }
        const dying = await memberWith(t, ledger, script, point === 'between' ? killed : undefined)
        kill = dying.kill
        await t.send(sender, topic, [order])
        await dying.died
        t.struck(`kills ${point} the effect and its record`, seen.of(order).length)
        const key = { group: 'workers', topic: topic.name, source: 'suite', id: order.id }
        t.equal(
          { recorded: await ledger.recorded(key), effects: effectsOf(ledger, [order.id])[0] },
          point === 'after' ? { recorded: true, effects: 1 } : { recorded: false, effects: 0 },
          `record and effect of ${order.id}, killed ${point}`,
        )
        const next = await memberWith(t, ledger, { topic, recorder: seen })
        await t.settled(topic, 'workers', t.takeoverMs + 10_000)
        t.equal(effectsOf(ledger, [order.id]), [1], `effects of ${order.id} in the end, killed ${point} (store ${ledger.name})`)
        await next.close()
      }
    }
  }
}

/** ONCE-3 */
export async function windowIsTrue(t: Trial): Promise<void> {
  const windowMs = 20_000
  const [ledger] = ledgers(t, { windowMs }) as [Ledger]
  const topic = t.topic('jobs', { partitions: 1, with: { retentionMs: 3_600_000 } })
  const broker = await t.connect()
  const seen = t.recorder()
  const orders = t.orders(5, { keys: 5 })
  await t.send(broker, topic, orders)
  const stored = await t.auditor.read(t.place(topic))
  const again = async (): Promise<void> => {
    for (const { position: _position, dueAt: _due, undecodable: _undecodable, ...message } of stored)
      await t.auditor.write(topic.name, message)
  }
  await broker.consume(topic, t.consumeOptions({ once: whole(ledger) }), seen.handler())
  await t.settled(topic)
  const doneAt = Math.max(...seen.starts.map((start) => start.endedAt as number))
  const firstDone = Math.min(...seen.starts.map((start) => start.endedAt as number))
  const notices = t.events('notice').filter(({ event }) => event['reason'] === 'once-window')
  t.equal(
    notices.map(({ event }) => event['delayMs']),
    [windowMs],
    'warnings about a window that is shorter than a redelivery may take',
  )
  t.ok(
    t.logs.some((entry) => entry.level === 'warn' && entry.message.includes(String(windowMs))),
    'a log line warns of the short window',
  )

  await t.pass(firstDone + windowMs - 500 - t.now())
  await again()
  await t.settled(topic, 'workers', 400)
  t.equal(seen.starts.length, orders.length, 'starts after repeats just inside the window')
  t.equal(t.events('repeat').length, orders.length, 'repeats that were counted just inside the window')
  await t.pass(doneAt + windowMs + 500 - t.now())
  await again()
  await t.settled(topic)
  t.equal(seen.starts.length, 2 * orders.length, 'starts after repeats just outside the window')
  t.equal(t.events('repeat').length, orders.length, 'repeats that were counted just outside the window')
  t.equal(
    effectsOf(ledger, idsOf(orders)),
    orders.map(() => 2),
    'effects',
  )

  const wide = t.topic('wide')
  await broker.consume(wide, t.consumeOptions({ once: whole((ledgers(t) as [Ledger])[0]) }), seen.handler())
  t.equal(
    t.events('notice').filter(({ event }) => event['topic'] === wide.name && event['reason'] === 'once-window').length,
    0,
    'warnings about the default window',
  )
}

/** ONCE-4 */
export async function atTheSameTime(t: Trial): Promise<void> {
  for (const [index, ledger] of ledgers(t).entries()) {
    const topic = t.topic(`jobs-${index}`, { partitions: 2 })
    const seen = t.recorder(ledger.name)
    const broker = await t.connect()
    await t.team(2, {
      topic,
      recorder: seen,
      acts: [{ when: { first: 1 }, holdMs: 500, then: 'throw' }, { holdMs: 500 }],
      once: whole(ledger),
    })
    const [order] = t.orders(1) as [Order]
    await broker.declare(topic)
    // One id, at both members within the time of one handler.
    for (const partition of [0, 1]) await t.auditor.write(topic.name, foreignOrder(t, order, topic.name, { partition }))
    await t.until('one of them works', () => seen.of(order).length >= 1)
    await t.pass(200)
    t.struck('copies handed out together', (await t.auditor.remaining(topic.name, 'workers')) === 2)
    // Not how many have started: where the auditor takes its time, the second one may have its turn by now.
    t.atMost(seen.running, 1, `handlers of one id at the same time (store ${ledger.name})`)
    await t.settled(topic, 'workers', 10_000)
    t.equal(seen.mostRunning, 1, `handlers of one id at the same time, in the end (store ${ledger.name})`)
    t.equal(seen.of(order).filter((start) => start.end === 'done').length, 1, `runs of one id that were done (store ${ledger.name})`)
    t.equal(effectsOf(ledger, [order.id]), [1], `effects of one id (store ${ledger.name})`)
    t.equal(t.events('repeat').filter(({ event }) => event['topic'] === topic.name).length, 1, 'copies that were told to be repeats')
  }
}

function foreignOrder(
  t: Trial,
  order: Order,
  topic: string,
  more: { readonly partition?: number; readonly source?: string; readonly id?: string },
): ReturnType<typeof foreign> {
  const { partition, source = 'elsewhere', id = order.id } = more
  return foreign(t, {
    id,
    key: order.key,
    body: Buffer.from(JSON.stringify(order)),
    time: t.wall(),
    attributes: { specversion: '1.0', source, type: topic, datacontenttype: 'application/json' },
    ...(partition === undefined ? {} : { partition }),
  })
}

/** ONCE-5 */
export async function noRecordOfFailure(t: Trial): Promise<void> {
  const broker = await t.connect()
  for (const [index, ledger] of ledgers(t).entries()) {
    const topic = t.topic(`jobs-${index}`)
    const seen = t.recorder(ledger.name)
    const orders = t.orders(20)
    const play: Play = (message) => (message.attempt === 1 ? failing() : undefined)
    await broker.consume(topic, t.consumeOptions({ once: whole(ledger) }), seen.handler(play))
    await t.send(broker, topic, orders)
    await t.settled(topic, 'workers', 10_000)
    t.equal(
      orders.map((order) => seen.of(order).map((start) => start.attempt)),
      orders.map(() => [1, 2]),
      `attempts (store ${ledger.name})`,
    )
    t.equal(effectsOf(ledger, idsOf(orders)), ones(orders), `effects (store ${ledger.name})`)
  }
}

/** ONCE-6 */
export async function noClaim(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const sender = await t.connect()
  const seen = t.recorder()
  const [order] = t.orders(1) as [Order]
  const dying = await t.member({ topic, recorder: seen, dieAt: { operation: 'settle', when: 'before' } })
  await t.send(sender, topic, [order])
  await dying.died
  t.struck('handled and unsettled', seen.of(order).length)
  await t.member({ topic, recorder: seen })
  await t.settled(topic, 'workers', t.takeoverMs + 10_000)
  t.equal(seen.of(order).length, 2, 'starts without a store, of a message whose settlement was lost')

  const fresh = t.topic('fresh')
  const refused = sender.consume(fresh, t.consumeOptions({ settle: 'before', once: whole((ledgers(t) as [Ledger])[0]) }), () => undefined)
  await t.rejects(refused, 'INVALID_ARGUMENT', { naming: ['once', 'settle', fresh.name], what: `once with settle: 'before'` })
  t.equal(await t.auditor.exists(fresh.name), false, 'a topic was made by a consumer that was refused')
}

/** ONCE-10 */
export async function foreignIds(t: Trial): Promise<void> {
  const broker = await t.connect()
  for (const [index, ledger] of ledgers(t).entries()) {
    const topics = ['one', 'two'].map((name) => t.topic(`${name}-${index}`, { partitions: 1, groups: ['north', 'south'] }))
    await broker.declare(topics)
    const giant = await longest(t, `giant-${index}`)
    // Made to meet where fields are joined with a separator, or where only the beginning of an id is looked at.
    const strange: readonly (readonly [source: string, id: string])[] = [
      ['s', giant],
      ['s', `${giant}j`],
      [giant.slice(0, 60_000), 's'],
      ['s', 'a\u0000b\nc\r'],
      ['s', 'b'],
      ['s\nb', 'c'],
      ['s', 'b\nc'],
      ['', 's\nb\nc'],
      ['"', '","'],
      ['","', '"'],
    ]
    const orders = t.orders(strange.length, { keys: strange.length })
    for (const topic of topics) {
      for (const [at, [source, id]] of strange.entries()) {
        for (let copy = 0; copy < 2; copy++)
          await t.auditor.write(topic.name, foreignOrder(t, orders[at] as Order, topic.name, { partition: 0, source, id }))
      }
    }
    for (const group of ['north', 'south']) {
      const seen = t.recorder(`${group} ${ledger.name}`)
      await broker.consume(topics, t.consumeOptions({ group, once: whole(ledger) }), seen.handler())
      for (const topic of topics) await t.settled(topic, group, 10_000)
      for (const order of orders)
        t.equal(
          seen.of(order).length,
          topics.length,
          `starts of the message with the id and source ${JSON.stringify(strange[orders.indexOf(order)]).slice(0, 60)} in the group ${group} (store ${ledger.name})`,
        )
    }
    t.equal(ledger.effects.size, 2 * topics.length * strange.length, `messages that took effect (store ${ledger.name})`)
    t.equal([...new Set(ledger.effects.values())], [1], `how often each took effect (store ${ledger.name})`)
  }
}

/** An id one longer than what two bytes can count; where no client can write such a one, nearly as long as that. */
async function longest(t: Trial, name: string): Promise<string> {
  const topic = t.topic(name, { partitions: 1 })
  const broker = await t.connect()
  await broker.declare(topic)
  const [order] = t.orders(1) as [Order]
  const giant = 'i'.repeat(65_536)
  try {
    await t.auditor.write(topic.name, foreignOrder(t, order, topic.name, { partition: 0, id: giant }))
    return giant
  } catch (error) {
    if (unsupportedReason(error) === undefined) throw error
    return giant.slice(0, 65_500)
  }
}

/** ONCE-12 */
export async function sameIdElsewhere(t: Trial): Promise<void> {
  const broker = await t.connect()
  for (const [index, ledger] of ledgers(t).entries()) {
    const topics = ['one', 'two'].map((name) => t.topic(`${name}-${index}`, { groups: ['north', 'south'] }))
    await broker.declare(topics)
    const [order] = t.orders(1) as [Order]
    for (const topic of topics) {
      for (const source of ['shop', 'shop', 'bank'])
        await t.auditor.write(topic.name, foreignOrder(t, order, topic.name, { source, partition: 0 }))
    }
    for (const group of ['north', 'south']) {
      const seen = t.recorder(`${group} ${ledger.name}`)
      await broker.consume(topics, t.consumeOptions({ group, once: whole(ledger) }), seen.handler())
      for (const topic of topics) await t.settled(topic, group, 10_000)
      t.equal(seen.starts.length, 4, `starts of one id on two topics from two sources, in the group ${group} (store ${ledger.name})`)
    }
    t.equal(
      [...ledger.effects.values()],
      Array.from({ length: 8 }, () => 1),
      `effects of one id on two topics, from two sources, in two groups (store ${ledger.name})`,
    )
  }
}

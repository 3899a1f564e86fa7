// TRC-6 and TRC-7: what telemetry counts is true, and what it says is safe.

import { deadLetter, drop, retry } from '@posthorn/core'
import { channelNames } from '../channels.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { idsOf } from './figures.ts'
import { failing } from './support.ts'

const sorted = (ids: readonly string[]): readonly string[] => [...ids].sort()

/** TRC-6 */
export async function countersAreTrue(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { keyed: false })
  const broker = await t.connect()
  const seen = t.recorder()
  const [good, flaky, parked, hopeless, refused, unwanted] = [20, 10, 5, 4, 3, 2].map((n) => t.orders(n, { keyNames: [] })) as [
    readonly Order[],
    readonly Order[],
    readonly Order[],
    readonly Order[],
    readonly Order[],
    readonly Order[],
  ]
  const has = (orders: readonly Order[], id: string): boolean => orders.some((order) => order.id === id)
  const consumer = await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler(({ id, attempt }) => {
      if (has(flaky, id) && attempt < 3) failing()
      if (has(parked, id) && attempt === 1) return retry({ afterMs: 40_000 })
      if (has(hopeless, id)) failing()
      if (has(refused, id)) return deadLetter('not wanted')
      if (has(unwanted, id)) return drop('not needed')
    }),
  )
  const all = [...good, ...flaky, ...parked, ...hopeless, ...refused, ...unwanted]
  await t.send(broker, topic, all)
  const done = [...good, ...flaky, ...parked]
  await t.until('all are done', () => seen.finished === done.length, { withinMs: 120_000, seen: () => seen.finished })
  await t.settled(topic, 'workers', 10_000)
  // Sends that end in the other two ways.
  const hurried = broker.producer(topic, { timeoutMs: 5000, retryUnknown: false })
  const [lost, denied] = [t.orders(5, { keyNames: [] }), t.orders(5, { keyNames: [] })]
  t.link(broker).withhold(['publish'])
  const waiting = Promise.allSettled(lost.map((order) => hurried.send(order, { id: order.id })))
  await t.until('the replies are withheld', () => t.link(broker).withheld > 0)
  t.struck('sends without a reply', t.link(broker).withheld)
  t.link(broker).cut()
  await waiting
  t.link(broker).heal()
  await t.until('connected again', () => broker.status === 'connected', t.recoverMs + 5000)
  await t.auditor.deny('publish', topic.name)
  await Promise.allSettled(denied.map((order) => hurried.send(order, { id: order.id })))
  await t.auditor.allow()
  await t.until('what was stored without a reply is done too', () => lost.every((order) => seen.of(order).length > 0), t.recoverMs + 10_000)
  await t.settled(topic, 'workers', 10_000)

  const ended = (outcome: string): readonly string[] =>
    t.sends.filter((send) => send.topic === topic.name && send.outcome === outcome).map((send) => send.id as string)
  t.equal(
    { stored: ended('stored').length, unknown: ended('unknown').length, failed: ended('failed').length },
    { stored: all.length, unknown: lost.length, failed: denied.length },
    'outcomes of the sends',
  )
  for (const [name, outcome] of [
    ['sent', 'stored'],
    ['send-unknown', 'unknown'],
    ['send-failed', 'failed'],
  ] as const) {
    t.equal(sorted(idsOf(t, name)), sorted(ended(outcome)), `ids of the event "${name}"`)
  }
  t.equal(sorted(idsOf(t, 'start')), sorted(seen.starts.map((start) => start.id)), 'ids of the event "start"')
  t.equal(
    sorted(idsOf(t, 'done')),
    sorted(seen.starts.filter((start) => start.end === 'done').map((start) => start.id)),
    'ids of the event "done"',
  )
  const repeated = [...flaky, ...flaky, ...parked, ...hopeless, ...hopeless].map(({ id }) => id)
  t.equal(sorted(idsOf(t, 'waiting')), sorted(repeated), 'ids of the event "waiting"')
  t.equal(
    sorted(idsOf(t, 'failed')),
    sorted([...repeated, ...hopeless.map(({ id }) => id), ...refused.map(({ id }) => id)]),
    'ids of the event "failed"',
  )
  for (const { id } of parked) t.ok(idsOf(t, 'parked').includes(id), `${id} is reported as parked`)
  t.equal(sorted(idsOf(t, 'dead-lettered')), sorted([...hopeless, ...refused].map(({ id }) => id)), 'ids of the event "dead-lettered"')
  t.equal(sorted(idsOf(t, 'dropped')), sorted(unwanted.map(({ id }) => id)), 'ids of the event "dropped"')
  const { handled, failed, deadLettered, running, unsettled } = consumer.stats()
  t.equal(
    { handled, failed, deadLettered, running, unsettled },
    {
      handled: done.length + lost.length,
      failed: repeated.length + hopeless.length + refused.length,
      deadLettered: hopeless.length + refused.length,
      running: 0,
      unsettled: 0,
    },
    'what stats() says',
  )
}

const fields = new Set([
  'event',
  'adapter',
  'broker',
  'topic',
  'group',
  'partition',
  'id',
  'ids',
  'key',
  'attempt',
  'count',
  'reason',
  'delayMs',
  'note',
  'error',
])
const mostText = 4096

/** TRC-7 */
export async function telemetryIsSafe(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const broker = await t.connect({ log: (entry) => void entry })
  const secretBody = 'the-body-of-the-message'
  const seen = t.recorder()
  const orders = t.orders(6, { keys: 6 }).map((order) => order)
  await broker.consume(
    topic,
    t.consumeOptions(),
    seen.handler(({ value, attempt }) => {
      if (value.id === orders[0]?.id) throw new Error(`cannot reach amqp://user:${t.canary}@host/, ${'really '.repeat(2000)}`)
      if (attempt === 1) throw new Error('not yet')
    }),
  )
  await t.send(broker, topic, orders, { headers: { 'x-secret': secretBody } })
  // Ids, keys and reasons from elsewhere may be of any size.
  const huge = 'i'.repeat(65_536)
  const bodies = [
    { id: huge, body: Buffer.from(JSON.stringify({ secretBody })), key: 'k' },
    { id: 'undecodable', body: Buffer.from(`{"${secretBody}`), key: 'k' },
  ]
  for (const { id, body, key } of bodies)
    await t.auditor.write(topic.name, {
      id,
      key,
      body,
      attributes: { specversion: '1.0', source: 's', type: 't', datacontenttype: 'application/json' },
      partition: 0,
    })
  await t.settled(topic, 'workers', 20_000)
  await broker.close()
  t.atLeast(t.events().length, 20, 'events')
  t.atLeast(new Set(t.events().map(({ name }) => name)).size, 6, 'kinds of events')
  for (const { name, event } of t.events()) {
    t.ok(channelNames.includes(name) && /^[a-z]+(?:-[a-z]+)*$/.test(name), `the name of the channel "${name}" is one of the list`)
    t.equal(event['event'], name, `what the event on "${name}" calls itself`)
    for (const [field, value] of Object.entries(event)) {
      t.ok(fields.has(field), `the field "${field}" of "${name}" is one of the list`)
      const texts = Array.isArray(value) ? value : [value]
      for (const text of texts) {
        if (typeof text !== 'string') continue
        t.atMost(Buffer.byteLength(text), mostText, `bytes of "${field}" of "${name}"`)
        t.ok(!text.includes(secretBody), `"${field}" of "${name}" holds nothing of a body or header: ${text.slice(0, 200)}`)
      }
    }
    if (event['topic'] !== undefined) t.equal(event['topic'], topic.name, `the topic that "${name}" names`)
    if (event['group'] !== undefined) t.equal(event['group'], 'workers', `the group that "${name}" names`)
    const { partition = null } = event as { partition?: number | null }
    t.ok(
      partition === null || (Number.isInteger(partition) && partition >= 0 && partition < 64),
      `"${name}" names one of a few partitions: ${partition}`,
    )
    t.ok(
      event['reason'] === undefined || /^[a-z][a-z0-9 _:-]{0,63}$/i.test(String(event['reason'])),
      `the reason of "${name}" is a word: ${String(event['reason']).slice(0, 100)}`,
    )
    t.equal(
      { adapter: event['adapter'], broker: event['broker'] },
      { adapter: broker.adapter, broker: 'suite' },
      `who "${name}" says it is about`,
    )
  }
  for (const entry of t.logs) {
    t.atMost(Buffer.byteLength(entry.message), mostText, 'bytes of a log line')
    t.ok(!entry.message.includes(secretBody), `a log line holds nothing of a body or header: ${entry.message.slice(0, 200)}`)
  }
}

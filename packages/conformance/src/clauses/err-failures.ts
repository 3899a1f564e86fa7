// ERR-2, 4, 9, 10, 19: what counts as a failure, what does not, and what a failure may cost others.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { retry, type StandardSchemaV1 } from '@posthorn/core'
import { partitionOfKey } from '../murmur2.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { deadIds, deadLettersOf, failing } from './support.ts'

/** ERR-2 */
export async function everyFailure(t: Trial): Promise<void> {
  const circular: Record<string, unknown> = { name: 'circular' }
  circular['self'] = circular
  const thrown: Record<string, () => unknown> = {
    rejects: () => new Error('on purpose'),
    nothing: () => undefined,
    text: () => 'a text',
    frozen: () => Object.freeze(new Error('frozen')),
    circular: () => circular,
    huge: () => new Error('x'.repeat(10_000_000)),
    getter: () => Object.defineProperty({}, 'message', { get: failing }),
    type: () => new TypeError('not a function'),
    sync: () => new Error('in the same turn'),
  }
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const seen = t.recorder()
  const keyNames = Object.keys(thrown)
  const orders = t.orders(keyNames.length, { keyNames })
  const consumer = await broker.consume(topic, t.consumeOptions(), (message) => {
    const start = seen.begin(message)
    const make = thrown[message.value.key as string]
    if (make === undefined) {
      seen.end(start, 'done')
      return
    }
    seen.end(start, 'threw')
    if (message.value.key === 'sync') throw make()
    return Promise.reject(make())
  })
  await t.send(broker, topic, orders)
  await t.settled(topic, 'workers', 30_000)
  for (const order of orders)
    t.equal(
      seen.of(order).map((start) => start.attempt),
      [1, 2, 3],
      `attempts of the failure "${order.key}"`,
    )
  const letters = await deadLettersOf(broker, topic)
  t.equal(letters.map((letter) => letter.key).sort(), [...keyNames].sort(), 'keys of the dead letters')
  for (const letter of letters) t.atMost(Buffer.byteLength(letter.error ?? ''), 2048, `bytes of the error text of "${letter.key}"`)
  t.equal(consumer.state, 'running', 'state of the consumer')
  const after = t.orders(5)
  await t.send(broker, topic, after)
  await t.until('the next messages are handled', () => after.every((order) => seen.of(order).length === 1))
}

/** ERR-4 */
export async function waitingIsFree(t: Trial): Promise<void> {
  for (const keyed of [true, false]) {
    const kind = keyed ? 'keyed' : 'key-less'
    const topic = t.topic(keyed ? 'keyed' : 'plain', { keyed })
    const broker = await t.connect()
    const seen = t.recorder(kind)
    const waiting = new Set<string>()
    await broker.consume(
      topic,
      t.consumeOptions({ concurrency: 2 }),
      seen.handler(async (message) => {
        if (message.attempt === 1 && waiting.has(message.value.id)) return retry({ afterMs: 5000 })
        await t.sleep(20)
      }),
    )
    const flow = async (): Promise<number> => {
      const orders = t.orders(100, keyed ? { keyNames: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] } : { keyNames: [] })
      const began = t.now()
      await t.send(broker, topic, orders)
      await t.until('100 are done', () => orders.every((order) => seen.of(order).some((start) => start.end === 'done')), 60_000)
      return t.now() - began
    }
    const normal = await flow()
    const slow = t.orders(4, keyed ? { keyNames: ['w0', 'w1', 'w2', 'w3'] } : { keyNames: [] })
    for (const order of slow) waiting.add(order.id)
    await t.send(broker, topic, slow)
    await t.until('4 wait', () => slow.every((order) => seen.of(order).length === 1) && seen.running === 0)
    const meanwhile = await flow()
    t.ok(
      slow.every((order) => seen.of(order).length === 1),
      `the four still wait after ${meanwhile} ms`,
    )
    t.atMost(meanwhile, t.slack(normal * 2), `milliseconds for 100 messages while four ${kind} ones wait (${normal} without)`)
    await t.settled(topic, 'workers', 20_000)
    t.equal(
      slow.map((order) => seen.of(order).length),
      [2, 2, 2, 2],
      'starts of those that waited',
    )
    t.equal(t.events('lost').length, 0, 'assignments lost')
  }
}

/** ERR-9 */
export async function noAttempt(t: Trial): Promise<void> {
  for (const cause of ['close', 'rebalance', 'cut'] as const) {
    for (const state of ['handler', 'backoff'] as const) await interrupted(t, cause, state)
  }
}
async function interrupted(t: Trial, cause: 'close' | 'rebalance' | 'cut', state: 'handler' | 'backoff'): Promise<void> {
  const topic = t.topic(`${cause}-${state}`)
  const sender = await t.connect()
  const broker = await t.connect({ jitter: 'free' })
  const gate = t.gate()
  const first = t.recorder(`${cause} ${state}, first`)
  const second = t.recorder(`${cause} ${state}, second`)
  const attempts = state === 'handler' ? 1 : 2
  const options = t.consumeOptions({ retry: { attempts, firstDelayMs: 20_000, factor: 1 } })
  // The last attempt that is left never gets to fail: it is only interrupted.
  await broker.consume(
    topic,
    options,
    first.handler(async (message) => {
      if (state === 'backoff' && first.of(message.value).length === 1) return failing()
      await gate.wait()
    }),
  )
  const orders = t.orders(16, { keys: 16 })
  await t.send(sender, topic, orders)
  if (state === 'handler') await t.until('8 handlers run', () => first.running === 8)
  else await t.until('16 wait', () => first.starts.length === 16 && first.running === 0)
  t.struck(state === 'handler' ? 'running handlers' : 'waiting messages', state === 'handler' ? first.running : 16)
  if (cause === 'close') await broker.close({ drainMs: 200 })
  else if (cause === 'cut') t.link(broker).cut()
  if (cause !== 'cut') {
    const other = await t.connect()
    await other.consume(topic, options, second.handler())
  }
  if (cause === 'rebalance') {
    await t.until(
      'partitions have moved',
      () => t.calls(broker).assignments.filter((each) => each.role === 'main').length < 4 && second.starts.length > 0,
      {
        withinMs: t.takeoverMs + 30_000,
        seen: () => ({ first: first.starts.length, second: second.starts.length, owned: t.calls(broker).assignments }),
      },
    )
  } else if (cause === 'cut') {
    await t.until('it is connected again', () => t.link(broker).connected, t.recoverMs + 10_000)
    await t.pass(1000)
  }
  gate.open()
  await t.until(
    'all are done',
    () =>
      orders.every((order) =>
        first
          .of(order)
          .concat(second.of(order))
          .some((start) => start.end === 'done'),
      ),
    {
      withinMs: t.takeoverMs + 60_000,
      seen: () => ({ first: first.finished, second: second.finished }),
    },
  )
  await t.settled(topic, 'workers', 30_000)
  t.equal(await deadIds(sender, topic), [], `dead letters after ${cause} in a ${state}`)
  for (const start of second.starts) t.equal(start.attempt, 1, `attempt of ${start.id} at the next member, after ${cause} in a ${state}`)
  for (const start of first.starts) t.atMost(start.attempt, attempts, `attempt of ${start.id} after ${cause} in a ${state}`)
}

/** ERR-10 */
export async function poisonKey(t: Trial): Promise<void> {
  // Where only prefixes can be settled, what comes behind the poison in its own partition fills the window in the end.
  const elsewhere = (key: string): boolean => t.capabilities.settlement === 'each' || partitionOfKey(key, 4) !== partitionOfKey('poison', 4)
  const keys = Array.from({ length: 200 }, (_, index) => `good-${index}`)
    .filter(elsewhere)
    .slice(0, 63)
  const measure = async (name: string, poisoned: boolean): Promise<{ p99: number; tookMs: number }> => {
    const topic = t.topic(name)
    const broker = await t.connect()
    const seen = t.recorder(name)
    await broker.consume(
      topic,
      t.consumeOptions({ retry: { attempts: 1000, firstDelayMs: 100, factor: 1 } }),
      seen.handler(async (message) => {
        if (message.value.key === 'poison') return failing()
        await t.sleep(5)
      }),
    )
    if (poisoned) {
      await t.send(broker, topic, t.orders(10, { keyNames: ['poison'] }))
      await t.until('the poison key fails', () => seen.starts.length > 0)
    }
    const orders = t.orders(630, { keyNames: keys })
    const sentAt = new Map<string, number>()
    const began = t.now()
    for (const order of orders) {
      sentAt.set(order.id, t.now())
      await t.send(broker, topic, [order])
      await t.sleep(2)
    }
    await t.until('the good keys are done', () => orders.every((order) => seen.of(order).some((start) => start.end === 'done')), {
      withinMs: 60_000,
      seen: () => seen.finished,
    })
    const waits = orders.map((order) => (seen.of(order)[0]?.at as number) - (sentAt.get(order.id) as number)).sort((a, b) => a - b)
    seen.ordered()
    t.equal(orders.filter((order) => seen.of(order).length !== 1).length, 0, 'good messages that were not started once')
    return { p99: waits[Math.floor(waits.length * 0.99)] as number, tookMs: t.now() - began }
  }
  const baseline = await measure('healthy', false)
  const poisoned = await measure('poisoned', true)
  t.atMost(
    poisoned.p99,
    t.slack(Math.max(3 * baseline.p99, 30)),
    `p99 of the other keys, in milliseconds (${baseline.p99} without the poison)`,
  )
  t.atMost(poisoned.tookMs, t.slack(baseline.tookMs * 2), `milliseconds that the other keys took (${baseline.tookMs} without the poison)`)
}

/** ERR-19 */
export async function userCode(t: Trial): Promise<void> {
  const broker = await t.connect({
    middleware: [
      async (context, next) => {
        if (context.kind === 'handle' && context.messages.some((message) => message.attempt === 1 && message.key === 'middleware'))
          failing()
        await next()
      },
    ],
    log: failing,
  })
  t.expectUnhandled('subscriber on purpose')
  const listener = (): never => {
    throw new Error('subscriber on purpose')
  }
  subscribe('posthorn:failed', listener)
  try {
    const topic = t.topic('middleware')
    const seen = t.recorder('middleware')
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    const orders = t.orders(10, { keyNames: ['middleware', 'other'] })
    await t.send(broker, topic, orders)
    await t.settled(topic)
    seen.exactly(orders)
    const tried = seen.starts.filter((start) => start.key === 'middleware').map((start) => start.attempt)
    t.equal(new Set(tried), new Set([2]), 'attempts that reach the handler when a middleware throws at the first')
  } finally {
    unsubscribe('posthorn:failed', listener)
  }
  await brokenDecoding(t)
  await brokenNaming(t)
}

async function brokenDecoding(t: Trial): Promise<void> {
  const broker = await t.connect()
  let broken = false
  const schema: StandardSchemaV1<Order, Order> = {
    '~standard': {
      version: 1,
      vendor: 'suite',
      validate: (value) => (broken && (value as Order).key === 'broken' ? failing() : { value: value as Order }),
    },
  }
  const codec = {
    contentType: 'application/json',
    encode: (value: unknown) => new TextEncoder().encode(JSON.stringify(value)),
    decode: (bytes: Uint8Array) => {
      const value = JSON.parse(new TextDecoder().decode(bytes)) as Order
      return broken && value.key === 'broken' ? failing() : value
    },
  }
  for (const [name, own] of Object.entries({ schema: { schema }, codec: { codec } })) {
    broken = false
    const topic = t.topic(name, { with: own })
    const seen = t.recorder(name)
    const orders = t.orders(10, { keyNames: ['broken', 'whole'] })
    await t.send(broker, topic, orders)
    broken = true
    const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler())
    await t.settled(topic)
    seen.exactly(
      orders.filter((order) => order.key === 'whole'),
      `orders whose ${name} does not throw`,
    )
    t.equal((await deadIds(broker, topic)).length, 5, `dead letters of a throwing ${name}`)
    t.equal(consumer.state, 'running', `state of the consumer with a throwing ${name}`)
  }
}

async function brokenNaming(t: Trial): Promise<void> {
  const broker = await t.connect()
  const key = (order: Order): string => (order.key === 'broken' ? failing() : (order.key as string))
  const type = (order: Order): string => (order.key === 'broken' ? failing() : 'placed')
  for (const [name, own] of Object.entries({ key: { key }, type: { type } })) {
    const topic = t.topic(`naming-${name}`, { with: own })
    const seen = t.recorder(`naming ${name}`)
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    const [bad, good] = t.orders(2, { keyNames: ['broken', 'whole'] }) as [Order, Order]
    const producer = broker.producer(topic)
    const refused = producer.send(bad, { id: bad.id })
    const sent = producer.send(good, { id: good.id })
    await t.rejects(refused, ['INVALID_MESSAGE', 'INVALID_ARGUMENT'], { what: `a send whose "${name}" throws` })
    await sent
    await t.settled(topic)
    seen.exactly([good])
  }
}

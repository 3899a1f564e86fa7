// Load over a fault: 300 messages a second from one client to two others, who handle each in 5 ms.

import type { Broker, Consumer } from '@posthorn/core'
import type { Order, OrderTopic } from '../orders.ts'
import type { Recorder } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { nothingLost } from './figures.ts'

/** The harness's heartbeat: section 2 of the page. */
export const heartbeatMs = 2000

export interface Carried {
  readonly topic: OrderTopic
  readonly seen: Recorder
  readonly producer: Broker
  readonly consumers: readonly Broker[]
  readonly all: readonly Broker[]
  readonly handles: readonly Consumer[]
  readonly sent: readonly Order[]
  /** Call it when a fault strikes: something must be in flight, and what is unsettled then may come twice. */
  strikes(what: string): Promise<void>
  /** What is unsettled now may come twice: for faults that come again and again, and when one is noticed only later. */
  again(): void
}
export interface CarriedOptions {
  readonly everyMs?: number
  readonly most?: number
  readonly bytes?: number
  /** Of the sends, in milliseconds. @default 5000 */
  readonly timeoutMs?: number
  /** Of all links from the start, each way, so that something is always on its way. @default 5 */
  readonly latencyMs?: number
  /** Stored messages may be gone with the server: then only what it kept counts. */
  readonly lossy?: boolean
  /** May anything come twice? @default within the bound */
  readonly quiet?: boolean
}

/**
 * Runs `fault` under load, lets everything end, and judges: nothing that was stored is lost, repeats stay within what was unsettled
 * or sent again, the order of keys holds, the next message is handled within recover time, and nobody died.
 */
export async function carriedOver(
  t: Trial,
  name: string,
  options: CarriedOptions,
  fault: (carried: Carried) => Promise<void>,
): Promise<void> {
  const { everyMs = 10 / 3, most = Number.POSITIVE_INFINITY, bytes = 100, timeoutMs = 5000, latencyMs = 5 } = options
  const topic = t.topic(name)
  const seen = t.recorder(name)
  const producer = await t.connect({ jitter: 'free' })
  const consumers = [await t.connect({ jitter: 'free' }), await t.connect({ jitter: 'free' })]
  const handles: Consumer[] = []
  for (const [index, broker] of consumers.entries())
    handles.push(
      await broker.consume(
        topic,
        t.consumeOptions(),
        seen.handler(() => t.sleep(5), `consumer ${index}`),
      ),
    )
  await t.until(
    'both own their share',
    () => consumers.every((broker) => t.calls(broker).assignments.filter(({ role }) => role === 'main').length === 2),
    20_000,
  )
  const all = [producer, ...consumers]
  if (latencyMs > 0) for (const broker of all) t.link(broker).delay(latencyMs)

  const sent: Order[] = []
  const stored: Order[] = []
  const open: Promise<unknown>[] = []
  let stopped = false
  const sending = (async (): Promise<void> => {
    const send = producer.producer(topic, { timeoutMs })
    for (let n = 0; n < most && !stopped; n++) {
      const [order] = t.orders(1, { keyNames: [`key-${n % 64}`], bytes })
      if (order === undefined) return
      sent.push(order)
      open.push(
        send.send(order, { id: order.id }).then(
          () => stored.push(order),
          () => {},
        ),
      )
      await t.sleep(everyMs)
    }
  })()
  let unsettled = 0
  const repeatsBefore = explained(t, topic.name)
  // What a client took in before an earlier fault and never settled is no longer its own: only the rest can be in flight.
  const inHand = (): number =>
    consumers.reduce((sum, broker) => sum + Math.min(2 * 2 * 32, t.calls(broker).handedOut - t.calls(broker).settled), 0)
  const carried: Carried = {
    topic,
    seen,
    producer,
    consumers,
    all,
    handles,
    sent,
    again() {
      unsettled += inHand()
    },
    async strikes(what) {
      const held = await t.auditor.unsettled(topic.name, 'workers').catch(() => 0)
      const requests = all.reduce((sum, broker) => sum + t.link(broker).open(), 0)
      unsettled += inHand()
      t.struck(what, held + requests + seen.running)
    },
  }
  await t.until('messages flow', () => seen.finished > Math.min(100, most / 4), 20_000)
  await fault(carried)

  const healedAt = t.now()
  await t.until(
    'the next message is handled',
    () => seen.starts.some((start) => start.at >= healedAt) || (sent.length >= most && seen.finished >= stored.length),
    {
      withinMs: t.recoverMs,
      seen: () => ({ finished: seen.finished, sent: sent.length, statuses: all.map((broker) => broker.status) }),
    },
  )
  t.fact('recovery ms', t.now() - healedAt)
  t.note(`${Math.round(t.now() - healedAt)} ms from the heal to the next handled message`)
  if (most === Number.POSITIVE_INFINITY) {
    await t.pass(2000)
    stopped = true
  }
  await sending
  await Promise.all(open)
  const done = (order: Order): boolean => seen.of(order).some((start) => start.end === 'done')
  if (options.lossy === true) {
    await t.settled(topic, 'workers', 60_000)
    t.note(`the server lost ${stored.filter((order) => !done(order)).length} of ${stored.length} stored orders`)
  } else {
    await t.until('all that was stored is handled', () => stored.every(done), {
      withinMs: t.takeoverMs + 60_000,
      seen: () => `${seen.finished} of ${stored.length}`,
    })
    await t.fence(producer, topic, seen)
    nothingLost(t, seen, stored, sent)
  }
  await t.settled(topic, 'workers', t.takeoverMs)
  if (options.quiet === true) t.equal(seen.repeats, 0, 'repeats')
  else t.atMost(seen.repeats, unsettled + explained(t, topic.name) - repeatsBefore, 'repeats')
  t.equal(seen.disorder().length, 0, 'times that a key went out of order')
  t.equal(
    handles.map((consumer) => consumer.state),
    ['running', 'running'],
    'states of the consumers',
  )
  t.equal(
    all.map((broker) => broker.status),
    ['connected', 'connected', 'connected'],
    'statuses of the broker objects',
  )
  await Promise.all(all.map((broker) => broker.close()))
}

/** Messages that were sent again because their outcome was unknown, or finished behind one that was handed over unfinished. */
function explained(t: Trial, topic: string): number {
  return [...t.events('send-repeated'), ...t.events('behind-waiting')].reduce(
    (sum, { event }) => (event['topic'] === topic ? sum + ((event['count'] as number | undefined) ?? 1) : sum),
    0,
  )
}

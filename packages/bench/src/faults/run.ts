// One fault run: an application of two processes sends and handles on a schedule, something is killed, and every message is
// followed.

import { randomHex, sharedMonotonic, sleep } from '../clock.ts'
import type { Server } from '../compare/comparison.ts'
import { usageOf, usedBetween } from '../compare/server-usage.ts'
import type { Outcome } from '../compare/task.ts'
import type { News } from './parts.ts'
import { placeOf } from './place.ts'
import { recordOf } from './record.ts'
import { keepRunning } from './supervisor.ts'

/** What is killed. */
export type FaultKind = 'consumer killed' | 'server restarted'

/** What a fault run does. */
export interface FaultPlan {
  readonly kind: FaultKind
  readonly client: string
  readonly keyed: boolean
  readonly perSecond: number
  /** Before the fault. */
  readonly seconds: number
  /** A run that is not steady again so long after the fault is over. */
  readonly mostSeconds: number
}

/** Runs it. Rejects if the application is not ready within half a minute. */
export async function runFault({ broker, given }: Server, plan: FaultPlan): Promise<Outcome> {
  const { kind, keyed, perSecond } = plan
  const common = { broker: broker.name, client: plan.client, url: given.url, topic: `bench.f${randomHex(6)}`, keyed }
  const place = placeOf(common)
  const declarer = keepRunning(
    () => ({ role: 'declarer', ...common }),
    () => undefined,
  )
  await within(declarer.ready, 'the topic')
  await declarer.end(15_000)

  let since = Number.POSITIVE_INFINITY
  const most = Math.ceil(perSecond * (plan.seconds + plan.mostSeconds + 30))
  const record = recordOf(() => since, perSecond, most, keyed)
  function hear(news: News): void {
    if ('called' in news) record.called(news.called)
    else if ('confirmed' in news) record.confirmed(news.confirmed)
    else if ('handled' in news) record.handled(news.handled, news.at)
  }
  const consumer = keepRunning(() => ({ role: 'consumer', ...common }), hear)
  await within(consumer.ready, 'the consumer')
  // Late enough for the sender's process to be there.
  since = sharedMonotonic() + 1000
  const sender = keepRunning(() => ({ role: 'sender', ...common, since, perSecond, ...record.unconfirmed() }), hear)
  await within(sender.ready, 'the sender')
  const serverBefore = usageOf(given.pid())
  while (sharedMonotonic() < since + plan.seconds * 1000) await sleep(5)

  const faultAt = sharedMonotonic()
  let awayMs: number | undefined
  if (kind === 'consumer killed') consumer.kill()
  else {
    await given.restart?.(broker.restartedBy)
    awayMs = sharedMonotonic() - faultAt
  }
  const deadline = faultAt + plan.mostSeconds * 1000
  while (!record.steady(faultAt) && sharedMonotonic() < deadline) await sleep(20)
  const backMs = record.backMs(faultAt)
  const sending = await sender.end(15_000)
  for (let look = 0; look < 500 && !record.complete(); look++) await sleep(20)
  const wallMs = sharedMonotonic() - since
  const consuming = await consumer.end(15_000)
  const server = kind === 'consumer killed' ? usedBetween(serverBefore, usageOf(given.pid())) : undefined
  const { sent, confirmed, received } = record.counts()
  const unsettled = await broker.unsettled(place)
  await broker.remove(place)
  const notes = backMs === undefined ? [`not in time again; ${[sender.lastWords, consumer.lastWords].join(' ').trim().slice(-300)}`] : []
  return {
    measured: {
      [kind]: {
        messages: Math.max(1, sent),
        sent,
        confirmed,
        received,
        wallMs,
        processorMs: (sending?.processorMs ?? 0) + (consuming?.processorMs ?? 0),
        rssBytes: Math.max(sending?.rssBytes ?? 0, consuming?.rssBytes ?? 0),
        ...(server === undefined ? {} : { server }),
        fault: {
          ...(backMs === undefined ? {} : { backMs }),
          ...(awayMs === undefined ? {} : { awayMs }),
          worstMs: record.worstMs,
        },
        faults: record.faults(),
        unsettled,
      },
    },
    notes,
  }
}

async function within(ready: Promise<void>, what: string): Promise<void> {
  let isReady = false
  void ready.then(() => {
    isReady = true
  })
  for (let look = 0; look < 1500 && !isReady; look++) await sleep(20)
  if (!isReady) throw new Error(`${what} was not ready within 30 s`)
}

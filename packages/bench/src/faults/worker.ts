// The process of one part of an application in a fault run. Whoever started it starts it again when it dies.

import { processorMs, sharedMonotonic, sleep } from '../clock.ts'
import { brokerNamed } from '../compare/brokers.ts'
import type { Connection } from '../compare/client.ts'
import { numberOf, workOf } from '../messages.ts'
import type { News, Order, Part, SenderPart } from './parts.ts'
import { faultBytes, faultLanes, placeOf } from './place.ts'

// As an application that sends again what was refused.
const pauseMs = 100

const tell = (news: News, then?: () => void): void => void process.send?.(news, then)

async function send(connection: Connection, { since, perSecond, again, from }: SenderPart, enough: () => boolean): Promise<void> {
  const make = workOf(faultBytes, faultLanes)
  const lanes = new Map<string, Promise<void>>()
  async function untilConfirmed(n: number): Promise<void> {
    tell({ called: n })
    for (;;) {
      try {
        await connection.send(make(n))
        tell({ confirmed: n })
        return
      } catch {
        await sleep(pauseMs)
      }
    }
  }
  // A message waits until the one before it with the same key is confirmed: without that no client keeps the order when a send fails.
  function queue(n: number): void {
    const { user } = make(n)
    lanes.set(
      user,
      (lanes.get(user) ?? Promise.resolve()).then(() => untilConfirmed(n)),
    )
  }
  for (const n of again) queue(n)
  for (let n = from; !enough(); ) {
    for (; since + (n * 1000) / perSecond <= sharedMonotonic(); n++) queue(n)
    await sleep(1)
  }
  await Promise.all(lanes.values())
}

async function run(part: Part): Promise<void> {
  const broker = brokerNamed(part.broker)
  const client = broker.clients.find(({ name }) => name === part.client)
  if (client === undefined) throw new Error(`${part.broker} has no client "${part.client}"`)
  const place = placeOf(part)
  let isEnough = false
  const enough = new Promise<void>((resolve) =>
    process.on('message', (order: Order | Part) => {
      if (order !== 'enough') return
      isEnough = true
      resolve()
    }),
  )
  const connection = await client.open(place)
  if (part.role === 'declarer') {
    await connection.declare()
    tell({ ready: true })
    await enough
  } else if (part.role === 'sender') {
    tell({ ready: true })
    await send(connection, part, () => isEnough)
  } else {
    const consuming = await connection.consume((work) => tell({ handled: numberOf(work), at: sharedMonotonic() }), place.groups[0] ?? '')
    tell({ ready: true })
    await enough
    await consuming.close()
  }
  await connection.close()
  // The kernel's figure is in KiB.
  tell({ ended: { processorMs: processorMs(), rssBytes: process.resourceUsage().maxRSS * 1024 } }, () => process.exit(0))
}

process.once('message', (part: Part) => {
  run(part).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`)
    process.exit(1)
  })
})
process.once('disconnect', () => process.exit(1))

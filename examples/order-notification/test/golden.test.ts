import { beforeAll, describe, expect, it } from 'vitest'
import { type BrokerName, findBroker, type RunningBroker, startBroker } from '../../../tools/brokers/index.mjs'
import { readPurchases } from '../src/demo/purchases.ts'
import { type GoldenLog, goldenLog } from './golden-log.ts'

// The same application gives the same result on every broker: what each service saw of each message, compared event by event.

const orders = readPurchases(150)
// In strict mode a server that is missing is a failure, not a skip.
const strict = process.env.POSTHORN_STRICT === '1'

let embedded: GoldenLog
beforeAll(async () => {
  embedded = await goldenLog('memory:golden', orders)
}, 60_000)

describe('the golden log of the example', () => {
  it('has every order at every service, on the embedded broker', () => {
    expect(Object.keys(embedded).sort()).toEqual(
      [
        'audit',
        'customer',
        'dead letters of email',
        'dead letters of push',
        'email',
        'inventory',
        'mail server',
        'order',
        'push',
        'push receiver',
      ].sort(),
    )
    for (const who of ['customer', 'mail server', 'push receiver', 'order', 'email', 'push'])
      expect([who, Object.keys(embedded[who] ?? {}).length]).toEqual([who, orders.length])
    expect(Object.keys(embedded.inventory ?? {})).toHaveLength(2 * orders.length)
    expect(Object.keys(embedded.audit ?? {})).toHaveLength(6 * orders.length)
  })

  it('shows what was tried again, set aside and replayed', () => {
    const attempts = (service: string) =>
      Object.values(embedded[service] ?? {})
        .map((events) => events.length)
        .filter((tries) => tries > 1)
    // Three mails and three calls failed once; one of each failed always: a mailbox is given up at once, a call after five attempts.
    expect(attempts('email').sort()).toEqual([2, 2, 2, 2])
    expect(attempts('push').sort()).toEqual([2, 2, 2, 6])
    expect(embedded['dead letters of push']?.all).toEqual([expect.stringContaining('"replayed":1')])
  })

  it('is the same on the embedded broker again', { timeout: 60_000 }, async () => {
    expect(await goldenLog('memory:golden-again', orders)).toEqual(embedded)
  })

  for (const name of ['redis', 'rabbitmq', 'kafka', 'mqtt'] as const) {
    it(`is the same on ${name}`, { timeout: 120_000 }, async ({ skip }) => {
      const server = await started(name, skip)
      try {
        expect(await goldenLog(server.url, orders)).toEqual(embedded)
      } finally {
        await server.stop()
      }
    })
  }

  it.runIf(process.env.POSTHORN_GOLDEN_URL)('is the same on the server that POSTHORN_GOLDEN_URL names', { timeout: 120_000 }, async () => {
    expect(await goldenLog(process.env.POSTHORN_GOLDEN_URL ?? '', orders)).toEqual(embedded)
  })
})

async function started(name: BrokerName, skip: (note: string) => never): Promise<RunningBroker> {
  if (!strict) {
    const found = await findBroker(name)
    if (!found.available) skip(`${name} is not to be had here: ${found.reason}`)
  }
  return startBroker(name)
}

import { expect, it } from 'vitest'
import { readPurchases } from '../src/demo/purchases.ts'
import { placeOrders } from '../src/place-orders.ts'
import { server, start } from './program.ts'

// Order and notification service as two processes: one is away while orders come in, and misses none.

const orderService = new URL('../src/order-service.ts', import.meta.url)
const notificationService = new URL('../src/notification-service.ts', import.meta.url)
const orders = readPurchases(30)

/** The orders that were mailed, in the order of the lines. */
const mailed = (shown: string): string[] => [...shown.matchAll(/^mail {2}to \S+: Your order (\S+), /gm)].map(([, id]) => id ?? '')
const pushed = (shown: string): number => shown.match(/^push {2}to /gm)?.length ?? 0
const byCustomer = (ids: readonly string[]): string[][] =>
  [...new Set(ids.map((id) => id.split('-')[0]))].sort().map((userId) => ids.filter((id) => id.split('-')[0] === userId))

for (const name of ['redis', 'rabbitmq', 'kafka', 'mqtt'] as const) {
  it(`orders that are placed while the notification service is away arrive when it is back, on ${name}`, {
    timeout: 120_000,
  }, async ({ skip }) => {
    const running = await server(name, skip)
    const env = { POSTHORN_BROKER: name, [`POSTHORN_${name.toUpperCase()}_URL`]: running.url, PORT: '0' }
    const ordering = start(orderService, [], env)
    let notifying = start(notificationService, [], env)
    const refusals: string[] = []
    const place = async (some: typeof orders): Promise<readonly string[]> =>
      placeOrders(some, /POST (http\S+)/.exec(ordering.shown())?.[1] ?? '', (line) => refusals.push(line))
    try {
      await ordering.until('it takes orders', (shown) => shown.includes('POST http'))
      await notifying.until('it waits for orders', (shown) => shown.includes('waiting for orders'))
      await place(orders.slice(0, 10))
      await notifying.until('the first ten are told', (shown) => mailed(shown).length >= 10 && pushed(shown) >= 10)
      const before = await notifying.end()
      expect(before.shown).toContain('stopped after 20 notifications')
      expect(before.code).toBe(0)

      await place(orders.slice(10))
      expect(refusals).toEqual([])
      notifying = start(notificationService, [], env)
      await notifying.until('the others are told', (shown) => mailed(shown).length >= 20 && pushed(shown) >= 20)
      const after = await notifying.end()
      expect(after.shown).toContain('stopped after 40 notifications')
      // Each once, and those of one customer in the order in which they were placed.
      const told = [...mailed(before.shown), ...mailed(after.shown)]
      expect(byCustomer(told)).toEqual(byCustomer(orders.map(({ orderId }) => orderId)))
      expect((await ordering.end()).code).toBe(0)
    } finally {
      await Promise.all([ordering.end('SIGKILL'), notifying.end('SIGKILL')])
      await running.stop()
    }
  })
}

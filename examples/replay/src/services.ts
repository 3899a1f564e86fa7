// A service that is there from the beginning, and one that nobody thought of at first.
import { type Broker, type Consumer, topic } from '@posthorn/core'
import { z } from 'zod'

export const purchase = z.object({ orderId: z.string(), userId: z.string(), price: z.number(), placedAt: z.iso.date() })
export type Purchase = z.infer<typeof purchase>

const week = 7 * 24 * 60 * 60 * 1000
const sales = {
  schema: purchase,
  key: ({ userId }: Purchase) => userId,
  // A log keeps what every group has finished. How long is decided when the topic is made, not when somebody needs it.
  retentionMs: week,
}

/** As the first service knows the topic. A later one names its own group beside it: it is the same topic. */
export const saleMade = topic('sales.made', { ...sales, groups: ['bookkeeping'] })
const forStatistics = topic('sales.made', { ...sales, groups: ['bookkeeping', 'statistics'] })
const forTheAfternoon = topic('sales.made', { ...sales, groups: ['bookkeeping', 'afternoon'] })

export async function startBookkeeping(broker: Broker, book: (sale: Purchase) => void): Promise<Consumer> {
  return broker.consume(saleMade, { group: 'bookkeeping' }, ({ value }) => book(value))
}

/** Revenue per month in cents, from the oldest sale that the log still has: a new group starts there unless it says otherwise. */
export async function startStatistics(broker: Broker, revenue: Map<string, number>): Promise<Consumer> {
  const counted = new Set<string>()
  return broker.consume(forStatistics, { group: 'statistics' }, ({ value }) => {
    // A repeat counts once.
    if (counted.has(value.orderId)) return
    counted.add(value.orderId)
    const month = value.placedAt.slice(0, 7)
    revenue.set(month, (revenue.get(month) ?? 0) + Math.round(value.price * 100))
  })
}

/** Sees only what was sent from that moment on. Refused with UNSUPPORTED where the server keeps no log. */
export async function startSince(broker: Broker, since: Date, see: (sale: Purchase) => void): Promise<Consumer> {
  return broker.consume(forTheAfternoon, { group: 'afternoon', startFrom: since }, ({ value }) => see(value))
}

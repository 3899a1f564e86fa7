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

/** As the first services know the topic. */
export const saleMade = topic('sales.made', { ...sales, groups: ['bookkeeping'] })
/** As the new ones know it: the same topic, with groups that come later. */
export const saleMadeLater = topic('sales.made', { ...sales, groups: ['bookkeeping', 'statistics', 'afternoon'] })

export async function startBookkeeping(broker: Broker, book: (sale: Purchase) => void): Promise<Consumer> {
  return broker.consume(saleMade, { group: 'bookkeeping' }, ({ value }) => book(value))
}

/** Revenue per month, from the oldest sale that the log still has: that is where a new group starts. */
export async function startStatistics(broker: Broker, revenue: Map<string, number>): Promise<Consumer> {
  const counted = new Set<string>()
  return broker.consume(saleMadeLater, { group: 'statistics', startFrom: 'earliest' }, ({ value }) => {
    // A repeat counts once.
    if (counted.has(value.orderId)) return
    counted.add(value.orderId)
    const month = value.placedAt.slice(0, 7)
    revenue.set(month, (revenue.get(month) ?? 0) + Math.round(value.price * 100))
  })
}

/** Sees only what was sent from that moment on. Refused with UNSUPPORTED where the server keeps no log. */
export async function startSince(broker: Broker, since: Date, see: (sale: Purchase) => void): Promise<Consumer> {
  return broker.consume(saleMadeLater, { group: 'afternoon', startFrom: since }, ({ value }) => see(value))
}

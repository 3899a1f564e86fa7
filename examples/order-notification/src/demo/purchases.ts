// The input: real purchases, as orders in the order of their dates.
import { readFileSync } from 'node:fs'
import type { Order } from '../topics.ts'

/** The first `count` purchases by date. The nth one of a customer is `<customer>-<n>`; those of one day keep the file's order. */
export function readPurchases(count: number = Number.POSITIVE_INFINITY): readonly Order[] {
  const lines = readFileSync(new URL('../../data/cdnow-purchases.csv', import.meta.url), 'utf8')
    .trimEnd()
    .split(/\r?\n/)
    .slice(1)
  const purchasesOf = new Map<string, number>()
  const orders = lines
    .map((line) => {
      const [userId = '', placedAt = '', quantity = '', amount = ''] = line.split(',')
      return { userId, productName: `${quantity} CDs`, price: Number(amount), placedAt }
    })
    .sort((a, b) => (a.placedAt < b.placedAt ? -1 : a.placedAt > b.placedAt ? 1 : 0))
    .map((purchase): Order => {
      const n = (purchasesOf.get(purchase.userId) ?? 0) + 1
      purchasesOf.set(purchase.userId, n)
      return { orderId: `${purchase.userId}-${n}`, ...purchase }
    })
  return orders.slice(0, count)
}

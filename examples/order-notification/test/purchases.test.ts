import { describe, expect, it } from 'vitest'
import { readPurchases } from '../src/demo/purchases.ts'
import { planTrouble } from '../src/demo/trouble.ts'
import { order } from '../src/topics.ts'

describe('the purchases', () => {
  const orders = readPurchases()

  it('are 6,919 orders of 2,357 customers, each valid and with its own id', () => {
    expect(orders).toHaveLength(6919)
    expect(new Set(orders.map(({ userId }) => userId)).size).toBe(2357)
    expect(new Set(orders.map(({ orderId }) => orderId)).size).toBe(6919)
    expect(orders.filter((candidate) => !order.safeParse(candidate).success)).toEqual([])
  })

  it('come in the order of their dates, those of one customer numbered in this order', () => {
    expect(orders.map(({ placedAt }) => placedAt)).toEqual(orders.map(({ placedAt }) => placedAt).sort())
    expect(orders.filter(({ userId }) => userId === '0001').map(({ orderId }) => orderId)).toEqual(['0001-1', '0001-2', '0001-3', '0001-4'])
    expect(orders[0]).toEqual({ orderId: '0001-1', userId: '0001', productName: '2 CDs', price: 29.33, placedAt: '1997-01-01' })
  })

  it('hold some that cost nothing', () => {
    expect(orders.filter(({ price }) => price === 0)).toHaveLength(8)
  })

  it('get into trouble in four ways that do not meet', () => {
    const { email, push } = planTrouble(orders)
    const sizes = [email.once, email.always, push.once, push.always].map((ids) => ids.size)
    expect(sizes).toEqual([139, 14, 138, 14])
    expect(new Set([...email.once, ...email.always, ...push.once, ...push.always]).size).toBe(305)
  })
})

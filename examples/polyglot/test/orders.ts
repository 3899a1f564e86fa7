// The orders that are exchanged: real purchases, and customers whose names have every length that a hash tells apart, and letters of every size.
import { readFileSync } from 'node:fs'
import type { Order } from '../src/email-service.ts'

const data = new URL('../../order-notification/data/cdnow-purchases.csv', import.meta.url)

export function readOrders(count: number): readonly Order[] {
  const purchases = readFileSync(data, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1, count + 1)
  const orders = purchases.map((line, at): Order => {
    const [userId = '', placedAt = '', quantity = '', amount = ''] = line.split(',')
    return { orderId: `${userId}-${at}`, userId, productName: `${quantity} CDs`, price: Number(amount), placedAt }
  })
  const others = ['a', 'ab', 'abc', 'abcd', 'abcde', 'Åsa Öberg', 'ключ', '日本の客', '☺☺☺', 'k'.repeat(300)]
  return [
    ...orders,
    ...others.map(
      (userId, at): Order => ({ orderId: `other-${at}`, userId, productName: 'Ärger & <Söhne> "☺"', price: 0.5, placedAt: '1998-06-30' }),
    ),
  ]
}

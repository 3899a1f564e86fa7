// Places orders as customers would: posts real purchases to the order service, each customer's one after the other.
//   npm run place-orders -- 20        the first 20 purchases
//   npm run place-orders -- 20 101    20 from the 101st on
import { fileURLToPath } from 'node:url'
import { readPurchases } from './demo/purchases.ts'
import { replay } from './demo/replay.ts'
import type { Order } from './topics.ts'

/** Posts them and resolves to the ids of those that were accepted: those that are stored. */
export async function placeOrders(orders: readonly Order[], url: string, say: (line: string) => void): Promise<readonly string[]> {
  const accepted: string[] = []
  await replay(orders, {
    url,
    concurrency: 8,
    onAnswer({ orderId }, { status, body }) {
      if (status === 201) accepted.push(orderId)
      else say(`order ${orderId} was not accepted: ${status} ${body}`)
    },
  })
  return accepted
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [count = 10, first = 1] = process.argv.slice(2).map(Number)
  const url = process.env.ORDERS_URL ?? 'http://127.0.0.1:3000/orders'
  const valid = [count, first].every((n) => Number.isInteger(n) && n > 0)
  const orders = valid ? readPurchases(first - 1 + count).slice(first - 1) : []
  if (orders.length === 0) {
    console.error('npm run place-orders -- COUNT FIRST: how many purchases, and from which on; both are whole numbers from 1 to 6919')
    process.exit(2)
  }
  try {
    const accepted = await placeOrders(orders, url, (line) => console.error(line))
    console.log(`${accepted.length} of ${orders.length} orders accepted, from ${orders[0]?.orderId} to ${orders.at(-1)?.orderId}`)
    process.exitCode = accepted.length === orders.length ? 0 : 1
  } catch (error) {
    console.error(`no order service answers at ${url}: ${error instanceof Error ? error.message : String(error)}`)
    console.error('start it with `npm run order-service`, or say where it is: ORDERS_URL=http://host:port/orders')
    process.exitCode = 1
  }
}

// Books every sale, and checks that each customer's purchases arrive in the order of their dates. On its own:
//   POSTHORN_BROKER=… npx tsx src/inventory-service.ts
import { fileURLToPath } from 'node:url'
import { type Broker, type Consumer, connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { orderPlaced } from './topics.ts'

export interface Sale {
  readonly orderId: string
  readonly userId: string
  readonly productName: string
  /** Did an older purchase of this customer arrive after a newer one? Must never be: orders are keyed by customer. */
  readonly late: boolean
}
export interface InventoryServiceConfig {
  book(sale: Sale): Promise<void> | void
}

export async function startInventoryService(broker: Broker, { book }: InventoryServiceConfig): Promise<Consumer> {
  const lastPurchaseOf = new Map<string, number>()

  return broker.consume(orderPlaced, { group: 'inventory' }, async (message) => {
    const { orderId, userId, productName, placedAt } = message.value
    // No lock: the messages of one customer are handled one after the other, those of different customers side by side.
    const date = Date.parse(placedAt)
    const last = lastPurchaseOf.get(userId) ?? date
    await book({ orderId, userId, productName, late: date < last })
    lastPurchaseOf.set(userId, Math.max(last, date))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: 'inventory-service' })
  const started = startInventoryService(broker, {
    book: ({ orderId, productName, late }) => console.log(`${orderId}: ${productName}${late ? ' OUT OF ORDER' : ''}`),
  })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => started.then(() => broker.close()))
  await started
  console.log('inventory service: waiting for orders')
}

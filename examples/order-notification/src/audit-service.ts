// Writes down what happened: one consumer of two topics. On its own:
//   POSTHORN_BROKER=… npx tsx src/audit-service.ts >> audit.jsonl
import { fileURLToPath } from 'node:url'
import { type Broker, type Consumer, connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { notificationSent, orderPlaced } from './topics.ts'

export interface AuditEntry {
  readonly what: 'ordered' | 'told by email' | 'told by push'
  readonly orderId: string
  readonly userId: string
  /** What the order cost; notifications have no amount. */
  readonly amount?: number
}
export interface AuditServiceConfig {
  write(entry: AuditEntry): Promise<void> | void
}

export async function startAuditService(broker: Broker, { write }: AuditServiceConfig): Promise<Consumer> {
  return broker.consume([orderPlaced, notificationSent], { group: 'audit' }, async (message) => {
    const { orderId, userId } = message.value
    // The topic's name tells which of the two values this is, for the compiler too.
    if (message.topic === 'orders.placed') await write({ what: 'ordered', orderId, userId, amount: message.value.price })
    else await write({ what: `told by ${message.value.channel}`, orderId, userId })
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: 'audit-service' })
  const started = startAuditService(broker, { write: (entry) => console.log(JSON.stringify(entry)) })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => started.then(() => broker.close()))
  await started
  console.error('audit service: waiting for messages')
}

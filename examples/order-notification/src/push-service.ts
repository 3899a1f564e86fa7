// Tells the phone of every customer about every order, over HTTP. On its own:
//   POSTHORN_BROKER=… PUSH_URL=http://localhost:4000/push npx tsx src/push-service.ts
import { fileURLToPath } from 'node:url'
import { type Broker, type Consumer, connect, type RetryPolicy } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { notificationSent, orderPlaced } from './topics.ts'

export interface PushServiceConfig {
  readonly url: string
  readonly fetch?: typeof globalThis.fetch | undefined
  readonly retry?: RetryPolicy | undefined
}

export async function startPushService(broker: Broker, { url, fetch = globalThis.fetch, retry }: PushServiceConfig): Promise<Consumer> {
  return broker.consume(orderPlaced, { group: 'push', concurrency: 16, handlerTimeoutMs: 10_000, retry }, async (message) => {
    const { orderId, userId, productName } = message.value
    const response = await fetch(url, {
      method: 'POST',
      // The receiver can recognise a repeat: a message keeps its id, however often it is delivered.
      headers: { 'content-type': 'application/json', 'idempotency-key': message.id },
      body: JSON.stringify({ orderId, userId, text: `Your order is on its way: ${productName}` }),
      signal: message.signal,
    })
    const answer = await response.text()
    // Throwing is all it takes: the call is repeated with backoff, and set aside as a dead letter after the last attempt.
    if (!response.ok) throw new Error(`the push receiver answered ${response.status} ${answer}`)
    message.forward(notificationSent, { orderId, userId, channel: 'push' })
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: 'push-service' })
  const started = startPushService(broker, { url: process.env.PUSH_URL ?? 'http://localhost:4000/push' })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => started.then(() => broker.close()))
  await started
  console.log('push service: waiting for orders')
}

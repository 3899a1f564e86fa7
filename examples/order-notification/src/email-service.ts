// Mails every customer about every order, over SMTP. On its own:
//   POSTHORN_BROKER=… SMTP_URL=smtp://localhost:2525 npx tsx src/email-service.ts
import { fileURLToPath } from 'node:url'
import { type Broker, type Consumer, connect, deadLetter, type RetryPolicy } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { createTransport } from 'nodemailer'
import { notificationSent, type Order, orderPlaced } from './topics.ts'

export interface Mail {
  readonly messageId: string
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly headers: Record<string, string>
}
export interface Mailer {
  sendMail(mail: Mail): Promise<unknown>
}
export interface EmailServiceConfig {
  readonly mailer: Mailer
  readonly retry?: RetryPolicy | undefined
}

export async function startEmailService(broker: Broker, { mailer, retry }: EmailServiceConfig): Promise<Consumer> {
  return broker.consume(orderPlaced, { group: 'email', concurrency: 16, retry }, async (message) => {
    const { orderId, userId } = message.value
    try {
      await mailer.sendMail(render(message.value))
    } catch (error) {
      // SMTP says which failures are for good. The others are thrown, so the mail is tried again after a while.
      if (isRefusedForGood(error)) return deadLetter(`mailbox refused: ${error.responseCode}`)
      throw error
    }
    message.forward(notificationSent, { orderId, userId, channel: 'email' })
  })
}

/** A mailer with as many connections as handlers run at once. */
export function smtpMailer(url: string): Mailer & { close(): void } {
  return createTransport({ url, pool: true, maxConnections: 16, maxMessages: Number.POSITIVE_INFINITY })
}

function render({ orderId, userId, productName, price, placedAt }: Order): Mail {
  return {
    // The same order is always the same mail: a mail program shows a repeat once.
    messageId: `<order-${orderId}@shop.example>`,
    from: 'orders@shop.example',
    to: `${userId}@customers.example`,
    subject: `Your order ${orderId}`,
    text: `Thank you for your order of ${placedAt}.\n\n${productName}: $${price.toFixed(2)}\n`,
    headers: { 'X-Order-Id': orderId },
  }
}

function isRefusedForGood(error: unknown): error is { responseCode: number } {
  const code = (error as { responseCode?: unknown }).responseCode
  return typeof code === 'number' && code >= 500
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: 'email-service' })
  const mailer = smtpMailer(process.env.SMTP_URL ?? 'smtp://localhost:2525')
  const started = startEmailService(broker, { mailer })
  const end = () => started.then(() => broker.close()).then(() => mailer.close())
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
  await started
  console.log('email service: waiting for orders')
}

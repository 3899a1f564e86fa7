// Tells customers about their orders, by mail and by push: the email and the push service in one process. On its own:
//   npm run notification-service, or POSTHORN_BROKER=… npx tsx src/notification-service.ts
// With SMTP_URL and PUSH_URL it sends real mails and calls; without them it writes on the terminal what it would have sent.
import { fileURLToPath } from 'node:url'
import { type Broker, connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { type Mailer, smtpMailer, startEmailService } from './email-service.ts'
import { type PushServiceConfig, startPushService } from './push-service.ts'

export interface NotificationServiceConfig {
  readonly mailer: Mailer
  readonly push: PushServiceConfig
}

export async function startNotificationService(broker: Broker, { mailer, push }: NotificationServiceConfig): Promise<void> {
  await Promise.all([startEmailService(broker, { mailer }), startPushService(broker, push)])
}

/** Writes a line for each mail. */
export function terminalMailer(write: (line: string) => void): Mailer {
  return {
    async sendMail({ to, subject, text }) {
      write(`mail  to ${to}: ${subject}, ${text.trimEnd().split('\n').at(-1)}`)
    },
  }
}

/** Writes a line for each push call. */
export function terminalPush(write: (line: string) => void): PushServiceConfig {
  return {
    url: 'terminal:',
    async fetch(_, { body } = {}) {
      const { userId, text } = JSON.parse(String(body)) as { readonly userId: string; readonly text: string }
      write(`push  to ${userId}: ${text}`)
      return new Response()
    },
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: 'notification-service' })
  let told = 0
  const write = (line: string): void => {
    told++
    console.log(line)
  }
  const { SMTP_URL: smtp, PUSH_URL: url } = process.env
  const mails = smtp === undefined ? undefined : smtpMailer(smtp)
  const started = startNotificationService(broker, {
    mailer: mails ?? terminalMailer(write),
    push: url === undefined ? terminalPush(write) : { url },
  })
  async function end(): Promise<void> {
    await started
    console.log('notification service: finishing what has begun; what is sent from now on waits on the broker')
    await broker.close()
    mails?.close()
    console.log(`notification service: stopped${told === 0 ? '' : ` after ${told} notifications`}`)
  }
  // Before it has started: messages come as soon as one of its consumers is there.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
  await started
  console.log(`notification service: waiting for orders on ${broker.adapter}; Ctrl-C stops it`)
}

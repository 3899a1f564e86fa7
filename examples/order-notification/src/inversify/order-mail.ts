import { type Decision, deadLetter, type MessageOf, type RetryPolicy } from '@posthorn/core'
import { handlerModule, type MessageHandler } from '@posthorn/inversify'
import type { ContainerModule, ServiceIdentifier } from 'inversify'
import { isRefusedForGood, type Mailer, render } from '../email-service.ts'
import { notificationSent, orderPlaced } from '../topics.ts'

/** What mails are sent with. */
export const mailerId = Symbol('mailer') as ServiceIdentifier<Mailer>

/** Mails one customer about one order. */
export class OrderMail implements MessageHandler<typeof orderPlaced> {
  readonly #mailer: Mailer

  constructor(mailer: Mailer) {
    this.#mailer = mailer
  }

  async handle(message: MessageOf<typeof orderPlaced>): Promise<Decision | undefined> {
    const { orderId, userId } = message.value
    try {
      await this.#mailer.sendMail(render(message.value))
    } catch (error) {
      if (isRefusedForGood(error)) return deadLetter(`mailbox refused: ${error.responseCode}`)
      throw error
    }
    message.forward(notificationSent, { orderId, userId, channel: 'email' })
    return undefined
  }
}

export function emailModule(retry?: RetryPolicy): ContainerModule {
  return handlerModule(orderPlaced, { group: 'email', concurrency: 16, retry }, OrderMail, [mailerId])
}

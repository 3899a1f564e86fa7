// The shop afterwards, on either server: the names that were there before stand in the topic, and nowhere else.
import { type Broker, type Consumer, topic } from '@posthorn/core'
import type {} from '@posthorn/kafka'
import type {} from '@posthorn/rabbitmq'
import { order, type SendMail } from './orders.ts'

export const orderPlaced = topic('orders.placed', {
  schema: order,
  key: ({ userId }) => userId,
  groups: ['email'],
  native: {
    kafka: { topic: 'shop.order-placed', groupIds: { email: 'mailer' } },
    rabbitmq: { exchange: 'shop', routingKey: 'order.placed', queues: { email: 'mails' }, declare: false },
  },
})

/**
 * `maxUnsettled` 1: before a way back to kafkajs. Nothing is then finished ahead of a message that waits, which kafkajs would repeat.
 */
export async function startEmailService(broker: Broker, sendMail: SendMail, maxUnsettled?: number): Promise<Consumer> {
  return broker.consume(orderPlaced, { group: 'email', maxUnsettled }, ({ value }) => sendMail(value))
}

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

/** `concurrency`: how many mails at once; 1 before a way back to kafkajs. */
export async function startEmailService(broker: Broker, sendMail: SendMail, concurrency = 16): Promise<Consumer> {
  return broker.consume(orderPlaced, { group: 'email', concurrency }, ({ value }) => sendMail(value))
}

// Our side: a service that handles orders, whoever produced them, and tells with each that a mail was sent, for whoever consumes that.
import { type Broker, type Message, topic } from '@posthorn/core'
import { z } from 'zod'

const order = z.object({ orderId: z.string(), userId: z.string(), productName: z.string(), price: z.number(), placedAt: z.iso.date() })
export type Order = z.infer<typeof order>
const notification = z.object({ orderId: z.string(), userId: z.string(), channel: z.literal('email') })
export type Notification = z.infer<typeof notification>

/** The two topics, with a word in their names so that several of them share a server. */
export const topicsNamed = (word: string) => ({
  orderPlaced: topic(`orders.${word}`, { schema: order, key: ({ userId }) => userId, groups: ['email'] }),
  notificationSent: topic(`notifications.${word}`, { schema: notification, key: ({ userId }) => userId, groups: ['audit'] }),
})
export type Topics = ReturnType<typeof topicsNamed>

/** Handles orders until the broker is closed. What it sends is of the order's trace. */
export async function startEmailService(broker: Broker, topics: Topics, mailed: (message: Message<Order>) => void): Promise<void> {
  await broker.consume(topics.orderPlaced, { group: 'email' }, (message) => {
    const { orderId, userId } = message.value
    message.forward(
      topics.notificationSent,
      { orderId, userId, channel: 'email' },
      { headers: { tenant: message.headers['tenant'] ?? '' } },
    )
    mailed(message)
  })
}

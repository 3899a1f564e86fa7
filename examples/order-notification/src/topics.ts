// What the services agree on: the two topics, their schemas and the groups that must not miss a message.
import { topic } from '@posthorn/core'
import { z } from 'zod'

export const order = z.object({
  orderId: z.string().min(1),
  userId: z.string().min(1),
  productName: z.string().min(1),
  price: z.number().min(0),
  placedAt: z.union([z.iso.date(), z.iso.datetime()], { error: 'must be an ISO date, as "1997-01-18" or "1997-01-18T10:00:00Z"' }),
})
export type Order = z.infer<typeof order>

export const notification = z.object({
  orderId: z.string(),
  userId: z.string(),
  channel: z.enum(['email', 'push']),
})
export type Notification = z.infer<typeof notification>

/** An order that a customer placed. In order per customer; every group gets all of them, even if its service starts later. */
export const orderPlaced = topic('orders.placed', {
  schema: order,
  key: (value) => value.userId,
  groups: ['email', 'push', 'inventory', 'audit'],
})

/** A customer was told about an order. */
export const notificationSent = topic('notifications.sent', {
  schema: notification,
  key: (value) => value.userId,
  groups: ['audit'],
})

// What the examples in doc comments take as given. An example that imports something itself stands alone instead.
import { type Broker, type Consumer, connect, deadLetter, drop, isMessagingError, postpone, retry, topic, unchecked } from '@posthorn/core'
import { z } from 'zod'

declare const broker: Broker
declare const consumer: Consumer
const order = z.object({ orderId: z.string(), userId: z.string(), productName: z.string(), price: z.number() })
const orderPlaced = topic('orders.placed', { schema: order, key: (value) => value.userId, groups: ['email', 'push'] })
const notificationSent = topic('notifications.sent', { schema: z.object({ orderId: z.string(), channel: z.string() }) })
declare function sendMail(message: { readonly value: z.output<typeof order> }): Promise<void>

// What the tests share: two topics and a place where things are written down.
import { type Topic, topic, unchecked } from '@posthorn/core'
import type { ServiceIdentifier } from 'inversify'

export interface Order {
  readonly orderId: string
  readonly userId: string
}
export const orderPlaced: Topic<Order, Order, 'orders.placed'> = topic('orders.placed', {
  schema: unchecked<Order>(),
  key: (order) => order.userId,
  groups: ['email', 'push'],
})
export const mailSent: Topic<{ orderId: string }, { orderId: string }, 'mails.sent'> = topic('mails.sent', {
  schema: unchecked<{ orderId: string }>(),
  groups: ['audit'],
})

export interface Diary {
  write(line: string): void
}
export const diary = Symbol('diary') as ServiceIdentifier<Diary>
export const order = (orderId: string, userId = 'ada'): Order => ({ orderId, userId })

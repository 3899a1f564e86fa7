import type { Broker, Message, Producer } from '@posthorn/core'
import { brokerOf, handlerModule, type MessageHandler, messageScope, producerOf } from '@posthorn/inversify'
import { Container } from 'inversify'
import { expectTypeOf, it } from 'vitest'
import { type Diary, mailSent, type Order, orderPlaced } from './shop.ts'

const container = new Container()

it('identifiers know what they give', () => {
  expectTypeOf(container.get(brokerOf())).toEqualTypeOf<Broker>()
  expectTypeOf(container.get(producerOf(orderPlaced))).toEqualTypeOf<Producer<Order>>()
  expectTypeOf(container.get(messageScope()).message).toEqualTypeOf<Message>()
})

it('a handler gets the messages of its topic', () => {
  class Mails implements MessageHandler<typeof mailSent> {
    handle(message: Message<{ orderId: string }, 'mails.sent'>): void {
      expectTypeOf(message.value.orderId).toEqualTypeOf<string>()
    }
  }
  handlerModule(mailSent, { group: 'audit' }, Mails, [])
  // @ts-expect-error: a handler of another topic
  handlerModule(orderPlaced, { group: 'email' }, Mails, [])
  // @ts-expect-error: there is no such option
  handlerModule(mailSent, { group: 'audit', concurency: 2 }, Mails, [])
})

it('the list of what is injected is that of the constructor', () => {
  class Mailer {
    send(): void {}
  }
  class Mails {
    constructor(
      public mailer: Mailer,
      public orders: Producer<Order>,
    ) {}
    handle(_: Message<Order>): void {}
  }
  handlerModule(orderPlaced, { group: 'email' }, Mails, [Mailer, producerOf(orderPlaced)])
  // @ts-expect-error: one is missing
  handlerModule(orderPlaced, { group: 'email' }, Mails, [Mailer])
  // @ts-expect-error: the producer of another topic
  handlerModule(orderPlaced, { group: 'email' }, Mails, [Mailer, producerOf(mailSent)])
  // @ts-expect-error: the wrong way round
  handlerModule(orderPlaced, { group: 'email' }, Mails, [producerOf(orderPlaced), Mailer])
  expectTypeOf<Diary>().toHaveProperty('write')
})

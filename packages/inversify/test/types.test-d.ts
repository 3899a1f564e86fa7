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
    readonly #parts: readonly unknown[]
    constructor(mailer: Mailer, orders: Producer<Order>) {
      this.#parts = [mailer, orders]
    }
    handle(_: Message<Order>): void {
      expectTypeOf(this.#parts.length).toBeNumber()
    }
  }
  handlerModule(orderPlaced, { group: 'email' }, Mails, [Mailer, producerOf(orderPlaced)])
  // @ts-expect-error: one is missing
  handlerModule(orderPlaced, { group: 'email' }, Mails, [Mailer])
  class Audit {
    readonly mails: Producer<{ orderId: string }>
    constructor(mails: Producer<{ orderId: string }>) {
      this.mails = mails
    }
    handle(): void {}
  }
  handlerModule(orderPlaced, { group: 'email' }, Audit, [producerOf(mailSent)])
  // @ts-expect-error: the producer of a topic that takes more
  handlerModule(orderPlaced, { group: 'email' }, Audit, [producerOf(orderPlaced)])
  // @ts-expect-error: the wrong way round
  handlerModule(orderPlaced, { group: 'email' }, Mails, [producerOf(orderPlaced), Mailer])
  expectTypeOf<Diary>().toHaveProperty('write')
})

import type { MessageOf, RetryPolicy } from '@posthorn/core'
import { handlerModule, type MessageHandler, type MessageScope, messageScope } from '@posthorn/inversify'
import { ContainerModule, type ServiceIdentifier } from 'inversify'
import type { PushServiceConfig } from '../push-service.ts'
import { notificationSent, orderPlaced } from '../topics.ts'

/** Where pushes go. */
export const pushReceiverId = Symbol('push receiver') as ServiceIdentifier<Pick<PushServiceConfig, 'url' | 'fetch'>>

/** Makes the call of one message: under its id, so that the receiver can recognise a repeat, and only as long as its handler may run. */
export class PushCall {
  readonly #scope: MessageScope
  readonly #receiver: Pick<PushServiceConfig, 'url' | 'fetch'>

  constructor(scope: MessageScope, receiver: Pick<PushServiceConfig, 'url' | 'fetch'>) {
    this.#scope = scope
    this.#receiver = receiver
  }

  async post(body: object): Promise<void> {
    const { id, signal } = this.#scope.message
    const { url, fetch = globalThis.fetch } = this.#receiver
    const headers = { 'content-type': 'application/json', 'idempotency-key': id }
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal })
    const answer = await response.text()
    if (!response.ok) throw new Error(`the push receiver answered ${response.status} ${answer}`)
  }
}

/** Tells the phone of one customer about one order. */
export class OrderPush implements MessageHandler<typeof orderPlaced> {
  readonly #call: PushCall

  constructor(call: PushCall) {
    this.#call = call
  }

  async handle(message: MessageOf<typeof orderPlaced>): Promise<void> {
    const { orderId, userId, productName } = message.value
    await this.#call.post({ orderId, userId, text: `Your order is on its way: ${productName}` })
    message.forward(notificationSent, { orderId, userId, channel: 'push' })
  }
}

export function pushModule(retry?: RetryPolicy): readonly ContainerModule[] {
  const calls = new ContainerModule(({ bind }) => {
    bind(PushCall)
      .toResolvedValue((scope, receiver) => new PushCall(scope, receiver), [messageScope(), pushReceiverId])
      .inRequestScope()
  })
  return [calls, handlerModule(orderPlaced, { group: 'push', concurrency: 16, handlerTimeoutMs: 10_000, retry }, OrderPush, [PushCall])]
}

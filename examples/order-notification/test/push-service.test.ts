import { type TestBroker, testBroker } from '@posthorn/core/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { notificationSent, orderPlaced } from '../src/topics.ts'
import { variants } from './variants.ts'

const order = { userId: 'ada', productName: 'horn', orderId: 'ada-1', price: 12.5, placedAt: '1997-01-18' }
const url = 'http://push.example/push'

describe.each(variants)('the push service, %s', (_, { startPushService }) => {
  let broker: TestBroker
  const calls: Request[] = []
  /** The answers to the next calls; 202 when there are no more. */
  const answers: number[] = []
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const { signal: _, ...request } = init ?? {}
    calls.push(new Request(input, request))
    return new Response('', { status: answers.shift() ?? 202 })
  }
  beforeEach(async () => {
    calls.length = 0
    answers.length = 0
    broker = await testBroker({ log: false })
    await startPushService(broker, { url, fetch })
  })
  afterEach(() => broker.close())

  it('calls the receiver once and tells that it did', async () => {
    await broker.producer(orderPlaced).send(order, { id: 'order-1' })
    await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'push' })
    expect(calls).toHaveLength(1)
    expect(calls[0]?.headers.get('idempotency-key')).toBe('order-1')
    expect(await calls[0]?.json()).toEqual({ orderId: 'ada-1', userId: 'ada', text: 'Your order is on its way: horn' })
    expect((await broker.sent(notificationSent)).value.channel).toBe('push')
  })

  it('repeats a call that failed, under the same id', async () => {
    answers.push(503, 503)
    await broker.producer(orderPlaced).send(order, { id: 'order-1' })
    const message = await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'push' })
    expect(message.attempt).toBe(3)
    expect(calls.map(({ headers }) => headers.get('idempotency-key'))).toEqual(['order-1', 'order-1', 'order-1'])
  })

  it('sets a message aside after five attempts, with the answer it got, and tells nobody that it was sent', async () => {
    answers.push(500, 500, 500, 500, 500)
    await broker.producer(orderPlaced).send(order)
    const letter = await broker.deadLettered(orderPlaced, { orderId: 'ada-1' })
    expect(letter).toMatchObject({ group: 'push', reason: 'failed', attempts: 5, error: expect.stringContaining('answered 500') })
    await broker.idle()
    expect(broker.log(notificationSent)).toEqual([])
  })
})

import { type TestBroker, testBroker } from '@posthorn/core/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OrderService } from '../src/order-service.ts'
import { orderPlaced } from '../src/topics.ts'
import { variants } from './variants.ts'

const order = { userId: 'ada', productName: 'horn', orderId: 'ada-1', price: 12.5, placedAt: '1997-01-18' }

describe.each(variants)('the order service, %s', (_, { startOrderService }) => {
  let broker: TestBroker
  let service: OrderService
  beforeEach(async () => {
    broker = await testBroker()
    service = await startOrderService(broker, { port: 0 })
  })
  afterEach(async () => {
    await service.close()
    await broker.close()
  })
  const post = async (body: unknown) => {
    const response = await fetch(service.url, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })
    return { status: response.status, body: await response.json() }
  }

  it('sends the order, keyed by customer, and says so', async () => {
    expect(await post(order)).toEqual({ status: 201, body: { orderId: 'ada-1' } })
    const message = await broker.sent(orderPlaced, { orderId: 'ada-1' })
    expect(message).toMatchObject({ id: 'ada-1', key: 'ada', value: order })
  })

  it('takes an order that costs nothing', async () => {
    expect((await post({ ...order, price: 0 })).status).toBe(201)
    expect((await broker.sent(orderPlaced)).value.price).toBe(0)
  })

  it('refuses a bad order and says why', async () => {
    const { userId: _, ...nobody } = order
    expect(await post(nobody)).toMatchObject({ status: 400, body: { reasons: [expect.stringMatching(/^userId: /)] } })
    expect(await post({ ...order, price: -1 })).toMatchObject({ status: 400, body: { reasons: [expect.stringMatching(/^price: /)] } })
    expect(await post({ ...order, placedAt: 'yesterday' })).toMatchObject({
      status: 400,
      body: { reasons: [expect.stringMatching(/^placedAt: /)] },
    })
    expect(await post('{ "userId": ')).toMatchObject({ status: 400, body: { reasons: [expect.stringMatching(/^body: /)] } })
    expect(await post({ ...order, productName: 'x'.repeat(100_000) })).toMatchObject({ status: 400 })
  })

  it('says 503 when the order could not be stored', async () => {
    await broker.close()
    expect(await post(order)).toEqual({ status: 503, body: { error: 'the order was not stored; send it again with the same orderId' } })
  })

  it('has nothing else to offer', async () => {
    expect((await fetch(service.url)).status).toBe(405)
    expect((await fetch(new URL('/', service.url))).status).toBe(404)
  })
})

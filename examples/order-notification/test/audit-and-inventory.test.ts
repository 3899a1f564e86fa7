import { type TestBroker, testBroker } from '@posthorn/core/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEntry } from '../src/audit-service.ts'
import type { Sale } from '../src/inventory-service.ts'
import { notificationSent, orderPlaced } from '../src/topics.ts'
import { variants } from './variants.ts'

const order = { userId: 'ada', productName: 'horn', orderId: 'ada-1', price: 12.5, placedAt: '1997-01-18' }
let broker: TestBroker
beforeEach(async () => {
  broker = await testBroker()
})
afterEach(() => broker.close())

describe.each(variants)('the services, %s', (_, { startAuditService, startInventoryService }) => {
  it('the audit writes down what both topics say', async () => {
    const entries: AuditEntry[] = []
    await startAuditService(broker, { write: (entry) => void entries.push(entry) })
    await broker.producer(orderPlaced).send(order)
    await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'audit' })
    await broker.producer(notificationSent).send({ orderId: 'ada-1', userId: 'ada', channel: 'push' })
    await broker.handled(notificationSent, { orderId: 'ada-1' }, { group: 'audit' })
    expect(entries).toEqual([
      { what: 'ordered', orderId: 'ada-1', userId: 'ada', amount: 12.5 },
      { what: 'told by push', orderId: 'ada-1', userId: 'ada' },
    ])
  })

  it('the inventory books sales in order and notices one that is late', async () => {
    const sales: Sale[] = []
    await startInventoryService(broker, { book: (sale) => void sales.push(sale) })
    const dates = ['1997-01-18', '1997-03-01', '1997-02-01']
    for (const [i, placedAt] of dates.entries()) await broker.producer(orderPlaced).send({ ...order, orderId: `ada-${i}`, placedAt })
    await broker.producer(orderPlaced).send({ ...order, userId: 'bob', orderId: 'bob-1', placedAt: '1997-01-01' })
    await broker.idle()
    expect(sales.filter(({ userId }) => userId === 'ada').map(({ late }) => late)).toEqual([false, false, true])
    expect(sales.filter(({ userId }) => userId === 'bob').map(({ late }) => late)).toEqual([false])
  })
})

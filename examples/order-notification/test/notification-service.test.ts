import { testBroker } from '@posthorn/core/testing'
import { expect, it } from 'vitest'
import { startNotificationService, terminalMailer, terminalPush } from '../src/notification-service.ts'
import { orderPlaced } from '../src/topics.ts'

const order = { userId: 'ada', productName: 'horn', orderId: 'ada-1', price: 12.5, placedAt: '1997-01-18' }

it('tells of an order by mail and by push, on the terminal where there is no mail server', async () => {
  await using broker = await testBroker()
  const lines: string[] = []
  const write = (line: string): void => void lines.push(line)
  await startNotificationService(broker, { mailer: terminalMailer(write), push: terminalPush(write) })
  await broker.producer(orderPlaced).send(order)
  await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'email' })
  await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'push' })
  expect(lines.sort()).toEqual([
    'mail  to ada@customers.example: Your order ada-1, horn: $12.50',
    'push  to ada: Your order is on its way: horn',
  ])
})

import { testBroker } from '@posthorn/core/testing'
import { expect, it } from 'vitest'
import { startOrderService } from '../src/order-service.ts'
import { orderPlaced } from '../src/topics.ts'
import { start } from './program.ts'

const program = new URL('../src/place-orders.ts', import.meta.url)

it('posts as many purchases as it is told, from the one it is told', { timeout: 30_000 }, async () => {
  await using broker = await testBroker()
  const service = await startOrderService(broker, { port: 0 })
  try {
    const { code, shown } = await start(program, ['5', '11'], { ORDERS_URL: service.url }).ended
    expect(shown).toBe('5 of 5 orders accepted, from 0011-1 to 0015-1\n')
    expect(code).toBe(0)
    for (const userId of ['0011', '0012', '0013', '0014', '0015']) await broker.sent(orderPlaced, { userId })
  } finally {
    await service.close()
  }
})

it('says what to start where no order service answers, and refuses what is no number', { timeout: 30_000 }, async () => {
  const [nobody, words] = await Promise.all([
    start(program, ['1'], { ORDERS_URL: 'http://127.0.0.1:9/orders' }).ended,
    start(program, ['ten'], {}).ended,
  ])
  expect(nobody).toMatchObject({ code: 1, shown: expect.stringContaining('npm run order-service') })
  expect(words).toMatchObject({ code: 2, shown: expect.stringContaining('COUNT FIRST') })
})

import { expect, it } from 'vitest'
import { createClient } from '../src/demo/replay.ts'
import { waitFor } from '../src/demo/wait.ts'
import { startAllServices } from '../src/inversify/all-services.ts'

it('all services in one container take an order from the request to the last note about it, and end politely', async () => {
  const before = process.env.POSTHORN_BROKER
  process.env.POSTHORN_BROKER = 'memory:'
  const lines: string[] = []
  const { running, orders } = await startAllServices(0, (line) => void lines.push(line))
  try {
    const client = createClient(orders.url, 1)
    const order = { orderId: 'ada-1', userId: 'ada', productName: 'horn', price: 12.5, placedAt: '1997-01-18' }
    expect(await client.post(order)).toMatchObject({ status: 201 })
    client.close()
    await waitFor(
      () => lines.length >= 6,
      () => lines.length,
      { patienceMs: 10_000 },
    )
    expect(running.health()).toMatchObject({ live: true, ready: true })
  } finally {
    await orders.close()
    await running.close()
    if (before === undefined) delete process.env.POSTHORN_BROKER
    else process.env.POSTHORN_BROKER = before
  }
  expect(lines.map((line) => line.slice(0, 5)).sort()).toEqual(['audit', 'audit', 'audit', 'mail ', 'push ', 'stock'])
})

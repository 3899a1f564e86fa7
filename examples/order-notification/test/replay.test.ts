import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { readPurchases } from '../src/demo/purchases.ts'
import { replay } from '../src/demo/replay.ts'

it('posts many orders at once, but those of one customer one after the other', async () => {
  const open = new Set<string>()
  const connections = new Set<unknown>()
  const overlaps: string[] = []
  const order: string[] = []
  let most = 0
  const server = createServer(async (request, response) => {
    connections.add(request.socket)
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const { userId, orderId } = JSON.parse(body) as { userId: string; orderId: string }
    if (open.has(userId)) overlaps.push(orderId)
    open.add(userId)
    most = Math.max(most, open.size)
    order.push(orderId)
    setImmediate(() => {
      open.delete(userId)
      response.writeHead(201).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const orders = readPurchases()
    .filter(({ userId }) => userId < '0060')
    .slice(0, 150)
  const answered: string[] = []
  await replay(orders, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`,
    concurrency: 8,
    onAnswer: ({ orderId }, { status }) => void (status === 201 && answered.push(orderId)),
  })
  server.close()

  const customers = new Map<string, number>()
  for (const id of order) {
    const [customer = '', n] = id.split('-')
    expect(Number(n)).toBe((customers.get(customer) ?? 0) + 1)
    customers.set(customer, Number(n))
  }
  expect(answered).toHaveLength(150)
  expect(overlaps).toEqual([])
  expect(most).toBeGreaterThan(1)
  expect(most).toBeLessThanOrEqual(8)
  expect(connections.size).toBeLessThanOrEqual(8)
})

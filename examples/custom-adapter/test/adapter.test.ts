import { readFileSync } from 'node:fs'
import { connect, topic, unchecked } from '@posthorn/core'
import { expect, it, vi } from 'vitest'
import { logAdapter } from '../src/adapter.ts'
import { LogServer } from '../src/log-server.ts'

const orderPlaced = topic('orders.placed', {
  schema: unchecked<{ orderId: string; userId: string }>(),
  key: (order) => order.userId,
  groups: ['email'],
})

it('carries messages between two connections, in the order of their key, with a retry in between', async () => {
  const server = new LogServer()
  const shop = await connect(logAdapter(server), { log: false })
  const mailer = await connect(logAdapter(server), { log: false })
  const seen: string[] = []
  await mailer.consume(orderPlaced, { group: 'email', retry: { firstDelayMs: 1 } }, ({ value, attempt }) => {
    seen.push(`${value.orderId}, attempt ${attempt}`)
    if (value.orderId === '1' && attempt === 1) throw new Error('the mail server is away')
  })
  const orders = shop.producer(orderPlaced)
  await orders.send({ orderId: '1', userId: 'ada' })
  await orders.send({ orderId: '2', userId: 'ada' })
  await vi.waitFor(() => expect(seen).toEqual(['1, attempt 1', '1, attempt 2', '2, attempt 1']))
  await mailer.close()
  await shop.close()
  expect(server.clients.size).toBe(0)
})

it('keeps dead letters until they are replayed', async () => {
  const broker = await connect(logAdapter(new LogServer()), { log: false })
  let fixed = false
  const seen: string[] = []
  await broker.consume(orderPlaced, { group: 'email', retry: false }, ({ value }) => {
    if (!fixed) throw new Error('no template for horns')
    seen.push(value.orderId)
  })
  await broker.producer(orderPlaced).send({ orderId: '7', userId: 'ada' })
  const dead = broker.deadLetters(orderPlaced, 'email')
  await vi.waitFor(async () => {
    const reasons: string[] = []
    for await (const letter of dead.list()) reasons.push(letter.reason)
    expect(reasons).toEqual(['failed'])
  })
  fixed = true
  await dead.replay({ all: true })
  await vi.waitFor(() => expect(seen).toEqual(['7']))
  await broker.close()
})

it('refuses another partition count, and what it does not know', async () => {
  const server = new LogServer()
  const broker = await connect(logAdapter(server), { log: false })
  await broker.declare(orderPlaced)
  const other = topic('orders.placed', { schema: unchecked<{ userId: string }>(), key: (order) => order.userId, partitions: 8 })
  const again = await connect(logAdapter(server), { log: false })
  await expect(again.declare(other)).rejects.toMatchObject({ code: 'CONFLICT' })
  const native = topic('orders.native', { schema: unchecked<string>(), native: { log: { colour: 'brass' } } as never })
  await expect(again.declare(native)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  await broker.close()
  await again.close()
})

it('is a whole adapter in under 200 lines: what makes it longer makes the contract worse', () => {
  const lines = readFileSync(new URL('../src/adapter.ts', import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
  expect(lines.length).toBeLessThan(200)
})

// A service on the broker's client is stopped in the middle of its work, ours goes on, and the old one goes on after ours.
import { connect } from '@posthorn/core'
import { server } from '@posthorn/example-order-notification/program'
import { readPurchases } from '@posthorn/example-order-notification/purchases'
import { expect, it } from 'vitest'
import { orderPlaced, startEmailService } from '../src/email-service.ts'
import type { OldShop, Order } from '../src/orders.ts'
import { connectOldShop as connectAmqplib } from '../src/with-amqplib.ts'
import { connectOldShop as connectKafkajs } from '../src/with-kafkajs.ts'
import { openDesk } from './desk.ts'

const orders: readonly Order[] = readPurchases(600)
const placedBefore = orders.slice(0, 400)
const placedAfter = orders.slice(400)

const ids = (some: readonly Order[]): readonly string[] => some.map(({ orderId }) => orderId).sort()
const ofEach = (some: readonly Order[]): ReadonlyMap<string, readonly string[]> => {
  const lists = new Map<string, string[]>()
  for (const { userId, orderId } of some) lists.set(userId, [...(lists.get(userId) ?? []), orderId])
  return lists
}

/** `atOnce`: how many orders the old service may have in hand when it is told to stop; `maxUnsettled`: ours, before the way back. */
async function moveThereAndBack(shop: OldShop, url: string, atOnce: number, maxUnsettled?: number): Promise<void> {
  await shop.place(placedBefore)
  const first = openDesk(200)
  await first.caught(await shop.startEmail(first.sendMail))
  expect(first.mailed.length).toBeGreaterThanOrEqual(200)
  expect(first.mailed.length).toBeLessThan(200 + atOnce)

  // The switch: ours handles exactly what the old one has not.
  const second = openDesk(Number.POSITIVE_INFINITY)
  const broker = await connect(url, { name: 'shop', log: false })
  try {
    const email = await startEmailService(broker, second.sendMail)
    await expect.poll(() => first.mailed.length + second.mailed.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(placedBefore.length)
    await email.close()
    expect(ids([...first.mailed, ...second.mailed])).toEqual(ids(placedBefore))

    // The producer moves as well, and ours is stopped in the middle.
    await broker.producer(orderPlaced).sendBatch(placedAfter.map((value) => ({ value })))
    const third = openDesk(100)
    await startEmailService(broker, third.sendMail, maxUnsettled)
    await third.caught(() => broker.close())
    expect(third.mailed.length).toBeGreaterThanOrEqual(100)
    expect(third.mailed.length).toBeLessThan(placedAfter.length)

    // The way back: the old service handles exactly what ours has not.
    const fourth = openDesk(placedAfter.length - third.mailed.length)
    await fourth.caught(await shop.startEmail(fourth.sendMail))
    const all = [first, second, third, fourth].flatMap(({ mailed }) => mailed)
    expect(ids(all)).toEqual(ids(orders))
    expect(ofEach(all)).toEqual(ofEach(orders))
  } finally {
    await broker.close()
  }
}

it('a service on kafkajs moves to ours and back: no order lost, none mailed twice, each customer in order', { timeout: 120_000 }, async ({
  skip,
}) => {
  const kafka = await server('kafka', skip)
  try {
    const shop = await connectKafkajs([new URL(kafka.url).host])
    await moveThereAndBack(shop, kafka.url, 1, 1)
    await shop.close()
  } finally {
    await kafka.stop()
  }
})

it('a service on amqplib moves to ours and back: no order lost, none mailed twice, each customer in order', { timeout: 120_000 }, async ({
  skip,
}) => {
  const rabbitmq = await server('rabbitmq', skip)
  try {
    const shop = await connectAmqplib(rabbitmq.url)
    await moveThereAndBack(shop, rabbitmq.url, 10)
    await shop.close()
  } finally {
    await rabbitmq.stop()
  }
})

it('ours may start before the service on amqplib is stopped: it waits, and takes the queue over', { timeout: 120_000 }, async ({
  skip,
}) => {
  const rabbitmq = await server('rabbitmq', skip)
  try {
    const shop = await connectAmqplib(rabbitmq.url)
    const before = openDesk(Number.POSITIVE_INFINITY)
    const after = openDesk(Number.POSITIVE_INFINITY)
    const stop = await shop.startEmail(before.sendMail)
    const broker = await connect(rabbitmq.url, { name: 'shop', log: false })
    await startEmailService(broker, after.sendMail)
    await shop.place(orders.slice(0, 50))
    await expect.poll(() => before.mailed.length + after.mailed.length, { timeout: 20_000 }).toBe(50)
    expect(ids(before.mailed)).toEqual(ids(orders.slice(0, 50)))
    await stop()
    await shop.place(orders.slice(50, 100))
    await expect.poll(() => after.mailed.length, { timeout: 20_000 }).toBe(50)
    expect(ids(after.mailed)).toEqual(ids(orders.slice(50, 100)))
    await broker.close()
    await shop.close()
  } finally {
    await rabbitmq.stop()
  }
})

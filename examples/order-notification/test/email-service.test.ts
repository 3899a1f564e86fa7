import { type TestBroker, testBroker } from '@posthorn/core/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Mail } from '../src/email-service.ts'
import { notificationSent, orderPlaced } from '../src/topics.ts'
import { variants } from './variants.ts'

const order = { userId: 'ada', productName: 'horn', orderId: 'ada-1', price: 12.5, placedAt: '1997-01-18' }

describe.each(variants)('the email service, %s', (_, { startEmailService }) => {
  let broker: TestBroker
  const mails: Mail[] = []
  /** What the next mails run into, first come, first served. */
  const failures: Error[] = []
  const mailer = {
    sendMail: async (mail: Mail) => {
      const failure = failures.shift()
      if (failure !== undefined) throw failure
      mails.push(mail)
    },
  }
  const smtpError = (responseCode: number) => Object.assign(new Error(`the mail server said ${responseCode}`), { responseCode })
  beforeEach(async () => {
    mails.length = 0
    failures.length = 0
    broker = await testBroker({ log: false })
  })
  afterEach(() => broker.close())

  it('mails the customer and tells that it did', async () => {
    await startEmailService(broker, { mailer })
    await broker.producer(orderPlaced).send(order)
    await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'email' })
    expect(mails).toEqual([
      expect.objectContaining({ to: 'ada@customers.example', subject: 'Your order ada-1', text: expect.stringContaining('horn: $12.50') }),
    ])
    expect((await broker.sent(notificationSent)).value).toEqual({ orderId: 'ada-1', userId: 'ada', channel: 'email' })
  })

  it('misses nothing when it starts after the orders', async () => {
    for (const n of [1, 2, 3]) await broker.producer(orderPlaced).send({ ...order, orderId: `ada-${n}` })
    await startEmailService(broker, { mailer })
    await broker.handled(orderPlaced, { orderId: 'ada-3' }, { group: 'email' })
    expect(mails.map(({ subject }) => subject)).toEqual(['Your order ada-1', 'Your order ada-2', 'Your order ada-3'])
  })

  it('tries again when the mail server is busy, without waiting in real time', async () => {
    failures.push(smtpError(451), smtpError(451))
    await startEmailService(broker, { mailer })
    await broker.producer(orderPlaced).send(order)
    const message = await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'email' })
    expect(message.attempt).toBe(3)
    expect(mails).toHaveLength(1)
  })

  it('gives up at once on a mailbox that refuses for good, and mails after the fix when the dead letter is replayed', async () => {
    failures.push(smtpError(552))
    await startEmailService(broker, { mailer })
    await broker.producer(orderPlaced).send(order)
    const letter = await broker.deadLettered(orderPlaced, { orderId: 'ada-1' })
    expect(letter).toMatchObject({ group: 'email', reason: 'mailbox refused: 552', attempts: 1 })
    expect(mails).toEqual([])

    expect(await broker.deadLetters(orderPlaced, 'email').replay({ all: true })).toEqual({ replayed: 1, left: 0 })
    await broker.handled(orderPlaced, { orderId: 'ada-1' }, { group: 'email' })
    expect(mails).toHaveLength(1)
  })
})

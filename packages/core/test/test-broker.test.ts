import { type Broker, connect, deadLetter, drop, isMessagingError, postpone, topic } from '@posthorn/core'
import { type TestBroker, testBroker } from '@posthorn/core/testing'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'

// ── an application, as somebody would write it ────────────────────────────────────────────────────────────────────────
const order = z.object({ orderId: z.string(), userId: z.string(), price: z.number() })
const orderPlaced = topic('orders.placed', { schema: order, key: (value) => value.userId, groups: ['email'] })
const mailSent = topic('mails.sent', { schema: z.object({ orderId: z.string() }), groups: ['audit'] })

async function startEmailService(broker: Broker, mailer: { send(orderId: string): Promise<void> }) {
  return broker.consume(orderPlaced, { group: 'email' }, async (message) => {
    await mailer.send(message.value.orderId)
    message.forward(mailSent, { orderId: message.value.orderId })
  })
}

describe('an application test in ten lines', () => {
  it('sends a mail for each order, even if the mail server is away for a while', async () => {
    const broker = await testBroker({ log: false })
    const mails: string[] = []
    let away = 3
    await startEmailService(broker, { send: async (id) => void (away-- > 0 ? fail('no mail server') : mails.push(id)) })
    await broker.producer(orderPlaced).send({ orderId: '17', userId: 'ada', price: 12.5 })
    await broker.handled(orderPlaced, { orderId: '17' }, { group: 'email' })
    expect((await broker.sent(mailSent)).value).toEqual({ orderId: '17' })
    expect(mails).toEqual(['17'])
    await broker.close()
  })
})

function fail(text: string): never {
  throw new Error(text)
}

// ── the test broker itself ────────────────────────────────────────────────────────────────────────────────────────────
const ada = (orderId: string) => ({ orderId, userId: 'ada', price: 1 })

describe('testBroker', () => {
  let broker: TestBroker
  beforeEach(async () => {
    broker = await testBroker({ log: false })
  })
  afterEach(() => broker.close())

  it('waits for what comes later and finds what came before', async () => {
    const later = broker.handled(orderPlaced, { orderId: '2' })
    await broker.consume(orderPlaced, { group: 'email' }, () => {})
    for (const id of ['1', '2']) await broker.producer(orderPlaced).send(ada(id))
    expect((await later).value.orderId).toBe('2')
    expect((await broker.handled(orderPlaced)).value.orderId).toBe('1')
    expect((await broker.handled(orderPlaced, (value) => value.orderId > '1')).group).toBe('email')
  })

  it('lets an hour of backoff pass at once', async () => {
    const attempts: number[] = []
    await broker.consume(
      orderPlaced,
      { group: 'email', retry: { attempts: 4, firstDelayMs: 3_600_000, factor: 1, maxDelayMs: 3_600_000 } },
      (message) => {
        attempts.push(message.attempt)
        if (message.attempt < 4) throw new Error('not yet')
      },
    )
    await broker.producer(orderPlaced).send(ada('1'))
    expect((await broker.handled(orderPlaced)).attempt).toBe(4)
    expect(attempts).toEqual([1, 2, 3, 4])
  })

  it('waits for a delay of thirty days, and for nothing before it', async () => {
    await broker.consume(orderPlaced, { group: 'email' }, () => {})
    await broker.producer(orderPlaced).send(ada('late'), { delayMs: 30 * 86_400_000 })
    await broker.producer(orderPlaced).send(ada('now'))
    await broker.handled(orderPlaced, { orderId: 'now' })
    expect(broker.log(orderPlaced).filter(({ event }) => event === 'done')).toHaveLength(1)
    await broker.idle()
    expect(broker.log(orderPlaced).filter(({ event }) => event === 'done')).toHaveLength(2)
  })

  it('shows a sent message as a receiver would get it', async () => {
    const given = await broker.producer(orderPlaced).send(ada('1'), { headers: { 'x-tenant': 't' } })
    const message = await broker.sent(orderPlaced, { orderId: '1' })
    expect(message).toMatchObject({
      topic: 'orders.placed',
      id: given.id,
      key: 'ada',
      type: 'orders.placed',
      source: 'test',
      value: ada('1'),
    })
    expect(message.headers['x-tenant']).toBe('t')
    expect(message.headers.traceparent).toMatch(/^00-/)
    expect(message.position).toBe(given.position)
  })

  it('finds the dead letter with its reason', async () => {
    await broker.consume(orderPlaced, { group: 'email' }, (message) =>
      message.value.orderId === 'bad' ? deadLetter('unknown address') : undefined,
    )
    for (const id of ['good', 'bad']) await broker.producer(orderPlaced).send(ada(id))
    const letter = await broker.deadLettered(orderPlaced, { orderId: 'bad' })
    expect([letter.reason, letter.attempts]).toEqual(['unknown address', 1])
  })

  it('comes to rest after everything, and shows that something did not happen', async () => {
    let handled = 0
    await broker.consume(orderPlaced, { group: 'email' }, (message) => {
      handled += 1
      if (message.value.orderId === 'dropped') return drop('not wanted')
      if (message.value.orderId === 'later' && handled < 4) return postpone({ afterMs: 60_000 })
      return undefined
    })
    await broker.producer(orderPlaced).sendBatch(['dropped', 'later', 'fine'].map((id) => ({ value: ada(id) })))
    await broker.idle()
    expect(handled).toBe(5)
    expect(broker.log(mailSent)).toEqual([])
  })

  it('keeps a log of each message in order', async () => {
    await broker.consume(orderPlaced, { group: 'email' }, (message) => {
      if (message.attempt === 1) throw new Error('first')
    })
    const { id } = await broker.producer(orderPlaced).send(ada('1'))
    await broker.idle()
    expect(broker.log(orderPlaced)).toEqual(['sent', 'start', 'failed', 'start', 'done'].map((event) => ({ event, id })))
  })

  it('reads every message back, not only the first', async () => {
    const dated = topic('dated.things', { schema: z.object({ at: z.date().optional() }) })
    await broker.producer(dated).send({})
    await expect(broker.producer(dated).send({ at: new Date() })).rejects.toSatisfy((error) => isMessagingError(error, 'INVALID_MESSAGE'))
  })

  it('sees pulled messages and batches like others', async () => {
    const puller = await broker.pull(mailSent, { group: 'audit' })
    await broker.producer(mailSent).send({ orderId: '5' })
    const [pulled] = await puller.receive({ max: 1, waitMs: 1000 })
    await pulled?.done()
    expect((await broker.handled(mailSent)).value.orderId).toBe('5')
    await broker.consumeBatch(orderPlaced, { group: 'email', waitMs: 60_000, max: 100 }, (messages) =>
      Promise.resolve(messages.map(({ value }) => (value.orderId === '2' ? drop('no') : undefined))),
    )
    await broker.producer(orderPlaced).sendBatch([{ value: ada('1') }, { value: ada('2') }])
    await broker.idle()
    expect((await broker.handled(orderPlaced)).value.orderId).toBe('1')
    await expect(puller.receive({ waitMs: 3_600_000 })).resolves.toEqual([])
  })

  it('leaves handlers the real time they need', async () => {
    await broker.consume(orderPlaced, { group: 'email', handlerTimeoutMs: 1000 }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 60))
    })
    await broker.producer(orderPlaced).send(ada('1'))
    expect((await broker.handled(orderPlaced)).attempt).toBe(1)
  })

  it.each(['link', 'server', 'member'] as const)('goes on after a failure of the %s', async (what) => {
    await broker.consume(orderPlaced, { group: 'email' }, () => {})
    await broker.producer(orderPlaced).send(ada('before'))
    await broker.handled(orderPlaced, { orderId: 'before' })
    broker.fail(what)
    await broker.producer(orderPlaced, { timeoutMs: 3_600_000 }).send(ada('after'))
    await broker.handled(orderPlaced, { orderId: 'after' })
    await broker.idle()
    // At least once: what was on its way when it failed may have been sent again under its id.
    const done = broker.log(orderPlaced).filter(({ event }) => event === 'done')
    expect(new Set(done.map(({ id }) => id)).size).toBe(2)
    expect(await broker.lag(orderPlaced, 'email')).toMatchObject({ backlog: 0, unsettled: 0 })
  })

  it('refuses a fault that does not exist', () => {
    expect(() => broker.fail('disk' as 'link')).toThrow('known are')
    expect(() => broker.fail('link', -1)).toThrow('"forMs"')
  })

  it('is a broker in everything else', async () => {
    expect([broker.adapter, broker.status, broker.health().ready]).toEqual(['memory', 'connected', true])
    await broker.declare(orderPlaced)
    expect(await broker.lag(orderPlaced, 'email')).toMatchObject({ backlog: 0 })
    await broker.close()
    expect(broker.status).toBe('closed')
    await expect(broker.sent(orderPlaced)).rejects.toThrow('the broker is closed')
  })

  it('says what happened instead when a wait finds nothing', { timeout: 20_000 }, async () => {
    await broker.consume(orderPlaced, { group: 'email', retry: false }, (message) =>
      message.value.orderId === '2' ? fail('no') : undefined,
    )
    for (const id of ['1', '2']) await broker.producer(orderPlaced).send(ada(id))
    const texts = await Promise.all([
      broker.handled(orderPlaced, { orderId: '17' }, { group: 'email' }).catch(String),
      broker.sent(mailSent).catch(String),
      broker.deadLettered(orderPlaced, { orderId: '1' }).catch(String),
    ])
    expect(texts[0]).toContain(`nothing of "orders.placed" that is { orderId: '17' } was handled by the group "email"`)
    expect(texts[0]).toContain(`2 sent ({ orderId: '1', userId: 'ada', price: 1 }, { orderId: '2'`)
    expect(texts[0]).toContain('1 handled (email: {')
    expect(texts[0]).toContain('1 failed; 1 dead-lettered')
    expect(texts[1]).toContain('nothing was sent to "mails.sent"')
    expect(texts[1]).toContain('sent to other topics: orders.placed')
    expect(texts[1]).toContain('no consumer of it was started')
    expect(texts[2]).toContain('no dead letter of "orders.placed"')
  })

  it('says what is left when it does not come to rest', { timeout: 20_000 }, async () => {
    const consumer = await broker.consume(orderPlaced, { group: 'email' }, () => {})
    consumer.pause()
    await broker.producer(orderPlaced).send(ada('1'))
    const text = await broker.idle().catch(String)
    expect(text).toContain('the broker does not come to rest')
    expect(text).toContain('group "email" of "orders.placed" is paused')
  })
})

describe('testBroker on the server that BROKER_URL names', () => {
  it('offers the same calls in real time, without faults', async () => {
    process.env.BROKER_URL = 'memory:'
    onTestFinished(() => void delete process.env.BROKER_URL)
    const broker = await testBroker({ log: false })
    await broker.consume(orderPlaced, { group: 'email', retry: { firstDelayMs: 10 } }, (message) =>
      message.attempt === 1 ? fail('first') : undefined,
    )
    await broker.producer(orderPlaced).send(ada('1'), { delayMs: 20 })
    expect((await broker.handled(orderPlaced)).attempt).toBe(2)
    await broker.idle()
    expect((await broker.sent(orderPlaced)).value).toEqual(ada('1'))
    expect(() => broker.fail('link')).toThrow('skip this test there')
    await broker.close()
  })

  it('passes the refusal of a bad URL on', async () => {
    process.env.BROKER_URL = 'kafak://localhost'
    onTestFinished(() => void delete process.env.BROKER_URL)
    await expect(testBroker()).rejects.toThrow('did you mean "kafka:"?')
  })
})

describe('two brokers side by side', () => {
  it('do not mix what they saw', async () => {
    const [one, two] = await Promise.all([testBroker({ log: false }), testBroker({ log: false })])
    await one.consume(orderPlaced, { group: 'email' }, () => {})
    await two.consume(orderPlaced, { group: 'email' }, () => {})
    await one.producer(orderPlaced).send(ada('1'))
    await one.handled(orderPlaced)
    await two.idle()
    expect(two.log(orderPlaced).filter(({ event }) => event === 'sent')).toEqual([])
    await Promise.all([one.close(), two.close()])
    const plain = await connect('memory:', { log: false })
    await plain.close()
  })
})

// What the server has, what may be done there, and how one gets in; each test is named after what it walks into.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@posthorn/conformance/live'
import { connect, topic as defineTopic, unchecked } from '@posthorn/core'
import { rabbitmq } from '@posthorn/rabbitmq'
import { afterAll, afterEach, expect, it } from 'vitest'
import { makeTls } from '../../../../tools/brokers/index.mjs'
import { keyed, live, type Order, orders, unkeyed } from './server.ts'

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

live(
  'names and rights',
  {
    users: [
      { name: 'ada', password: 'canary-password' },
      { name: 'root', password: 'root-password', tags: ['administrator'] },
    ],
    vhosts: ['shop'],
  },
  (on) => {
    afterEach(() => on.reset())

    it('R34 another number of partitions is a conflict that names both, and changes nothing', async () => {
      const name = `counted.${process.pid}`
      const schema = unchecked<Order>()
      const four = defineTopic(name, { schema, key: (order) => order.k, groups: ['email'], partitions: 4 })
      const eight = defineTopic(name, { schema, key: (order) => order.k, groups: ['email'], partitions: 8 })
      const any = defineTopic(name, { schema, key: (order) => order.k, groups: ['email'] })
      const [broker, other, third] = [await on.connect(), await on.connect(), await on.connect({ partitions: 16 })]
      await broker.declare(four)
      expect(await failure(other.declare(eight))).toMatchObject({
        code: 'CONFLICT',
        message: expect.stringMatching(/4 partitions.*not 8/s),
      })
      await third.declare(any)
      const names = await on.server.control(['list_exchanges', '-p', 'shop', 'name'])
      expect(names).toContain(`${name}__foreign__p4`)
      expect(names).not.toContain('__foreign__p8')
      expect(names).not.toContain('__foreign__p16')
    })

    it('a topic is keyed or it is not', async () => {
      const name = `kinds.${process.pid}`
      const schema = unchecked<Order>()
      const [broker, other] = [await on.connect(), await on.connect()]
      await broker.declare(defineTopic(name, { schema, key: (order) => order.k, groups: ['email'] }))
      expect(await failure(other.declare(defineTopic(name, { schema, groups: ['email'] })))).toMatchObject({ code: 'CONFLICT' })
    })

    it('existing names are used as they are, and nothing is made of them', async () => {
      await on.plain(async (channel) => {
        await channel.assertExchange('legacy.orders', 'topic', { durable: true })
        await channel.assertQueue('legacy.queue', { durable: true })
        await channel.bindQueue('legacy.queue', 'legacy.orders', 'order.#')
      })
      const topic = defineTopic(`existing.${process.pid}`, {
        schema: unchecked<Order>(),
        groups: ['email'],
        native: { rabbitmq: { exchange: 'legacy.orders', queue: 'legacy.queue', routingKey: 'order.placed', declare: false } },
      })
      const broker = await on.connect()
      await on.plain(async (channel) => {
        channel.publish('legacy.orders', 'order.old', Buffer.from(JSON.stringify({ n: 0, k: 'plain' })))
      })
      await broker.producer(topic).send({ n: 1, k: 'ours' })
      const seen: string[] = []
      const consumer = await broker.consume(topic, { group: 'email' }, ({ value }) => void seen.push(value.k))
      await until('both arrived', () => seen.length === 2)
      await consumer.close()
      expect([...seen].sort()).toEqual(['ours', 'plain'])
      const names = await on.server.control(['list_exchanges', '-p', 'shop', 'name'])
      expect(names).not.toContain(topic.name)
      // The plain client goes on with it.
      await broker.producer(topic).send({ n: 2, k: 'ours' })
      const got = await on.plain((channel) => channel.get('legacy.queue', { noAck: true }))
      expect(got === false ? null : JSON.parse(got.content.toString())).toEqual({ n: 2, k: 'ours' })
    })

    it('existing names that are missing are refused, and nothing is made', async () => {
      const topic = defineTopic(`missing.${process.pid}`, {
        schema: unchecked<Order>(),
        groups: ['email'],
        native: { rabbitmq: { exchange: 'no.such.exchange', queue: 'no.such.queue', declare: false } },
      })
      const broker = await on.connect()
      expect(await failure(broker.consume(topic, { group: 'email' }, () => {}))).toMatchObject({ code: 'NOT_FOUND' })
      expect(await on.server.control(['list_queues', '-p', 'shop', 'name'])).not.toContain('no.such.queue')
    })

    it('a plain queue of a keyed topic has one consumer at a time, and the next one when it ends', async () => {
      await on.plain((channel) => channel.assertQueue('one.queue', { durable: true }))
      const topic = defineTopic(`single.${process.pid}`, {
        schema: unchecked<Order>(),
        key: (order) => order.k,
        groups: ['email'],
        native: { rabbitmq: { exchange: '', queue: 'one.queue', routingKey: 'one.queue', declare: false } },
      })
      const [first, second] = [await on.connect(), await on.connect()]
      const by = { first: 0, second: 0 }
      await first.consume(topic, { group: 'email' }, () => void by.first++)
      await second.consume(topic, { group: 'email' }, () => void by.second++)
      await first.producer(topic).sendBatch(orders(20).map((value) => ({ value })))
      await until('the first has all', () => by.first === 20)
      await first.close()
      await second.producer(topic).sendBatch(orders(20).map((value) => ({ value })))
      await until('the second has the rest', () => by.second === 20, 30_000)
    })

    it('no right on one topic is one clear refusal, and other topics work', async () => {
      const [mine, theirs] = [unkeyed(), unkeyed()]
      const broker = await on.connect()
      await broker.declare([mine, theirs])
      await on.server.control(['set_permissions', '-p', 'shop', 'ada', '.*', `^(?!${theirs.name.replace('.', '\\.')}$).*`, '.*'])
      try {
        expect(await failure(broker.producer(theirs).send({ n: 1, k: 'a' }))).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed' })
        await broker.producer(mine).send({ n: 1, k: 'a' })
      } finally {
        await on.server.control(['set_permissions', '-p', 'shop', 'ada', '.*', '.*', '.*'])
      }
      await until('it works again', async () => (await failure(broker.producer(theirs).send({ n: 2, k: 'a' }))) === undefined)
    })

    it('a wrong password and a wrong virtual host say so at once, without the password', async () => {
      const { port } = on.server
      for (const url of [`amqp://ada:wrong-canary@127.0.0.1:${port}/shop`, `amqp://ada:canary-password@127.0.0.1:${port}/nowhere`]) {
        const error = await failure(connect(rabbitmq({ url }), { log: false }))
        expect(error).toMatchObject({ code: 'UNAUTHORIZED' })
        expect(String(error)).not.toMatch(/wrong-canary|canary-password/)
      }
    })

    it('a password that was changed is asked for again', async () => {
      await on.server.control(['add_user', 'eve', 'before-canary'])
      await on.server.control(['set_permissions', '-p', 'shop', 'eve', '.*', '.*', '.*'])
      let password = 'before-canary'
      const topic = unkeyed()
      const url = `amqp://127.0.0.1:${on.server.port}/shop`
      const broker = await on.connect({ url, username: 'eve', password: () => password })
      await broker.producer(topic).send({ n: 1, k: 'a' })
      password = 'after-canary'
      await on.server.control(['change_password', 'eve', password])
      await on.server.control(['close_all_connections', 'test'])
      await broker.producer(topic).send({ n: 2, k: 'a' })
    })

    it('the first host of several may be dead', async () => {
      const { port, url } = on.server
      const broker = await on.connect({ url: url.replace(`127.0.0.1:${port}`, `127.0.0.1:1,127.0.0.1:${port}`) })
      await broker.producer(keyed()).send({ n: 1, k: 'a' })
    })
  },
)

const folder = mkdtempSync(join(tmpdir(), 'posthorn-rabbitmq-'))
const tls = await makeTls(folder)

live('an encrypted server', { tls }, (on) => {
  afterEach(() => on.reset())
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const ca = readFileSync(tls.ca)

  it('is used when its certificate is known, and refused when it is not', async () => {
    const topic = unkeyed()
    const broker = await on.connect({ tls: { ca } })
    await broker.producer(topic).send({ n: 1, k: 'a' })
    const error = await failure(on.connect())
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
    expect(String(error)).toMatch(/certificate/)
  })

  it('is not reached without encryption, and says so in time', async () => {
    const url = on.server.url.replace('amqps:', 'amqp:')
    const error = await failure(connect(rabbitmq({ url }), { log: false, connectTimeoutMs: 1500 }))
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
  })
})

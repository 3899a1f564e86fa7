// The proxy between real servers and other people's clients: what it withholds, cuts and slices must be what they see.

import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { findBroker, type RunningBroker, startBroker } from '../../../tools/brokers/index.mjs'
import { type FaultProxy, type ProxyLink, startProxy } from '../src/proxy/index.ts'
import { amqpWire, redisWire } from '../src/wires/modules.ts'
import type { WireModule } from '../src/wires/wire.ts'

// Processes start and end here, beside whatever else this machine does.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 })

async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

async function missing(name: 'redis' | 'rabbitmq'): Promise<boolean> {
  const found = await findBroker(name)
  if (!found.available && process.env.POSTHORN_STRICT === '1') throw new Error(found.reason)
  return !found.available
}

interface Setting {
  readonly broker: RunningBroker
  readonly proxy: FaultProxy
  link: ProxyLink
  address: string
}

/** One server and one proxy for all tests, and a new link for each. */
function setUp(name: 'redis' | 'rabbitmq', wire: WireModule): Setting {
  let broker: RunningBroker
  let proxy: FaultProxy
  let made: { readonly address: string; readonly link: ProxyLink }
  beforeAll(async () => {
    broker = await startBroker(name)
    proxy = await startProxy({ target: broker.url, wire })
  }, 60_000)
  beforeEach(async () => {
    made = await proxy.link('client')
  })
  afterAll(async () => {
    await proxy?.close()
    await broker?.stop()
  })
  return {
    get broker() {
      return broker
    },
    get proxy() {
      return proxy
    },
    get link() {
      return made.link
    },
    get address() {
      return made.address
    },
  }
}

const outcomes = async (sends: readonly Promise<unknown>[]): Promise<{ readonly resolved: number; readonly rejected: number }> => {
  const ended = await Promise.allSettled(sends)
  const resolved = ended.filter(({ status }) => status === 'fulfilled').length
  return { resolved, rejected: ended.length - resolved }
}

interface RedisClient {
  call(command: string, ...words: readonly (string | number)[]): Promise<unknown>
  multi(): { xadd(...words: readonly string[]): unknown; exec(): Promise<unknown> }
  subscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...values: readonly unknown[]) => void): void
  disconnect(): void
}
interface RedisModule {
  readonly Redis: new (address: string, options: Readonly<Record<string, unknown>>) => RedisClient
}

const noRedis = await missing('redis')
describe.skipIf(noRedis)('Redis behind the proxy', () => {
  const { Redis } = createRequire(new URL('../../adapter-redis/package.json', import.meta.url))('ioredis') as RedisModule
  const script = 'return redis.call("XADD", KEYS[1], "*", "n", ARGV[1])'
  const sha1 = createHash('sha1').update(script).digest('hex')
  const setting = setUp('redis', redisWire({ scripts: { [sha1]: 'publish' } }))
  const clients: RedisClient[] = []
  const client = (address = setting.address): RedisClient => {
    const made = new Redis(address, { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, retryStrategy: () => 20 })
    made.on('error', () => {})
    clients.push(made)
    return made
  }
  afterEach(async () => {
    for (const one of clients.splice(0)) one.disconnect()
    const direct = client(setting.broker.url)
    await direct.call('FLUSHALL')
  })
  const stored = async (): Promise<number> => Number(await client(setting.broker.url).call('XLEN', 's'))

  test('100 entries whose answers are withheld and whose connection is cut are all stored and all rejected', async () => {
    const one = client()
    await one.call('XADD', 's', '*', 'n', 'first')
    const { link } = setting
    link.withhold(['publish'])
    const sends = Array.from({ length: 100 }, (_, n) =>
      n % 2 === 0 ? one.call('XADD', 's', '*', 'n', n) : one.call('EVAL', script, 1, 's', n),
    )
    const ended = outcomes(sends)
    await until('all answers are withheld', () => link.withheld === 100)
    expect(link.open('publish')).toBe(100)
    link.cut()
    expect(link.open()).toBe(0)
    link.heal()
    expect(await ended).toEqual({ resolved: 0, rejected: 100 })
    expect(await stored()).toBe(101)
    await one.call('XADD', 's', '*', 'n', 'last')
  })

  test('behind a withheld answer nothing arrives, and a connection that misses one ends when the link is healed', async () => {
    const one = client()
    const two = client()
    await one.call('XADD', 's', '*', 'n', 'first')
    await two.call('PING')
    const { link } = setting
    link.withhold(['publish'])
    let answered = false
    const before = one.call('XLEN', 's')
    const lost = one.call('XADD', 's', '*', 'n', '1')
    const behind = one.call('XLEN', 's').finally(() => {
      answered = true
    })
    const ended = outcomes([lost, behind])
    expect(await before).toBe(1)
    await until('the answer is withheld', () => link.withheld === 1)
    expect(await two.call('XLEN', 's')).toBe(2)
    expect(answered).toBe(false)
    link.heal()
    expect(await ended).toEqual({ resolved: 0, rejected: 2 })
    expect(await one.call('XLEN', 's')).toBe(2)
  })

  test('a cut after a request lets it be stored, and a cut within it does not', async () => {
    const one = client()
    await one.call('PING')
    const { link } = setting
    for (const [short, length] of [
      [0, 1],
      [1, 1],
      [0, 2],
    ] as const) {
      link.cutAfter('publish', short)
      expect(await outcomes([one.call('XADD', 's', '*', 'n', 'x')])).toEqual({ resolved: 0, rejected: 1 })
      await until('it is stored as it should', async () => (await stored()) === length)
      await until('it is connected again', () => link.connected)
    }
  })

  test('requests of a silent link are open until it is healed, and then answered', async () => {
    const one = client()
    await one.call('PING')
    const { link } = setting
    link.silence('down')
    const sends = Array.from({ length: 20 }, (_, n) => one.call('XADD', 's', '*', 'n', n))
    await until('they are stored', async () => (await stored()) === 20)
    expect([link.open('publish'), link.open()]).toEqual([20, 20])
    link.heal()
    expect(await outcomes(sends)).toEqual({ resolved: 20, rejected: 0 })
    expect(link.open()).toBe(0)
  })

  test('a link of one-byte slices and delays carries the same conversation', async () => {
    const one = client()
    const { link } = setting
    link.slices(1)
    const body = 'x'.repeat(2000)
    await Promise.all(Array.from({ length: 5 }, () => one.call('XADD', 's', '*', 'data', body)))
    link.slices(null)
    link.delay(10, 10)
    expect(await one.call('XLEN', 's')).toBe(5)
    expect(await one.multi().exec()).toEqual([])
    await one.subscribe('bell')
    link.heal()
    const heard = new Promise((resolve) => one.on('message', (_, text) => resolve(text)))
    await client().call('PUBLISH', 'bell', 'ding')
    expect(await heard).toBe('ding')
  })
})

interface AmqpChannel {
  assertQueue(name: string, options?: Readonly<Record<string, unknown>>): Promise<{ readonly messageCount: number }>
  checkQueue(name: string): Promise<{ readonly messageCount: number }>
  publish(
    exchange: string,
    key: string,
    body: Uint8Array,
    options: Readonly<Record<string, unknown>>,
    done: (error: unknown) => void,
  ): boolean
  consume(queue: string, take: (message: unknown) => void, options: Readonly<Record<string, unknown>>): Promise<unknown>
  on(event: string, listener: (...values: readonly unknown[]) => void): void
}
interface AmqpConnection {
  createConfirmChannel(): Promise<AmqpChannel>
  on(event: string, listener: (...values: readonly unknown[]) => void): void
  close(): Promise<void>
}
interface AmqpModule {
  connect(address: string): Promise<AmqpConnection>
}

const noRabbit = await missing('rabbitmq')
describe.skipIf(noRabbit)('RabbitMQ behind the proxy', () => {
  const amqp = createRequire(new URL('../../adapter-rabbitmq/package.json', import.meta.url))('amqplib') as AmqpModule
  const setting = setUp('rabbitmq', amqpWire())
  const connections: AmqpConnection[] = []
  afterEach(async () => {
    for (const one of connections.splice(0)) await one.close().catch(() => {})
  })
  const channelTo = async (address: string): Promise<AmqpChannel> => {
    const connection = await amqp.connect(address)
    connections.push(connection)
    connection.on('error', () => {})
    const channel = await connection.createConfirmChannel()
    channel.on('error', () => {})
    return channel
  }
  const send = (channel: AmqpChannel, queue: string, options: Readonly<Record<string, unknown>> = {}): Promise<void> =>
    new Promise((resolve, reject) => {
      channel.publish('', queue, Buffer.from('x'), options, (error) => (error ? reject(error) : resolve()))
    })
  const stored = async (queue: string): Promise<number> => (await (await channelTo(setting.broker.url)).checkQueue(queue)).messageCount

  test('100 messages whose confirmations are withheld are stored and rejected, while all else on their channel flows', async () => {
    const channel = await channelTo(setting.address)
    const { link } = setting
    await channel.assertQueue('kept')
    await channel.assertQueue('taken')
    let taken = 0
    await channel.consume('taken', () => taken++, { noAck: true })
    await send(channel, 'kept')
    link.withhold(['publish'])
    const sends = Array.from({ length: 100 }, (_, n) => send(channel, n < 50 ? 'kept' : 'taken'))
    const ended = outcomes(sends)
    await until('all confirmations are withheld', () => link.withheld === 100)
    await until('deliveries flow', () => taken === 50)
    expect((await channel.checkQueue('kept')).messageCount).toBe(51)
    expect(link.open('publish')).toBe(100)
    link.cut()
    link.heal()
    expect(await ended).toEqual({ resolved: 0, rejected: 100 })
    expect(await stored('kept')).toBe(51)
  })

  test('once the link is healed the same channel goes on, and what was withheld stays unanswered', async () => {
    const channel = await channelTo(setting.address)
    const { link } = setting
    await channel.assertQueue('later')
    link.withhold(['publish'])
    let early = 0
    for (let n = 0; n < 50; n++) {
      void send(channel, 'later').then(
        () => early++,
        () => {},
      )
    }
    await until('all confirmations are withheld', () => link.withheld === 50)
    link.heal()
    const later = await outcomes(Array.from({ length: 200 }, () => send(channel, 'later')))
    expect([later, early, link.open('publish')]).toEqual([{ resolved: 200, rejected: 0 }, 0, 50])
    expect(await stored('later')).toBe(250)
  })

  test('a message that is returned vanishes with its confirmation', async () => {
    const channel = await channelTo(setting.address)
    const { link } = setting
    let returned = 0
    channel.on('return', () => returned++)
    await send(channel, 'nowhere', { mandatory: true })
    expect(returned).toBe(1)
    link.withhold(['publish'])
    const lost = send(channel, 'nowhere', { mandatory: true })
    const ended = outcomes([lost])
    await until('the confirmation is withheld', () => link.withheld === 1)
    await expect(channel.assertQueue('somewhere')).resolves.toBeDefined()
    expect(returned).toBe(1)
    link.rst()
    expect(await ended).toEqual({ resolved: 0, rejected: 1 })
  })

  test('a link of one-byte slices and delays carries the same conversation', async () => {
    const { link } = setting
    link.slices(1)
    const channel = await channelTo(setting.address)
    await channel.assertQueue('slow')
    await Promise.all(Array.from({ length: 20 }, () => send(channel, 'slow')))
    link.slices(null)
    link.delay(10, 10)
    let taken = 0
    await channel.consume('slow', () => taken++, { noAck: true })
    await until('all are taken', () => taken === 20)
  })
})

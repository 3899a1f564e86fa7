// What the server and its client do to those who do not know it: the traps that no other file here walks into, each under its name.

import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import {
  assignment,
  message as inPartition,
  join,
  never,
  type Opened,
  openSession,
  plan,
  type Relay,
  relay,
  source,
  until,
} from '@posthorn/conformance/live'
import type { Delivery, Outgoing, Session } from '@posthorn/core/adapter'
import { rabbitmq } from '@posthorn/rabbitmq'
import { afterEach, expect, it } from 'vitest'
import { keyed, type Live, live, orders, unkeyed } from './server.ts'

const closers: (() => Promise<unknown>)[] = []

// ── a session at the level of the contract ───────────────────────────────────────────────────────────────────────────

async function open(url: string): Promise<Opened> {
  const opened = await openSession(rabbitmq({ url, heartbeatMs: 2000, balanceMs: 300 }))
  closers.push(() => opened.session.close(AbortSignal.abort()))
  return opened
}

let made = 0

async function declared(session: Session, delays: readonly number[] = []): Promise<string> {
  const name = `traps-${++made}.${process.pid}`
  await session.declare(
    { topics: [plan(name, { keyed: false, partitions: null, groups: [{ name: 'email', start: 'earliest' }], delays })] },
    never,
  )
  return name
}

const message = (topic: string, id: string): Outgoing => inPartition(topic, id, { partition: null })

/** A way to the server whose answers can get lost, and that can be cut. */
async function way(on: Live): Promise<Relay> {
  const made = await relay('amqp', on.server.port)
  closers.push(() => made.close())
  return made
}

// ── what the server says ─────────────────────────────────────────────────────────────────────────────────────────────

async function listed(on: Live, ...words: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  const text = await on.server.control([...words, '--formatter', 'json'])
  return JSON.parse(text.slice(text.indexOf('['))) as Record<string, unknown>[]
}
const ready = (on: Live, queue: string): Promise<number> => on.plain(async (channel) => (await channel.checkQueue(queue)).messageCount)

async function unsettled(on: Live, queue: string): Promise<number> {
  return Number((await listed(on, 'list_queues', 'name', 'messages')).find(({ name }) => name === queue)?.messages)
}

live('traps', {}, (on) => {
  afterEach(async () => {
    await on.reset()
    await Promise.all(closers.splice(0).map((close) => close()))
  })

  it('R4 a handler that throws before it awaits ends no channel', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const done = new Set<number>()
    await broker.consume(topic, { group: 'email', retry: false }, ({ value }) => {
      if (value.n < 5) throw new Error('at once')
      done.add(value.n)
    })
    const channels = async (): Promise<unknown> =>
      (await listed(on, 'list_consumers', 'queue_name', 'channel_pid')).filter(({ queue_name }) => queue_name === `${topic.name}__email`)
    const before = await channels()
    await broker.producer(topic).sendBatch(orders(10).map((value) => ({ value })))
    await until('five are done', () => done.size === 5)
    await until('five are dead', async () => (await ready(on, `${topic.name}__email__dead`)) === 5)
    expect(await channels()).toEqual(before)
    expect(before).toHaveLength(1)
  })

  it('R6 what was read on a lost connection settles nothing on the next one, although its number is the same there', async () => {
    const { session } = await open(on.server.url)
    const topic = await declared(session)
    await session.publish([message(topic, 'one')], never)
    const member = await join(session, source(topic, { group: 'email', keyed: false }))
    const first = await assignment(member)
    const [old] = (await first.read(1)) as [Delivery]
    await on.server.control(['close_all_connections', 'test'])
    await until('it is lost', () => first.lost.aborted)
    const second = await assignment(member)
    const [again] = (await second.read(1)) as [Delivery]
    expect(again.content).toMatchObject({ id: 'one' })
    expect(await first.settle([old.token])).toBe('stale')
    expect(await second.settle([old.token])).toBe('stale')
    await until('the server says so', async () => (await unsettled(on, `${topic}__email`)) === 1)
    expect(await second.settle([again.token])).toBe('settled')
    await until('it is settled', async () => (await unsettled(on, `${topic}__email`)) === 0)
  })

  it('R7, DLY-2: a short wait overtakes a long one that began before it', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const order: string[] = []
    await broker.consume(topic, { group: 'email' }, ({ id }) => void order.push(id))
    await broker.producer(topic).send({ n: 1, k: 'a' }, { id: 'long', delayMs: 2000 })
    await broker.producer(topic).send({ n: 2, k: 'a' }, { id: 'short', delayMs: 100 })
    await until('both arrived', () => order.length === 2, 8000)
    expect(order).toEqual(['short', 'long'])
  })

  it('R13, RMQ-10: every queue that messages wait in is a quorum queue with a delivery limit that no message reaches', async () => {
    const [plain, byKey] = [unkeyed(), keyed()]
    const broker = await on.connect()
    await broker.declare([plain, byKey])
    await broker.producer(byKey).send({ n: 1, k: 'a' }, { delayMs: 60_000 })
    const queues = await listed(on, 'list_queues', 'name', 'arguments', 'type')
    const ours = queues.filter(({ name }) => [plain, byKey].some((topic) => String(name).startsWith(`${topic.name}__`)))
    expect(ours.length).toBeGreaterThan(9)
    for (const { name, arguments: args, type } of ours) {
      const text = JSON.stringify(args)
      expect(`${name} ${type}`).toBe(`${name} quorum`)
      expect(`${name} ${/x-delivery-limit\W+(?:long\W+|signedint\W+)?(-?\d+)/.exec(text)?.[1]}`).toBe(`${name} 1000000`)
    }
  })

  it('R14, DLY-4: a lane lets go only of what is stored where it goes, and refuses what it cannot store', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).send({ n: 1, k: 'a' }, { delayMs: 60_000 })
    const queues = await listed(on, 'list_queues', 'name', 'arguments')
    const lanes = queues.map((queue) => JSON.stringify(queue)).filter((text) => text.includes(`${topic.name}__delay__`))
    expect(lanes.length).toBeGreaterThan(0)
    for (const lane of lanes) {
      expect(lane).toContain('at-least-once')
      expect(lane).toContain('reject-publish')
    }
  })

  it('R16, ERR-13: what somebody else was given and gave back is attempt 1 here', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).send({ n: 1, k: 'a' })
    await on.plain(async (channel) => {
      for (let round = 0; round < 3; round++) {
        const got = await channel.get(`${topic.name}__email`)
        if (got === false) throw new Error('nothing is there')
        channel.nack(got, false, true)
        await until('it is back', async () => (await channel.checkQueue(`${topic.name}__email`)).messageCount === 1)
      }
    })
    const attempts: number[] = []
    await broker.consume(topic, { group: 'email', retry: { attempts: 2 } }, ({ attempt }) => void attempts.push(attempt))
    await until('it is handled', () => attempts.length === 1)
    expect(attempts).toEqual([1])
  })

  it('R17, R28, R29: no queue that is neither durable nor exclusive, no prefetch for a whole channel, no plugin, no wrapper of the client', async () => {
    const [plain, byKey] = [unkeyed(), keyed()]
    const broker = await on.connect()
    await broker.consume(plain, { group: 'email', retry: { attempts: 2, firstDelayMs: 1, maxDelayMs: 1 } }, () => {
      throw new Error('no')
    })
    await broker.consume(byKey, { group: 'email' }, () => {})
    await broker.consume(byKey, { group: 'listeners', broadcast: true }, () => {})
    await broker.producer(plain).send({ n: 1, k: 'a' }, { delayMs: 50 })
    await until('it is dead', async () => (await ready(on, `${plain.name}__email__dead`)) === 1)
    for await (const _ of broker.deadLetters(plain, 'email').list()) break
    const queues = await listed(on, 'list_queues', 'name', 'durable', 'owner_pid')
    expect(queues.filter(({ durable, owner_pid }) => durable !== true && !String(owner_pid ?? '').includes('.'))).toEqual([])
    const channels = await listed(on, 'list_channels', 'pid', 'global_prefetch_count')
    expect(channels.filter(({ global_prefetch_count }) => global_prefetch_count !== 0)).toEqual([])
    const kinds = (await listed(on, 'list_exchanges', 'type')).map(({ type }) => type)
    expect(kinds.filter((kind) => !['direct', 'fanout', 'topic', 'headers'].includes(String(kind)))).toEqual([])
    const { dependencies = {}, peerDependencies } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as Record<string, Record<string, string>>
    expect(Object.keys({ ...dependencies, ...peerDependencies }).sort()).toEqual(['@posthorn/core', 'amqplib'])
  })

  it('R27, ERR-11: copies for another attempt and for the dead letters are the message as it was, and persistent', async () => {
    const topic = unkeyed()
    const broker = await on.connect({}, { name: 'shop' })
    const seen: unknown[] = []
    await broker.consume(
      topic,
      { group: 'email', retry: { attempts: 2, firstDelayMs: 1, maxDelayMs: 1 } },
      ({ id, headers, time, value, type }) => {
        seen.push({ id, headers: { ...headers }, time, value, type })
        throw new Error('no')
      },
    )
    await broker.producer(topic).send({ n: 7, k: 'a' }, { id: 'r27', headers: { 'x-own': 'ä' } })
    const dead = `${topic.name}__email__dead`
    await until('it is dead', async () => (await ready(on, dead)) === 1)
    expect(seen).toHaveLength(2)
    expect(seen[1]).toEqual(seen[0])
    const copy = await on.plain((channel) => channel.get(dead, { noAck: true }))
    if (copy === false) throw new Error('nothing is there')
    expect(copy.properties.deliveryMode).toBe(2)
    expect(copy.properties.messageId).toBe('r27')
    expect(copy.properties.headers).toMatchObject({ 'x-own': 'ä', cloudEvents_id: 'r27', cloudEvents_source: 'shop' })
    expect(JSON.parse(copy.content.toString())).toEqual({ n: 7, k: 'a' })
  })

  it('RMQ-12 whoever gives a partition up gives all of it back at once: the next one begins with what was held', async () => {
    const topic = keyed({ partitions: 1 })
    const broker = await on.connect()
    const queue = `${topic.name}__email:0`
    await broker.producer(topic).sendBatch(orders(10, 1).map((value) => ({ value })))
    let starts = 0
    const options = { group: 'email', maxUnsettled: 5, concurrency: 5 } as const
    const consumer = await broker.consume(topic, options, async ({ signal }) => {
      starts++
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    await until('it has five in hand', async () => starts > 0 && (await ready(on, queue)) === 5)
    const channel = await (await on.admin()).createChannel()
    const got: number[] = []
    await channel.consume(queue, (given) => {
      if (given !== null) got.push((JSON.parse(given.content.toString()) as { n: number }).n)
    })
    await consumer.close({ drainMs: 1000 })
    await until('the next one has all', () => got.length === 10)
    await channel.close()
    expect(got).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('RMQ-13 a routing key that is no partition reaches every group once', async () => {
    const topic = keyed({ groups: ['email', 'billing'] })
    const broker = await on.connect()
    const seen = { email: [] as number[], billing: [] as number[] }
    for (const group of ['email', 'billing'] as const) await broker.consume(topic, { group }, ({ value }) => void seen[group].push(value.n))
    await on.plain(async (channel) => {
      for (const [n, key] of ['0', 'order-17', ''].entries()) channel.publish(topic.name, key, Buffer.from(JSON.stringify({ n, k: 'a' })))
    })
    await until('both groups have three', () => seen.email.length >= 3 && seen.billing.length >= 3)
    expect([seen.email.sort(), seen.billing.sort()]).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ])
  })

  it('FLOW-4 a consumer that pauses keeps what it owns, and its place at the queue', async () => {
    const topic = keyed()
    const broker = await on.connect()
    const seen = new Set<number>()
    const consumer = await broker.consume(topic, { group: 'email', maxUnsettled: 2 }, ({ value }) => void seen.add(value.n))
    const channels = async (): Promise<readonly string[]> =>
      (await listed(on, 'list_consumers', 'queue_name', 'channel_pid'))
        .filter(({ queue_name }) => String(queue_name).startsWith(`${topic.name}__email:`))
        .map(({ queue_name, channel_pid }) => `${queue_name} ${channel_pid}`)
        .sort()
    const before = await channels()
    expect(before).toHaveLength(4)
    consumer.pause()
    await broker.producer(topic).sendBatch(orders(40).map((value) => ({ value })))
    const since = performance.now()
    await until('ten rounds of balancing are over', () => performance.now() > since + 3000)
    const after = await channels()
    consumer.resume()
    await until('all are handled', () => seen.size === 40)
    expect(after).toEqual(before)
  })

  it('LIFE-14 while the connection that consumes is away it is recovering, whatever the other one does', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const consumer = await broker.consume(topic, { group: 'email' }, () => {})
    const connection = broker.native('rabbitmq').consuming?.connection as unknown as { readonly stream: Socket } | undefined
    connection?.stream.destroy()
    await until('it says so', () => broker.status === 'recovering' && consumer.state === 'recovering', 5000)
    await until('it is back', () => broker.status === 'connected' && consumer.state === 'running')
  })

  it('PUB-9, PUB-17: 100 publishes whose confirms are lost are 100 unknown and 100 messages, at once and not repeated', async () => {
    const link = await way(on)
    const { session, states } = await open(link.url)
    const topic = await declared(session)
    await session.publish([message(topic, 'first')], never)
    link.dropAnswers = true
    const publishes = Promise.all(Array.from({ length: 100 }, (_, n) => session.publish([message(topic, `m-${n}`)], never)))
    await until('all are stored', async () => (await ready(on, `${topic}__email`)) === 101)
    link.cut()
    link.dropAnswers = false
    let reports: Awaited<typeof publishes> | undefined
    void publishes.then((all) => {
      reports = all
    })
    await until('all are answered', () => reports !== undefined, 5000)
    expect(reports?.map(({ failures }) => failures.map(({ outcome }) => outcome))).toEqual(Array.from({ length: 100 }, () => ['unknown']))
    await until('it is connected again', () => states.at(-1) === 'connected')
    expect((await session.publish([message(topic, 'after')], never)).failures).toEqual([])
    expect(await ready(on, `${topic}__email`)).toBe(102)
  })

  it('PUB-18 what is asked for while the connection is away is stored when it is back', async () => {
    const link = await way(on)
    const { session, states } = await open(link.url)
    const topic = await declared(session)
    await session.publish([message(topic, 'first')], never)
    link.cut()
    await until('it is noticed', () => states.includes('recovering'))
    const reports = await Promise.all(Array.from({ length: 50 }, (_, n) => session.publish([message(topic, `m-${n}`)], never)))
    expect(reports.flatMap(({ failures }) => failures)).toEqual([])
    expect(await ready(on, `${topic}__email`)).toBe(51)
  })
})

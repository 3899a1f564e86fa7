// What consuming has to hold against a real server; each test is named after the trap it walks into.

import { until } from '@posthorn/conformance/live'
import { afterEach, expect, it } from 'vitest'
import { keyed, type Live, live, orders, unkeyed } from './server.ts'

const partitionQueues = (topic: { readonly name: string }): readonly string[] => [0, 1, 2, 3].map((p) => `${topic.name}__email:${p}`)

/** Connections, channels, consumers: name and prefetch of each consumer, as the server lists them. */
async function consumers(on: Live, queues: readonly string[]): Promise<readonly { readonly queue: string; readonly prefetch: number }[]> {
  const text = await on.server.control(['list_consumers', 'queue_name', 'prefetch_count', '--formatter', 'json'])
  const rows = JSON.parse(text.slice(text.indexOf('['))) as { queue_name: string; prefetch_count: number }[]
  return rows
    .filter(({ queue_name }) => queues.includes(queue_name))
    .map(({ queue_name, prefetch_count }) => ({ queue: queue_name, prefetch: prefetch_count }))
}

/** Has each of these queues exactly one consumer? */
async function oneEach(on: Live, queues: readonly string[], prefetch?: number): Promise<boolean> {
  const found = await consumers(on, queues).catch(() => [])
  return (
    found.length === queues.length &&
    new Set(found.map(({ queue }) => queue)).size === queues.length &&
    (prefetch === undefined || found.every((each) => each.prefetch === prefetch))
  )
}

const remaining = async (on: Live, queues: readonly string[]): Promise<number> => {
  const text = await on.server.control(['list_queues', 'name', 'messages', '--formatter', 'json'])
  const rows = JSON.parse(text.slice(text.indexOf('['))) as { name: string; messages: number }[]
  return rows.filter(({ name }) => queues.includes(name)).reduce((sum, { messages }) => sum + messages, 0)
}

live('consuming', {}, (on) => {
  afterEach(() => on.reset())

  it('R5 and R20 after a cut and after a restart there is one consumer per partition, with its prefetch', async () => {
    const topic = keyed()
    const broker = await on.connect()
    const seen = new Set<number>()
    await broker.consume(topic, { group: 'email', maxUnsettled: 7 }, ({ value }) => void seen.add(value.n))
    const whole = (): Promise<boolean> => oneEach(on, partitionQueues(topic), 7)
    await until('consumers before', whole)
    await on.server.control(['close_all_connections', 'test'])
    await until('it noticed', () => broker.status !== 'connected')
    await until('consumers after a cut', whole, 30_000)
    await on.server.signal('SIGTERM')
    await on.server.start()
    await until('consumers after a restart', whole, 45_000)
    await broker.producer(topic).sendBatch(orders(40).map((value) => ({ value })))
    await until('all are handled', () => seen.size === 40)
  })

  it('R8, R13 and R15 a failing message is not handed back in a loop: each attempt waits as the policy says', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const starts: number[] = []
    const attempts: number[] = []
    await broker.consume(topic, { group: 'email', retry: { attempts: 4, firstDelayMs: 100, factor: 1, maxDelayMs: 100 } }, (message) => {
      starts.push(performance.now())
      attempts.push(message.attempt)
      throw new Error('no')
    })
    await broker.producer(topic).send({ n: 1, k: 'a' })
    await until('the dead letter', async () => (await remaining(on, [`${topic.name}__email__dead`])) === 1)
    expect(attempts).toEqual([1, 2, 3, 4])
    await until('its original is settled', async () => (await remaining(on, [`${topic.name}__email`])) === 0)
  })

  it('R12 a queue that is deleted under its consumer is declared and consumed again, and told', async () => {
    const topic = keyed()
    const events: string[] = []
    const broker = await on.connect({}, { log: ({ message }) => void events.push(message) })
    const seen = new Set<number>()
    await broker.consume(topic, { group: 'email' }, ({ value }) => void seen.add(value.n))
    await on.plain(async (channel) => {
      for (const queue of partitionQueues(topic)) await channel.deleteQueue(queue)
    })
    await until('it is told', () => events.some((text) => text.includes('position-lost')))
    await until('all are consumed again', () => oneEach(on, partitionQueues(topic)))
    await broker.producer(topic).sendBatch(orders(40).map((value) => ({ value })))
    await until('all are handled', () => seen.size === 40)
  })

  it('R21 a message with arrays, tables and bytes in its headers is handled', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const headers: Record<string, string>[] = []
    await broker.consume(topic, { group: 'email' }, (message) => void headers.push({ ...message.headers }))
    await on.plain(async (channel) => {
      channel.publish(topic.name, '', Buffer.from('{"n":1,"k":"a"}'), {
        headers: { list: [1, 'a'], table: { a: { b: 1 } }, bytes: Buffer.from('text'), number: 7, 'x-death': [{ queue: 'q', count: 2 }] },
      })
    })
    await until('it is handled', () => headers.length === 1)
    expect(headers[0]).toEqual({ list: '[1,"a"]', table: '{"a":{"b":1}}', bytes: 'text', number: '7' })
  })

  it('R22 closing with work in hand settles nothing, dead-letters nothing, and gives everything back', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(30).map((value) => ({ value })))
    let started = 0
    await broker.consume(topic, { group: 'email', concurrency: 10 }, async ({ signal }) => {
      started++
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    })
    await until('ten handlers run', () => started === 10)
    await broker.close({ drainMs: 100 })
    await until('everything is back', async () => (await remaining(on, [`${topic.name}__email`])) === 30)
    expect(await remaining(on, [`${topic.name}__email__dead`])).toBe(0)
  })

  it('R24 a channel that ends leaves the other partitions running', async () => {
    const topic = keyed()
    const broker = await on.connect()
    const seen = new Set<number>()
    await broker.consume(topic, { group: 'email' }, ({ value }) => void seen.add(value.n))
    const [first = '', ...others] = partitionQueues(topic)
    await on.plain((channel) => channel.deleteQueue(first))
    expect(await oneEach(on, others)).toBe(true)
    await until('the first is back', () => oneEach(on, [first]))
  })

  it('R31 thirty closes of the channel lose nothing', async () => {
    const topic = keyed({ partitions: 1 })
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(20).map((value) => ({ value })))
    for (let round = 0; round < 30; round++) {
      const consumer = await broker.consume(topic, { group: 'email', concurrency: 1 }, async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
      })
      await consumer.close({ drainMs: 0 })
    }
    await until('everything is back', async () => (await remaining(on, [`${topic.name}__email:0`])) === 20)
  })

  it('R32 a hand-over keeps the order of what was given back and what is newer', async () => {
    const topic = keyed({ partitions: 1 })
    const [first, second] = [await on.connect(), await on.connect()]
    await first.producer(topic).sendBatch(orders(40, 1).map((value) => ({ value })))
    const handled: number[] = []
    let stop = (): void => {}
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    const one = await first.consume(topic, { group: 'email', concurrency: 1 }, ({ value }) => {
      handled.push(value.n)
      if (value.n === 9) stop()
    })
    await stopped
    await first.producer(topic).sendBatch(orders(20, 1, 40).map((value) => ({ value })))
    await one.close()
    await second.consume(topic, { group: 'email', concurrency: 1 }, ({ value }) => void handled.push(value.n))
    await until('all are handled', () => handled.length >= 60)
    expect(handled).toEqual(Array.from({ length: 60 }, (_, n) => n))
  })

  it('R18 a message that is held too long takes its channel with it, and comes again without a loop', async () => {
    await on.server.control([
      'eval',
      'application:set_env(rabbit, channel_tick_interval, 500), application:set_env(rabbit, consumer_timeout, 1500).',
    ])
    try {
      const topic = keyed({ partitions: 1 })
      const broker = await on.connect()
      let starts = 0
      await broker.consume(topic, { group: 'email' }, async ({ signal }) => {
        starts++
        if (starts > 1) return
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        throw new Error('given up')
      })
      await broker.producer(topic).send({ n: 1, k: 'a' })
      await until('it was taken away and came again', () => starts === 2)
      expect(broker.status).toBe('connected')
      await broker.close()
      await until('it is settled', async () => (await remaining(on, [`${topic.name}__email:0`])) === 0)
    } finally {
      await on.server.control([
        'eval',
        'application:set_env(rabbit, channel_tick_interval, 60000), application:set_env(rabbit, consumer_timeout, 1800000).',
      ])
    }
  })

  it('R19 an acknowledgement covers nothing that is unfinished: of ten, one is not settled', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(10).map((value) => ({ value })))
    let finished = 0
    await broker.consume(topic, { group: 'email', concurrency: 10 }, async ({ value, signal }) => {
      if (value.n === 3) await new Promise((resolve) => signal.addEventListener('abort', resolve))
      else finished++
    })
    await until('nine are settled', async () => finished === 9 && (await remaining(on, [`${topic.name}__email`])) === 1)
  })

  it('R33 two members own two of four partitions each, whoever came first', async () => {
    const topic = keyed()
    const [first, second] = [await on.connect(), await on.connect()]
    const owned = async (): Promise<readonly number[]> => {
      const text = await on.server.control(['list_queues', 'name', 'owner_pid', '--formatter', 'json'])
      const rows = JSON.parse(text.slice(text.indexOf('['))) as { name: string; owner_pid: string }[]
      const holders = new Map<string, number>()
      for (const { name, owner_pid } of rows)
        if (name.startsWith(`${topic.name}__email:`) && name.endsWith('__owner')) holders.set(owner_pid, (holders.get(owner_pid) ?? 0) + 1)
      return [...holders.values()].sort()
    }
    await first.consume(topic, { group: 'email' }, () => {})
    expect(await owned()).toEqual([4])
    await second.consume(topic, { group: 'email' }, () => {})
    await until('two and two', async () => (await owned()).join() === '2,2')
    await first.close()
    await until('the other one owns all', async () => (await owned()).join() === '4')
  })
})

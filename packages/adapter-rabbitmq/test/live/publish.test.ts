// What publishing has to hold against a real server; each test is named after the trap it walks into.

import { readdir, readFile } from 'node:fs/promises'
import { until } from '@posthorn/conformance/live'
import { isMessagingError } from '@posthorn/core'
import { afterEach, expect, it } from 'vitest'
import { keyed, type Live, live, orders, unkeyed } from './server.ts'

const groupQueue = (topic: { readonly name: string }): string => `${topic.name}__email`

async function count(on: Live, queue: string): Promise<number> {
  return on.plain(async (channel) => (await channel.checkQueue(queue)).messageCount)
}

/**
 * Whether the server's list of quorum queues is on disk and holds these: it is saved half a second after the last change, and who
 * is killed before that begins a new queue anew. The word at 8 of an Erlang table file is 1 when the file is whole.
 */
async function noted(folder: string, queues: readonly string[]): Promise<boolean> {
  const file = (await readdir(`${folder}/data`, { recursive: true })).find((name) => /quorum\/.*\/names\.dets$/.test(name))
  if (file === undefined) return false
  const bytes = await readFile(`${folder}/data/${file}`)
  return bytes.readUInt32BE(8) === 1 && queues.every((queue) => bytes.includes(queue))
}

live('publishing', {}, (on) => {
  afterEach(() => on.reset())

  it('R1 a confirm that is lost with its connection is unknown, is repeated under its id, and has one effect', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const sends = orders(200).map((order) => broker.producer(topic).send(order, { id: `r1-${order.n}` }))
    broker.native('rabbitmq').publishing?.connection // the connection that is about to die
    await on.server.control(['close_all_connections', 'test'])
    const receipts = await Promise.all(sends)
    expect(receipts).toHaveLength(200)
    const ids = new Set<string>()
    const consumer = await broker.consume(topic, { group: 'email' }, (message) => void ids.add(message.id))
    await until('all ids arrived', () => ids.size === 200)
    await consumer.close()
  })

  it('R2 a message that reaches no queue is confirmed by the server, and refused here: definitely not stored', async () => {
    const topic = unkeyed({ groups: [] })
    const broker = await on.connect()
    const error = await broker
      .producer(topic)
      .send({ n: 1, k: 'a' })
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'NOT_FOUND', outcome: 'failed' })
  })

  it('R3 an exchange that goes missing costs other topics nothing', async () => {
    const [gone, other] = [unkeyed(), unkeyed()]
    const broker = await on.connect()
    await broker.producer(gone).send({ n: 0, k: 'a' })
    await broker.producer(other).send({ n: 0, k: 'a' })
    await on.plain((channel) => channel.deleteExchange(gone.name))
    const [lost, ...stored] = await Promise.allSettled([
      broker.producer(gone, { timeoutMs: 5000 }).send({ n: 1, k: 'a' }),
      ...orders(100).map((order) => broker.producer(other, { retryUnknown: false }).send(order)),
    ])
    expect(stored.every(({ status }) => status === 'fulfilled')).toBe(true)
    // What this session declared it makes again: the message can still be stored.
    expect(lost?.status).toBe('fulfilled')
    expect(await count(on, groupQueue(gone))).toBe(2)
  })

  it('R9 and R26 what was confirmed survives kill -9 of the server, originals and dead letters, with nobody consuming', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(50).map((value) => ({ value })))
    const consumer = await broker.consume(topic, { group: 'email', retry: false }, ({ value }) => {
      if (value.n < 5) throw new Error('no')
    })
    await until('five dead letters', async () => (await count(on, `${groupQueue(topic)}__dead`)) === 5)
    await consumer.close()
    await broker.producer(topic).sendBatch(orders(50, 8, 50).map((value) => ({ value })))
    await until('the server has noted the queues', () => noted(on.server.folder, [groupQueue(topic), `${groupQueue(topic)}__dead`]))
    await on.server.signal('SIGKILL')
    await on.server.start()
    await until('the queues are back', async () => (await count(on, groupQueue(topic)).catch(() => -1)) === 50)
    await until('the dead letters are back', async () => (await count(on, `${groupQueue(topic)}__dead`)) === 5)
  })

  it('R10 an alarm stops publishing and nothing else: consumers settle, sends end by their deadline, and go on after it', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(20).map((value) => ({ value })))
    let open = (): void => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    let handled = 0
    await broker.consume(topic, { group: 'email', concurrency: 20 }, async () => {
      await gate
      handled++
    })
    await on.server.control(['set_vm_memory_high_watermark', '0.0000001'])
    try {
      await until('the alarm is on', async () => {
        const error = await broker
          .producer(topic, { timeoutMs: 500 })
          .send({ n: 1, k: 'a' })
          .catch((caught: unknown) => caught)
        return isMessagingError(error, 'TIMED_OUT') || isMessagingError(error, 'UNAVAILABLE')
      })
      open()
      await until(
        'twenty are handled and settled during the alarm',
        async () => handled >= 20 && (await broker.lag(topic, 'email')).backlog === 0,
      )
    } finally {
      await on.server.control(['set_vm_memory_high_watermark', '0.6'])
    }
    await broker.producer(topic).send({ n: 2, k: 'a' })
  })

  it('R11 a client buffer that is full is no failure: every message is stored once', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    await broker.producer(topic).sendBatch(orders(3000).map((value) => ({ value })))
    expect(await count(on, groupQueue(topic))).toBe(3000)
  })

  it('R23 a slow rhythm is not delayed', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const producer = broker.producer(topic)
    await producer.send({ n: 0, k: 'a' })
    const times: number[] = []
    for (let n = 0; n < 20; n++) {
      const since = performance.now()
      await producer.send({ n, k: 'a' })
      times.push(performance.now() - since)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    // Nagle's algorithm with delayed acknowledgements takes 40 ms.
    expect(times.sort((a, b) => a - b)[10]).toBeLessThan(35)
  })

  it('R30 what fits into no header block is a definite failure that harms nobody', async () => {
    const topic = keyed()
    const broker = await on.connect()
    const long = 'k'.repeat(70_000)
    const error = await broker
      .producer(topic)
      .send({ n: 1, k: long })
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ outcome: 'failed' })
    await broker.producer(topic).send({ n: 2, k: 'a' })
  })
})

live('a server that takes little', { settings: ['max_message_size = 65536'] }, (on) => {
  afterEach(() => on.reset())

  it('a message over its limit is a definite failure, and its neighbours are stored', async () => {
    const topic = unkeyed()
    const broker = await on.connect()
    const big = { n: 1, k: 'x'.repeat(100_000) }
    const results = await Promise.allSettled([
      ...orders(20).map((order) => broker.producer(topic).send(order)),
      broker.producer(topic).send(big),
      ...orders(20, 8, 20).map((order) => broker.producer(topic).send(order)),
    ])
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(40)
    expect(results[20]).toMatchObject({ status: 'rejected', reason: { code: 'TOO_LARGE', outcome: 'failed' } })
  })
})

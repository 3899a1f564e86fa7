import { type Broker, type Log, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

function world(profile: 'default' | 'kafka' = 'default') {
  const clock = virtualClock()
  const server = memoryServer({ clock, profile })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let drawn = 0
  const random = (): number => (drawn = (drawn * 0.618 + 0.37) % 1)
  const open = (name: string, log: Log | false = false): Promise<Broker> =>
    connectWith({ clock, random }, memory({ server }), { name, log })
  return { clock, server, sleep, open }
}
const one = topic('start.one', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })
const other = topic('start.other', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })

const third = topic('start.third', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })

describe('starting and ending a consumer', () => {
  it('a consumer that dies while a second topic is still being joined rejects its start and owns nothing', async () => {
    const { clock, server, sleep, open } = world()
    let outcome: unknown
    await drive(
      clock,
      (async () => {
        const producing = await open('sender')
        await producing.producer(one).send('x')
        server.write(one.name, { body: Buffer.from('{') })
        const broker = await open('consumer')
        for (const link of server.links()) link.delay(200)
        const started = broker
          .consume([one, other, third], { group: 'workers', onInvalid: 'stop' }, async () => undefined)
          .then(
            () => 'started',
            (error: Error) => error.message,
          )
        outcome = await started
        await sleep(5_000)
        expect(server.owners(one.name, 'workers').size).toBe(0)
        expect(server.owners(other.name, 'workers').size).toBe(0)
        expect(server.owners(third.name, 'workers').size).toBe(0)
        for (const link of server.links()) link.heal()
        await broker.close()
        await producing.close()
      })(),
      10_000,
    )
    expect(outcome).toMatch(/onInvalid is 'stop'/)
  })

  it('leaves no timer behind when it closes over a handler or a pulled message that never ends', async () => {
    const { clock, sleep, open } = world()
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        await broker.producer(one).send('x')
        await broker.producer(other).send('y')
        const puller = await broker.pull(one, { group: 'workers' })
        expect(await puller.receive()).toHaveLength(1)
        await broker.consume(other, { group: 'workers', handlerTimeoutMs: 3_600_000 }, () => new Promise<void>(() => undefined))
        await sleep(100)
        await broker.close({ drainMs: 100 })
      })(),
      10_000,
    )
    expect(clock.nextDue() ?? 0).toBeLessThan(clock.monotonic() + 60_000)
  })

  it('a second consumer is told that its startFrom comes too late', async () => {
    const { clock, open } = world()
    const late: string[] = []
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer', (record) => void late.push(record.message))
        await broker.producer(one).send('x')
        await broker.consume(one, { group: 'workers', startFrom: 'latest' }, async () => undefined)
        await broker.close()
      })(),
      10_000,
    )
    expect(late.filter((line) => line.includes('startFrom') && line.includes('changes nothing'))).toHaveLength(1)
    expect(late.filter((line) => line.includes('starts with'))).toHaveLength(0)
  })

  it('a second definition of a topic with other partitions is a conflict in the same process too', async () => {
    const { clock, open } = world()
    const wider = topic('start.one', { schema: unchecked<string>(), key: (value) => value, groups: ['workers'], partitions: 7 })
    const keyed = topic('start.one', { schema: unchecked<string>(), key: (value) => value, groups: ['workers'], partitions: 2 })
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        await broker.producer(keyed).send('x')
        await expect(broker.consume(wider, { group: 'workers' }, async () => undefined)).rejects.toMatchObject({ code: 'CONFLICT' })
        await broker.close()
      })(),
      10_000,
    )
  })
})

describe('a pulled message whose outputs fail', () => {
  it('answers done() and is handed out again', async () => {
    const { clock, server, sleep, open } = world('kafka')
    const answers: string[] = []
    await drive(
      clock,
      (async () => {
        const broker = await open('consumer')
        await broker.declare(other)
        await broker.producer(one).send('x')
        const puller = await broker.pull(one, { group: 'workers', retry: { firstDelayMs: 10 } })
        server.deny('publish', other.name)
        const [first] = await puller.receive()
        first?.forward(other, 'y')
        answers.push((await first?.done()) ?? 'none')
        server.allow()
        const [second] = await puller.receive()
        second?.forward(other, 'y')
        answers.push((await second?.done()) ?? 'none')
        await sleep(1_000)
        await broker.close()
      })(),
      10_000,
    )
    expect(answers).toEqual(['unknown', 'done'])
    expect(server.read({ topic: other.name, role: 'main', group: null })).toHaveLength(1)
  })
})

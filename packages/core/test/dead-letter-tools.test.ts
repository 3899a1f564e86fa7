import { type Broker, type DeadLetter, deadLetter, type Message, topic, unchecked } from '@posthorn/core'
import { type Adapter, connectWith, type Session } from '@posthorn/core/adapter'
import { type MemoryServer, memory, memoryServer } from '@posthorn/core/testing'
import { afterEach, describe, expect, test } from 'vitest'
import { type VirtualClock, virtualClock } from '../src/virtual-clock.ts'
import { pass, quiet } from './support/scripted.ts'

const orders = topic('orders', { schema: unchecked<unknown>(), groups: ['email', 'push'] })
const brokers: { broker: Broker; clock: VirtualClock }[] = []

async function during<T>(clock: VirtualClock, work: Promise<T>, ms = 120_000): Promise<T> {
  let over = false
  const end = clock.monotonic() + ms
  const watched = work.finally(() => {
    over = true
  })
  watched.catch(() => undefined)
  await quiet()
  while (!over && clock.monotonic() < end && clock.step()) await quiet()
  return watched
}
interface World {
  readonly clock: VirtualClock
  readonly server: MemoryServer
  open(wrap?: (session: Session) => Session, name?: string): Promise<Broker>
}
function world(profile: 'default' | 'kafka' | 'rabbitmq' | 'redis' | 'mqtt' = 'default'): World {
  const clock = virtualClock()
  const server = memoryServer({ profile, clock })
  return {
    clock,
    server,
    async open(wrap = (session) => session, name = 'tests') {
      const adapter = memory({ server })
      const wrapped: Adapter = { ...adapter, open: async (context, signal) => wrap(await adapter.open(context, signal)) }
      const broker = await during(clock, connectWith({ clock, random: Math.random }, wrapped, { log: false, name }))
      brokers.push({ broker, clock })
      return broker
    },
  }
}
afterEach(async () => {
  for (const { broker, clock } of brokers.splice(0)) await during(clock, broker.close({ drainMs: 0 }))
})
async function listed(clock: VirtualClock, letters: AsyncIterable<DeadLetter>): Promise<DeadLetter[]> {
  const all: DeadLetter[] = []
  await during(
    clock,
    (async () => {
      for await (const letter of letters) all.push(letter)
    })(),
  )
  return all
}
/** A consumer of the group that sets aside what its list of ids names, and remembers what it handled. */
async function failing(made: World, broker: Broker, group: string, fails: (message: Message) => string | undefined): Promise<string[]> {
  const handled: string[] = []
  await during(
    made.clock,
    broker.consume(orders, { group }, (message) => {
      const reason = fails(message)
      if (reason !== undefined) return deadLetter(reason)
      handled.push(`${message.id} ${message.attempt}`)
      return undefined
    }),
  )
  return handled
}

describe.each(['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const)('dead letters (%s)', (profile) => {
  test('tell everything and are not removed by being listed', async () => {
    const made = world(profile)
    const broker = await made.open()
    await failing(made, broker, 'email', () => 'broken')
    await failing(made, broker, 'push', () => undefined)
    const values: unknown[] = [{ a: 1 }, null, '']
    for (const [n, value] of values.entries())
      await during(made.clock, broker.producer(orders).send(value, { id: `m${n}`, headers: { own: 'yes' } }))
    await pass(made.clock, 2_000)
    const tool = broker.deadLetters(orders, 'email')
    const letters = await listed(made.clock, tool.list())
    expect(letters.map((each) => each.id).sort()).toEqual(['m0', 'm1', 'm2'])
    const [first, second] = ['m0', 'm1'].map((id) => letters.find((each) => each.id === id))
    expect(first).toMatchObject({
      value: { a: 1 },
      key: undefined,
      headers: { own: 'yes' },
      type: 'orders',
      source: 'tests',
      reason: 'broken',
      topic: 'orders',
      group: 'email',
      attempts: 1,
    })
    expect(Buffer.from(first?.bytes ?? []).toString()).toBe('{"a":1}')
    expect(first?.firstFailedAt.getTime()).toBeGreaterThanOrEqual(first?.time?.getTime() ?? Number.NaN)
    expect(second).toMatchObject({ value: null })
    expect(second?.bytes).toHaveLength(0)
    expect(await listed(made.clock, tool.list())).toEqual(letters)
    expect(await listed(made.clock, tool.list({ limit: 2 }))).toEqual(letters.slice(0, 2))
    expect((await listed(made.clock, tool.list({ where: (letter) => letter.value === null }))).map((each) => each.id)).toEqual(['m1'])
    expect(await listed(made.clock, broker.deadLetters(orders, 'push').list())).toEqual([])
  })

  test('are replayed to their group alone, whole, attempt 1, and are gone then', async () => {
    const made = world(profile)
    const broker = await made.open()
    let broken = true
    const email = await failing(made, broker, 'email', () => (broken ? 'broken' : undefined))
    const push = await failing(made, broker, 'push', () => undefined)
    const ids = Array.from({ length: 250 }, (_, n) => `m${n}`)
    await during(made.clock, broker.producer(orders).sendBatch(ids.map((id, n) => ({ value: n, id }))))
    await pass(made.clock, 3_000)
    const inTopic = made.server.read({ topic: 'orders', role: 'main', group: null }).length
    broken = false
    const progress: number[] = []
    const tool = broker.deadLetters(orders, 'email')
    expect(await during(made.clock, tool.replay({ ids: ['m5', 'm7', 'nobody'] }))).toEqual({ replayed: 2, left: 248 })
    expect(await during(made.clock, tool.replay({ where: (letter) => letter.id === 'm9' }))).toEqual({ replayed: 1, left: 247 })
    expect(await during(made.clock, tool.replay({ all: true }, { limit: 10 }))).toEqual({ replayed: 10, left: 237 })
    expect(await during(made.clock, tool.replay({ all: true }, { onProgress: (count) => progress.push(count) }))).toEqual({
      replayed: 237,
      left: 0,
    })
    await pass(made.clock, 3_000)
    expect(progress).toEqual(Array.from({ length: 237 }, (_, n) => n + 1))
    expect(email.sort()).toEqual(ids.map((id) => `${id} 1`).sort())
    expect(push).toHaveLength(250)
    expect(made.server.read({ topic: 'orders', role: 'main', group: null }).length).toBe(inTopic)
    expect(await during(made.clock, tool.replay({ all: true }))).toEqual({ replayed: 0, left: 0 })
  })

  test('of messages that fail again are one entry again, and the replay ends', async () => {
    const made = world(profile)
    const broker = await made.open()
    let failures = 0
    await failing(made, broker, 'email', () => `broken ${++failures}`)
    await during(made.clock, broker.producer(orders).sendBatch(['a', 'b', 'c'].map((id) => ({ value: id, id }))))
    await pass(made.clock, 2_000)
    const tool = broker.deadLetters(orders, 'email')
    expect((await during(made.clock, tool.replay({ all: true }, { ratePerSecond: 2 }))).replayed).toBe(3)
    await pass(made.clock, 3_000)
    expect((await listed(made.clock, tool.list())).map((each) => each.id).sort()).toEqual(['a', 'b', 'c'])
    expect(failures).toBe(6)
  })

  test('are purged as asked', async () => {
    const made = world(profile)
    const broker = await made.open()
    await failing(made, broker, 'email', () => 'broken')
    await during(made.clock, broker.producer(orders).sendBatch(['a', 'b', 'c', 'd'].map((id) => ({ value: id, id }))))
    await pass(made.clock, 2_000)
    const tool = broker.deadLetters(orders, 'email')
    expect(await during(made.clock, tool.purge({ ids: ['b'] }))).toEqual({ purged: 1 })
    expect(await during(made.clock, tool.purge({ where: (letter) => letter.value === 'c' }))).toEqual({ purged: 1 })
    expect((await listed(made.clock, tool.list())).map((each) => each.id).sort()).toEqual(['a', 'd'])
    expect(await during(made.clock, tool.purge({ all: true }))).toEqual({ purged: 2 })
    expect(await listed(made.clock, tool.list())).toEqual([])
  })

  test('of what could not be read hold the bytes, and headers that are no text', async () => {
    const made = world(profile)
    const broker = await made.open()
    await during(made.clock, broker.declare(orders))
    made.server.write('orders', {
      body: Buffer.from([0xff, 0, 1]),
      undecodable: 'a truncated frame',
      rawHeaders: { good: Buffer.from('text'), bad: Buffer.from([0xff, 0xfe]) },
    })
    await failing(made, broker, 'email', () => undefined)
    await pass(made.clock, 2_000)
    const [letter] = await listed(made.clock, broker.deadLetters(orders, 'email').list())
    expect(letter).toMatchObject({
      reason: 'undecodable',
      value: undefined,
      headers: { good: 'text', bad: Buffer.from([0xff, 0xfe]).toString('base64url') },
    })
    expect(Buffer.from(letter?.bytes ?? [])).toEqual(Buffer.from([0xff, 0, 1]))
    expect(letter?.error).toContain('a truncated frame')
  })

  test('keep keys, empty ones too, and two sources of one id apart', async () => {
    const made = world(profile)
    const keyed = topic('keyed', { schema: unchecked<string>(), key: (value) => value, groups: ['email'] })
    const broker = await made.open()
    let broken = true
    const keys: (string | undefined)[] = []
    await during(
      made.clock,
      broker.consume(keyed, { group: 'email' }, (message) => {
        if (broken) return deadLetter('broken')
        keys.push(message.key)
        return undefined
      }),
    )
    await during(made.clock, broker.producer(keyed).sendBatch(['', 'ä☺', 'plain'].map((value) => ({ value, id: `id ${value}` }))))
    const another = await made.open(undefined, 'another')
    await during(made.clock, another.producer(keyed).send('plain', { id: 'id plain' }))
    await pass(made.clock, 3_000)
    const tool = broker.deadLetters(keyed, 'email')
    const letters = await listed(made.clock, tool.list())
    expect(letters.map((each) => each.key).sort()).toEqual(['', 'plain', 'plain', 'ä☺'])
    expect(new Set(letters.filter((each) => each.id === 'id plain').map((each) => each.source))).toEqual(new Set(['tests', 'another']))
    broken = false
    expect((await during(made.clock, tool.replay({ all: true }))).replayed).toBe(4)
    await pass(made.clock, 3_000)
    expect(keys.sort()).toEqual(['', 'plain', 'plain', 'ä☺'])
  })
})

describe('a replay', () => {
  test('takes an entry away only when its copy is confirmed: what dies in between leaves an extra copy, never a gap', async () => {
    const made = world()
    const broker = await made.open()
    let broken = true
    const handled: string[] = []
    await during(
      made.clock,
      broker.consume(orders, { group: 'email' }, (message) => {
        if (broken) return deadLetter('broken')
        handled.push(message.id)
        return undefined
      }),
    )
    await during(made.clock, broker.producer(orders).sendBatch(['a', 'b', 'c'].map((id) => ({ value: id, id }))))
    await pass(made.clock, 1_000)
    broken = false
    const dying = await made.open((session) => ({
      ...session,
      capabilities: session.capabilities,
      client: null,
      declare: session.declare.bind(session),
      publish: session.publish.bind(session),
      browse: session.browse.bind(session),
      close: session.close.bind(session),
      subscribe: session.subscribe.bind(session),
      inspect: session.inspect.bind(session),
      remove: () => Promise.reject(new Error('the process died here')),
    }))
    await expect(during(made.clock, dying.deadLetters(orders, 'email').replay({ all: true }))).rejects.toMatchObject({
      name: 'MessagingError',
    })
    await pass(made.clock, 1_000)
    expect(handled.sort()).toEqual(['a', 'b', 'c'])
    const tool = broker.deadLetters(orders, 'email')
    expect((await listed(made.clock, tool.list())).map((each) => each.id)).toEqual(['a', 'b', 'c'])
    expect(await during(made.clock, tool.replay({ all: true }))).toEqual({ replayed: 3, left: 0 })
    await pass(made.clock, 1_000)
    expect(handled.sort()).toEqual(['a', 'a', 'b', 'b', 'c', 'c'])
  })

  test('goes where its own group is, whatever an entry says of its origin', async () => {
    const made = world()
    const broker = await made.open()
    await during(made.clock, broker.declare([orders, topic('secret', { groups: ['x'] })]))
    const handled: string[] = []
    await failing(made, broker, 'email', () => undefined)
    await during(
      made.clock,
      broker.consume(orders, { group: 'push' }, () => undefined),
    )
    const forged = broker as unknown as { native(name: string): unknown }
    expect(forged.native('memory')).toBeDefined()
    const raw = await made.open((session) => {
      stolen = session
      return session
    })
    await during(made.clock, raw.declare(orders))
    await during(
      made.clock,
      (stolen as Session).publish(
        [
          {
            id: 'f',
            key: null,
            body: Buffer.from('1'),
            time: 1,
            expiresAt: null,
            attributes: { source: 'evil', type: 't' },
            headers: null,
            transport: { 'ph-reason': 'x', 'ph-topic': 'secret', 'ph-group': 'x' },
            place: { topic: 'orders', role: 'dead', group: 'email' },
            partition: 0,
            delayMs: 0,
            slot: 'slot',
          },
        ],
        new AbortController().signal,
      ),
    )
    const tool = broker.deadLetters(orders, 'email')
    expect(await listed(made.clock, tool.list())).toMatchObject([{ id: 'f', topic: 'orders', group: 'email' }])
    await during(
      made.clock,
      broker.consume(orders, { group: 'email' }, (message) => void handled.push(message.id)),
    )
    expect((await during(made.clock, tool.replay({ all: true }))).replayed).toBe(1)
    expect(made.server.read({ topic: 'secret', role: 'main', group: null })).toEqual([])
    expect(made.server.read({ topic: 'orders', role: 'main', group: null })).toEqual([])
  })
  let stolen: Session | undefined

  test('keeps to its rate', async () => {
    const made = world()
    const broker = await made.open()
    let broken = true
    const at: number[] = []
    await during(
      made.clock,
      broker.consume(orders, { group: 'email' }, () => {
        if (broken) return deadLetter('broken')
        at.push(made.clock.monotonic())
        return undefined
      }),
    )
    await during(made.clock, broker.producer(orders).sendBatch(Array.from({ length: 20 }, (_, n) => ({ value: n }))))
    await pass(made.clock, 1_000)
    broken = false
    const start = made.clock.monotonic()
    await during(made.clock, broker.deadLetters(orders, 'email').replay({ all: true }, { ratePerSecond: 10 }))
    await pass(made.clock, 100)
    expect(at).toHaveLength(20)
    expect((at.at(-1) ?? 0) - start).toBeGreaterThanOrEqual(1_890)
    expect((at.at(-1) ?? 0) - start).toBeLessThanOrEqual(2_200)
  })

  test('ends with its signal, and with the broker', async () => {
    const made = world()
    const broker = await made.open()
    await failing(made, broker, 'email', () => 'broken')
    await during(made.clock, broker.producer(orders).sendBatch(Array.from({ length: 20 }, (_, n) => ({ value: n }))))
    await pass(made.clock, 1_000)
    const tool = broker.deadLetters(orders, 'email')
    const controller = new AbortController()
    const one = tool.replay({ all: true }, { ratePerSecond: 1, signal: controller.signal }).catch((error: unknown) => error)
    await pass(made.clock, 2_500)
    controller.abort()
    expect(await during(made.clock, one)).toMatchObject({ code: 'CANCELLED' })
    const other = tool.replay({ all: true }, { ratePerSecond: 1 }).catch((error: unknown) => error)
    await pass(made.clock, 2_500)
    await during(made.clock, broker.close({ drainMs: 0 }))
    expect(await other).toMatchObject({ code: 'CLOSED' })
  })

  test('have moved whole portions when their signal ends them, and have told of each message', async () => {
    const made = world()
    const controller = new AbortController()
    let portions = 0
    // Given up while the second portion is on its way.
    const broker = await made.open((session) => ({
      ...session,
      publish(batch, signal) {
        const report = session.publish(batch, signal)
        if (batch.some(({ place }) => place.role === 'retry') && ++portions === 2) controller.abort()
        return report
      },
    }))
    let broken = true
    const email = await failing(made, broker, 'email', () => (broken ? 'broken' : undefined))
    await during(made.clock, broker.producer(orders).sendBatch(Array.from({ length: 40 }, (_, n) => ({ value: n, id: `m${n}` }))))
    await pass(made.clock, 1_000)
    broken = false
    const tool = broker.deadLetters(orders, 'email')
    let told = 0
    const options = {
      ratePerSecond: 100,
      signal: controller.signal,
      onProgress(count: number) {
        told = count
      },
    }
    expect(
      await during(
        made.clock,
        tool.replay({ all: true }, options).catch((error: unknown) => error),
      ),
    ).toMatchObject({
      code: 'CANCELLED',
    })
    expect(told).toBeGreaterThanOrEqual(2)
    expect(await listed(made.clock, tool.list())).toHaveLength(40 - told)
    expect(await during(made.clock, tool.replay({ all: true }))).toEqual({ replayed: 40 - told, left: 0 })
    await pass(made.clock, 1_000)
    expect(email.sort()).toEqual(Array.from({ length: 40 }, (_, n) => `m${n} 1`).sort())
  })

  test('waits for a server that is away for a while', async () => {
    const made = world()
    const broker = await made.open()
    let broken = true
    const email = await failing(made, broker, 'email', () => (broken ? 'broken' : undefined))
    await during(made.clock, broker.producer(orders).send(1, { id: 'a' }))
    await pass(made.clock, 1_000)
    broken = false
    made.server.signal('SIGKILL')
    const replay = broker.deadLetters(orders, 'email').replay({ all: true })
    await pass(made.clock, 3_000)
    made.server.start()
    expect(await during(made.clock, replay)).toEqual({ replayed: 1, left: 0 })
    await pass(made.clock, 15_000)
    expect(email).toEqual(['a 1'])
  })
})

describe('what is chosen must be said', () => {
  test.each<[string, unknown, string]>([
    ['nothing', undefined, 'nothing is chosen'],
    ['an empty choice', {}, 'nothing is chosen'],
    ['two choices', { all: true, ids: [] }, 'all and ids are given together'],
    ['all: false', { all: false }, '"all" must be true'],
    ['a misspelt choice', { id: ['a'] }, 'did you mean "ids"'],
    ['ids that are no texts', { ids: [5] }, 'a list in which each is a text'],
    ['a list', [], 'nothing is chosen'],
  ])('%s is refused', async (_, choice, words) => {
    const made = world()
    const tool = (await made.open()).deadLetters(orders, 'email')
    for (const run of [() => tool.replay(choice as never), () => tool.purge(choice as never)]) {
      await expect(run()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
      await expect(run()).rejects.toThrow(words)
    }
  })

  test('no ids move nothing', async () => {
    const made = world()
    const broker = await made.open()
    await failing(made, broker, 'email', () => 'broken')
    await during(made.clock, broker.producer(orders).send(1))
    await pass(made.clock, 1_000)
    const tool = broker.deadLetters(orders, 'email')
    expect(await during(made.clock, tool.replay({ ids: [] }))).toEqual({ replayed: 0, left: 1 })
    expect(await during(made.clock, tool.purge({ ids: [] }))).toEqual({ purged: 0 })
  })

  test('options are checked', async () => {
    const tool = (await world().open()).deadLetters(orders, 'email')
    expect(() => tool.list({ limt: 1 } as never)).toThrow('did you mean "limit"')
    await expect(tool.replay({ all: true }, { ratePerSecond: 0 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(tool.purge({ all: true }, { limit: 1 } as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

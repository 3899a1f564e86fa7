import { type Broker, type Message, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { type MemoryServer, memory, memoryServer } from '@posthorn/core/testing'
import { afterEach, describe, expect, test } from 'vitest'
import { delaySteps, laneFor, laneTransport, nextHop, withoutHop } from '../src/delay-lanes.ts'
import { partitionOf } from '../src/murmur2.ts'
import { type VirtualClock, virtualClock } from '../src/virtual-clock.ts'
import { pass, quiet } from './support/scripted.ts'

const ticks = topic('ticks', { schema: unchecked<{ n: number; user: string }>(), key: (value) => value.user, groups: ['email'] })
const plain = topic('plain', { schema: unchecked<number>(), groups: ['email'] })
const brokers: Broker[] = []
const clocks: VirtualClock[] = []

function world(profile: 'kafka' | 'mqtt' | 'redis' = 'kafka'): {
  readonly clock: VirtualClock
  readonly server: MemoryServer
  open(): Promise<Broker>
} {
  const clock = virtualClock()
  clocks.push(clock)
  const server = memoryServer({ profile, clock, capabilities: { delay: 'none' } })
  return {
    clock,
    server,
    async open() {
      const opening = connectWith({ clock, random: Math.random }, memory({ server }), { log: false, name: 'tests' })
      await pass(clock, 10)
      const broker = await opening
      brokers.push(broker)
      return broker
    },
  }
}
/** Moves the clock while something is awaited. */
async function during<T>(clock: VirtualClock, work: Promise<T>, ms = 60_000): Promise<T> {
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
afterEach(async () => {
  for (const [index, broker] of brokers.splice(0).entries()) {
    const clock = clocks[Math.min(index, clocks.length - 1)] as VirtualClock
    await during(clock, broker.close({ drainMs: 0 }))
  }
  clocks.length = 0
})

describe('lanes', () => {
  test('are nine, from a second to 18 hours', () => {
    expect(delaySteps).toEqual([1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000, 4_096_000, 16_384_000, 65_536_000])
  })

  test('the lane of a wait is the longest that is not longer', () => {
    expect([0, 999, 1_000, 3_999, 4_000, 65_535_999, 65_536_000, 1e12].map((ms) => laneFor(ms))).toEqual([0, 0, 0, 0, 1, 7, 8, 8])
  })

  test('a copy is never due early, and its hops never overshoot', () => {
    for (const wait of [1, 500, 999, 1_000, 5_001, 59_999, 3_600_000, 90_000_000]) {
      let now = 10_000
      const due = now + wait
      let transport = laneTransport(null, due, now, delaySteps[laneFor(wait)] ?? 0)
      for (let hops = 0; ; hops++) {
        expect(hops).toBeLessThan(60)
        const hop = nextHop(transport, now)
        if (hop.kind === 'due') break
        if (hop.kind === 'hold') {
          expect(hop.until).toBeGreaterThan(now)
          now = hop.until
        } else {
          expect(hop.due).toBe(due)
          transport = laneTransport(withoutHop(transport), due, now, delaySteps[hop.lane] ?? 0)
        }
        expect(now).toBeLessThanOrEqual(due)
      }
      expect(now).toBe(due)
    }
  })

  test('a copy whose due time cannot be read is due', () => {
    for (const transport of [null, {}, { 'ph-due': 'soon' }, { 'ph-due': '-5' }]) expect(nextHop(transport, 1)).toEqual({ kind: 'due' })
  })
})

describe.each(['kafka', 'redis'] as const)('delayed messages through lanes (%s)', (profile) => {
  test('come when they are due, not before, the shorter ones first, whole', async () => {
    const { clock, open } = world(profile)
    const broker = await open()
    const handled: { message: Message; at: number }[] = []
    await during(
      clock,
      broker.consume(ticks, { group: 'email' }, (message) => void handled.push({ message, at: clock.now() })),
    )
    const producer = broker.producer(ticks)
    const start = clock.now()
    const waits = [5_000, 100, 1_000, 30_000, 0]
    const headers = { own: 'yes' }
    await during(clock, Promise.all(waits.map((delayMs, n) => producer.send({ n, user: `u${n}` }, { delayMs, headers, id: `m${n}` }))))
    await pass(clock, 40_000)
    expect(handled.map(({ message }) => message.id)).toEqual(['m4', 'm1', 'm2', 'm0', 'm3'])
    for (const { message, at } of handled) {
      const wait = waits[(message.value as { n: number }).n] as number
      expect(at).toBeGreaterThanOrEqual(start + wait)
      expect(at).toBeLessThanOrEqual(start + wait + Math.max(500, wait / 10))
      expect(message).toMatchObject({ key: `u${(message.value as { n: number }).n}`, source: 'tests', attempt: 1, headers })
      expect(Object.keys(message.headers).filter((name) => name.startsWith('ph-'))).toEqual([])
    }
  })

  test('enter the partition of their key, once, for every group', async () => {
    const { clock, open } = world(profile)
    const broker = await open()
    const second = await open()
    const handled: string[] = []
    const positions: (string | undefined)[] = []
    for (const each of [broker, second]) {
      await during(clock, each.declare(ticks, { groups: ['push', 'audit'] }))
      for (const group of ['email', 'push', 'audit']) {
        await during(
          clock,
          each.consume(ticks, { group }, (message) => {
            handled.push(`${group} ${message.id}`)
            if (group === 'email') positions.push(`${message.key} ${message.position?.split(':')[0]}`)
          }),
        )
      }
    }
    await during(
      clock,
      Promise.all(
        Array.from({ length: 40 }, (_, n) => broker.producer(ticks).send({ n, user: `u${n % 8}` }, { delayMs: 2_500, id: `m${n}` })),
      ),
    )
    await pass(clock, 8_000)
    expect(handled).toHaveLength(120)
    expect(new Set(handled).size).toBe(120)
    expect([...new Set(positions)].sort()).toEqual(Array.from({ length: 8 }, (_, n) => `u${n} ${partitionOf(`u${n}`, 4)}`).sort())
  })

  test('survive the end of everybody, and are not repeated', async () => {
    const { clock, open } = world(profile)
    const first = await open()
    const early: string[] = []
    await during(
      clock,
      first.consume(plain, { group: 'email' }, (message) => void early.push(message.id)),
    )
    await during(clock, Promise.all(Array.from({ length: 20 }, (_, n) => first.producer(plain).send(n, { delayMs: 5_000, id: `m${n}` }))))
    await pass(clock, 2_000)
    await during(clock, first.close())
    brokers.splice(brokers.indexOf(first), 1)
    await pass(clock, 1_000)
    const late: string[] = []
    const second = await open()
    await during(
      clock,
      second.consume(plain, { group: 'email' }, (message) => void late.push(message.id)),
    )
    await pass(clock, 10_000)
    expect(early).toEqual([])
    expect(late.sort()).toEqual(Array.from({ length: 20 }, (_, n) => `m${n}`).sort())
  })

  test('of a process that is killed are moved on by another, each at most once too often', async () => {
    const { clock, server, open } = world(profile)
    const handled: string[] = []
    const victim = await open()
    const other = await open()
    for (const each of [victim, other])
      await during(
        clock,
        each.consume(plain, { group: 'email' }, (message) => void handled.push(message.id)),
      )
    await during(
      clock,
      Promise.all(Array.from({ length: 50 }, (_, n) => other.producer(plain).send(n, { delayMs: 1_500 + n * 10, id: `m${n}` }))),
    )
    await pass(clock, 1_750)
    server.links()[0]?.kill()
    await pass(clock, 40_000)
    const counts = new Map<string, number>()
    for (const id of handled) counts.set(id, (counts.get(id) ?? 0) + 1)
    expect(counts.size).toBe(50)
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(2)
    brokers.splice(brokers.indexOf(victim), 1)
  })

  test('many cost little: few are held, and undelayed ones pass', async () => {
    const { clock, server, open } = world(profile)
    const broker = await open()
    const handled: string[] = []
    await during(
      clock,
      broker.consume(plain, { group: 'email' }, (message) => void handled.push(message.id)),
    )
    const producer = broker.producer(plain, { maxBuffered: 5_000 })
    await during(clock, producer.sendBatch(Array.from({ length: 3_000 }, (_, n) => ({ value: n, delayMs: 60_000, id: `d${n}` }))))
    const timers = clock.pending()
    expect(timers).toBeLessThan(60)
    await pass(clock, 1_000)
    await during(clock, producer.send(0, { id: 'now' }))
    await quiet()
    expect(handled).toEqual(['now'])
    expect(server.read({ topic: 'plain', role: 'main', group: null }).length).toBeLessThanOrEqual(1)
    await pass(clock, 70_000)
    expect(handled).toHaveLength(3_001)
  })

  test('whose topic refuses them for a while stay, and come late instead of never', async () => {
    const { clock, server, open } = world(profile)
    const broker = await open()
    const handled: string[] = []
    await during(
      clock,
      broker.consume(plain, { group: 'email' }, (message) => void handled.push(message.id)),
    )
    await during(clock, broker.producer(plain).send(1, { delayMs: 1_000, id: 'a' }))
    server.deny('publish', 'plain')
    await pass(clock, 5_000)
    expect(handled).toEqual([])
    server.allow()
    await pass(clock, 40_000)
    expect(handled).toEqual(['a'])
  })

  test('follow a step of the wall clock, and nothing else does', async () => {
    const { clock, open } = world(profile)
    const broker = await open()
    const handled: string[] = []
    await during(
      clock,
      broker.consume(plain, { group: 'email' }, (message) => void handled.push(message.id)),
    )
    await during(clock, broker.producer(plain).send(1, { delayMs: 600_000, id: 'a' }))
    await pass(clock, 1_000)
    clock.stepWall(3_600_000)
    await pass(clock, 60_000)
    expect(handled).toEqual(['a'])
  })
})

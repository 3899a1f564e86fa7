// What the answers of a server mean, and what their absence does, on a server that answers as the test wants it.

import type { Assignment } from '@posthorn/core/adapter'
import { afterEach, expect, it } from 'vitest'
import { subscribeBroadcast } from '../src/broadcast.ts'
import type { Core, Tenant } from '../src/core.ts'
import { createEchoes } from '../src/echoes.ts'
import { type Link, openLink } from '../src/link.ts'
import { type Host, join } from '../src/membership.ts'
import { holdMover } from '../src/mover.ts'
import { type Settings, settingsOf } from '../src/options.ts'
import { createPublish } from '../src/publish.ts'
import { holdRetries } from '../src/retries.ts'
import { subscribeGroup } from '../src/subscribe.ts'
import { countMembers } from '../src/topology.ts'
import { forever, openWire, type Wire, type WireOptions } from '../src/wire.ts'
import {
  type Answer,
  clock,
  coreOf,
  type Heard,
  linked,
  never,
  nothingKnown,
  order,
  type Scripted,
  scripted,
  sourceOf,
  until,
} from './scripted.ts'

const servers: Scripted[] = []
const wires: Wire[] = []

afterEach(async () => {
  for (const each of wires.splice(0)) each.destroy()
  await Promise.all(servers.splice(0).map((each) => each.close()))
})

async function serve(answer?: (heard: Heard) => Answer): Promise<Scripted> {
  const one = await scripted(answer)
  servers.push(one)
  return one
}

async function dial(server: Scripted, over: Partial<WireOptions> = {}, signal = never): Promise<Wire> {
  const wire = await openWire(
    {
      settings: server.settings,
      clock,
      clientId: 'unit',
      clean: true,
      expirySeconds: 0,
      receiveMaximum: 10,
      acknowledge: 'at-once',
      onMessage: () => true,
      onEnd: () => {},
      ...over,
    },
    signal,
  )
  wires.push(wire)
  return wire
}

const published = (server: Scripted): readonly string[] => server.heard.filter(({ kind }) => kind === 'publish').map(({ topic }) => topic)

it('a publish that waited for the link does not overtake the making of the groups', async () => {
  const server = await serve()
  let wire: Wire | null = null
  let healing: Promise<void> | null = null
  let back = (_there: boolean): void => {}
  let healed = (): void => {}
  const main: Core['main'] = {
    get wire() {
      return wire
    },
    ready: () =>
      new Promise((resolve) => {
        back = resolve
      }),
    drop: () => {},
    hurry: () => {},
    close: () => Promise.resolve(),
  }
  const publish = createPublish(coreOf(server.settings, { main, records: nothingKnown }), () => healing)
  const report = publish([order('a')], never)
  wire = await dial(server)
  healing = new Promise((resolve) => {
    healed = () => {
      healing = null
      resolve()
    }
  })
  back(true)
  await wire.ping()
  expect(published(server)).toEqual([])
  healed()
  expect((await report).failures).toEqual([])
  expect(published(server)).toEqual(['orders/@0'])
})

const hostOf = (over: Partial<Host> = {}): Host => ({
  echoes: createEchoes(clock, 'unit'),
  released: () => {},
  closed: () => {},
  refused: () => {},
  aliveUntil: Number.POSITIVE_INFINITY,
  ...over,
})
const waiting = (role: string, group: string, name: string, partition: string): string =>
  `posthorn/${role}/${group}/orders/${name}/${Math.ceil(clock.now())}/${partition}`
const isClear = ({ kind, topic, payload }: Heard): boolean =>
  kind === 'publish' && payload === '' && /^posthorn\/(?:delay|retry|dead)\//.test(topic)

it('3.1.1: a control session with a name of its own does not stay at the server for ever', async () => {
  const server = await serve(() => 'goodbye')
  const settings = { ...server.settings, version: 4 as const }
  await expect(dial(server, { settings, clean: false, expirySeconds: 10 })).rejects.toThrow()
  await expect(dial(server, { settings, clean: false, expirySeconds: forever })).rejects.toThrow()
  expect(server.heard.map(({ isClean }) => isClean)).toEqual([true, false])
})

it('3.1.1: a presence that is not said anew is not believed, one whose clock is another is', async () => {
  const at = (said: number, holds: string): string => JSON.stringify({ seq: 1, holds: [holds], at: said })
  const retained = new Map([
    ['posthorn/member/email/orders/dead', at(clock.now() - 60_000, '0')],
    ['posthorn/member/email/orders/other-clock', at(clock.now() + 60_000, '1')],
    ['posthorn/member/email/orders/fresh', at(clock.now(), '2')],
  ])
  const records = {
    members: async () => [...retained].map(([topic, text]) => ({ topic, payload: Buffer.from(text) })),
    write: async (topic: string) => {
      retained.delete(topic)
      return 0
    },
  } as unknown as Core['records']
  const settings: Settings = { ...settingsOf({ protocol: '3.1.1' }), keepAliveMs: 50 }
  clock.timer(20, () => void retained.set('posthorn/member/email/orders/other-clock', at(clock.now() + 60_001, '1')))
  expect(await countMembers(coreOf(settings, { records }), 'orders', 'email', never)).toBe(2)
  expect([...retained.keys()].some((topic) => topic.endsWith('dead'))).toBe(false)
})

it('a retry whose clearing the server refuses is not settled: it comes again by another owner', async () => {
  const server = await serve((heard) => (isClear(heard) ? { reason: 0x97 } : undefined))
  let closed = 0
  const host = hostOf()
  const retries = await holdRetries(
    coreOf(server.settings),
    sourceOf('orders', 'email'),
    'email',
    { host, aliveUntil: () => Number.POSITIVE_INFINITY, released: () => {}, closed: () => void closed++ },
    never,
  )
  server.retain(waiting('retry', 'email', 'a', '-'), 'x')
  const [delivery] = await retries.owned.read(1)
  expect(await retries.owned.settle([delivery?.token])).toBe('unknown')
  expect(retries.owned.lost.aborted).toBe(true)
  expect(closed).toBe(1)
})

it('a delayed message whose clearing the server refuses is cleared again, not moved again', async () => {
  let refused = 0
  const server = await serve((heard) => (isClear(heard) && refused++ < 2 ? { reason: 0x97 } : undefined))
  const mover = await holdMover(coreOf(server.settings), 'orders', hostOf(), never)
  server.retain(waiting('delay', '-', 'a', '0'), 'x')
  await until('it is cleared', () => server.heard.filter(isClear).length === 3)
  expect(published(server).filter((topic) => topic === 'orders/@0')).toHaveLength(1)
  mover.end()
})

it('a way that is cut between the answers to the connection and to the subscription does not hang', async () => {
  const server = await serve(({ kind }) => (kind === 'subscribe' ? 'silence' : undefined))
  const began = performance.now()
  await expect(holdMover(coreOf(server.settings), 'orders', hostOf(), never)).rejects.toThrow(/did not answer a subscription/)
  expect(performance.now() - began).toBeLessThan(server.settings.connectMs * 3)
  await until('the socket is closed', () => server.sockets.size === 0)
})

it('an answer to a subscription may be late behind much that comes before it', async () => {
  const server = await serve(({ kind }) => (kind === 'subscribe' ? 'silence' : undefined))
  const wire = await dial(server)
  const subscribing = wire.subscribe([{ topic: 'orders', retained: false }])
  const began = performance.now()
  const come = (): void => {
    if (performance.now() - began > server.settings.connectMs * 2.5) for (const socket of server.sockets) socket.destroy()
    else {
      server.retain('orders', 'x')
      clock.timer(50, come)
    }
  }
  come()
  await expect(subscribing).rejects.toThrow(/closed/)
  expect(performance.now() - began).toBeGreaterThan(server.settings.connectMs * 2)
})

it('giving up drops a connection that waits for the answer to a subscription', async () => {
  const server = await serve(({ kind }) => (kind === 'subscribe' ? 'silence' : undefined))
  const ending = new AbortController()
  const link = openLink(
    {
      settings: { ...server.settings, connectMs: 60_000 },
      clock,
      random: Math.random,
      peers: new Set(),
      clientId: 'unit',
      clean: true,
      expirySeconds: 0,
      receiveMaximum: 10,
      acknowledge: 'at-once',
      onMessage: () => true,
      greet: (wire) => wire.subscribe([{ topic: 'orders', retained: false }]),
      onUp: () => {},
      onDown: () => {},
    },
    ending.signal,
  )
  await until('it is asked', () => server.heard.some(({ kind }) => kind === 'subscribe'))
  ending.abort()
  await expect(link).rejects.toThrow(/given up/)
  await until('the socket is closed', () => server.sockets.size === 0)
})

it('a link does not wait out its pause when another one of the process is back', async () => {
  const server = await serve()
  const peers = new Set<Link>()
  const backAt: number[] = []
  const links = await Promise.all(
    // Half a second until the first tries again, a second until the other one would.
    [0, 1].map((pause) =>
      openLink(
        {
          settings: server.settings,
          clock,
          random: () => pause,
          peers,
          clientId: `unit-${pause}`,
          clean: true,
          expirySeconds: 0,
          receiveMaximum: 10,
          acknowledge: 'at-once',
          onMessage: () => true,
          greet: async () => {},
          onUp: () => void backAt.push(performance.now()),
          onDown: () => {},
        },
        never,
      ),
    ),
  )
  for (const socket of [...server.sockets]) socket.destroy()
  await until('both are back', () => backAt.length === 4)
  expect((backAt[3] ?? 0) - (backAt[2] ?? 0)).toBeLessThan(250)
  await Promise.all(links.map((link) => link.close(true)))
  expect(peers.size).toBe(0)
})

it('a message that cannot be written gives its place in the window back', async () => {
  const server = await serve()
  const wire = await dial(server)
  const publish = createPublish(coreOf(server.settings, { main: linked(wire), records: nothingKnown }), () => null)
  const { failures } = await publish([order('a', { headers: { long: 'x'.repeat(70_000) } }), order('b')], never)
  expect(failures.map(({ index, outcome }) => [index, outcome])).toEqual([[0, 'failed']])
  expect(wire.pending).toBe(0)
})

it('what lies among the delayed messages and is none of ours is told once, stays, and holds nothing up', async () => {
  const server = await serve()
  const told: string[] = []
  const core = coreOf(server.settings)
  const event = (name: string): void => void told.push(name)
  const mover = await holdMover({ ...core, context: { ...core.context, event } }, 'orders', hostOf(), never)
  server.retain(waiting('delay', '-', 'strange', '0'), 'x', null)
  server.retain(waiting('delay', '-', 'ours', '0'), 'x')
  await until('ours is cleared', () => server.heard.some(isClear))
  expect(server.heard.filter(isClear).map(({ topic }) => topic.includes('/ours/'))).toEqual([true])
  expect(told).toEqual(['blocked'])
  mover.end()
})

it('an acknowledgement of a broadcast whose way is cut is not called settled', async () => {
  let cut = false
  const server = await serve(({ kind }) => (cut && kind === 'ping' ? 'goodbye' : undefined))
  const leaving = new AbortController()
  const records = { look: async () => ({ partitions: 1, groups: new Map() }) } as unknown as Core['records']
  const tenants: Tenant[] = []
  const core = coreOf(server.settings, { records, enter: (tenant) => void tenants.push(tenant) })
  const assignments = await subscribeBroadcast(core, sourceOf('orders', 'screen', { kind: 'broadcast' }), leaving.signal)
  const first = await assignments[Symbol.asyncIterator]().next()
  const mine: Assignment = first.value
  server.retain('orders/@0', 'x')
  const [sure] = await mine.read(1)
  expect(await mine.settle([sure?.token])).toBe('settled')
  server.retain('orders/@0', 'y')
  const [unsure] = await mine.read(1)
  cut = true
  expect(await mine.settle([unsure?.token])).toBe('unknown')
  await Promise.all(tenants.map((tenant) => tenant.end(true)))
})

it('a publish that is given up while it waits for room in the window ends at once', async () => {
  const server = await serve(({ kind }) => (kind === 'publish' ? 'silence' : undefined))
  const wire = await dial(server, { settings: { ...server.settings, window: 1 } })
  const publish = createPublish(coreOf(server.settings, { main: linked(wire), records: nothingKnown }), () => null)
  const ending = new AbortController()
  const report = publish([order('a'), order('b'), order('c')], ending.signal)
  await until('the first is sent', () => published(server).length === 1)
  ending.abort()
  expect((await report).failures.map(({ outcome }) => outcome)).toEqual(['unknown', 'unknown', 'unknown'])
})

it('a close that is aborted while it says goodbye drops the sockets at once', async () => {
  const server = await serve(({ kind, payload }) => (kind === 'publish' && payload === '' ? 'silence' : undefined))
  const records = { look: async () => ({ partitions: 1, groups: new Map([['email', 1]]) }) } as unknown as Core['records']
  const tenants: Tenant[] = []
  const core = coreOf(server.settings, { records, enter: (tenant) => void tenants.push(tenant) })
  await subscribeGroup(core, sourceOf('orders', 'email'), never)
  const began = performance.now()
  const polite = tenants[0]?.end(false)
  await tenants[0]?.end(true)
  await polite
  await until('the sockets are closed', () => server.sockets.size === 0)
  expect(performance.now() - began).toBeLessThan(300)
})

it.each([
  ['group', subscribeGroup],
  ['broadcast', subscribeBroadcast],
] as const)('a session that is closed while somebody joins a %s leaves no connection behind', async (kind, subscribe) => {
  let closed = false
  const server = await serve((heard) => {
    closed ||= heard.kind === 'connect'
    return undefined
  })
  const records = { look: async () => ({ partitions: 1, groups: new Map([['email', 1]]) }) } as unknown as Core['records']
  const core = Object.defineProperty(coreOf(server.settings, { records }), 'closed', { get: () => closed })
  await expect(subscribe(core, sourceOf('orders', 'email', { kind }), never)).rejects.toThrow(/closed/)
  await until('the sockets are closed', () => server.sockets.size === 0)
})

it('a quota that is used up for a moment does not end a member', async () => {
  let refused = 0
  const server = await serve(({ kind, topic }) =>
    kind === 'publish' && topic.startsWith('posthorn/member/') && refused++ === 0 ? { reason: 0x97 } : undefined,
  )
  const failures: unknown[] = []
  const membership = await join(
    coreOf(server.settings),
    {
      topic: 'orders',
      group: 'email',
      slots: [],
      hold: () => Promise.reject(new Error('nothing to hold')),
      left: () => {},
      failed: (error) => void failures.push(error),
    },
    never,
  )
  await until('it is said again', () => refused > 1)
  expect(failures).toEqual([])
  await membership.end(true)
})

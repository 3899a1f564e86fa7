// A real server for a file of tests, and a session on it at the level of the contract.

import { createServer, type Socket, connect as tcp } from 'node:net'
import { until } from '@posthorn/conformance/live'
import type { Adapter, AdapterContext, Assignment, Content, Delivery, Outgoing, Session, Source, TopicPlan } from '@posthorn/core/adapter'
import { type RedisOptions, redis } from '@posthorn/redis'
import { Redis } from 'ioredis'
import { describe } from 'vitest'
import { findBroker } from '../../../../tools/brokers/index.mjs'

const found = await findBroker('redis')

/** Tests that need a server; without one they are skipped, and their title says why. */
export const describeLive: (name: string, body: () => void) => void = (name, body) =>
  describe.skipIf(!found.available)(found.available ? name : `${name} [no server: ${found.reason.split('\n')[0] ?? ''}]`, body)

export interface Seen {
  readonly name: string
  readonly detail: Parameters<AdapterContext['event']>[1]
}
export interface Opened {
  readonly adapter: Adapter
  readonly session: Session
  readonly events: Seen[]
  readonly states: string[]
  /** Timers of the session that are set. */
  readonly timers: ReadonlySet<unknown>
}

let instances = 0

/** Opens a session as core would. */
export async function open(options: RedisOptions): Promise<Opened> {
  const adapter = redis({ leaseMs: 2000, ...options })
  const events: Seen[] = []
  const states: string[] = []
  const timers = new Set<unknown>()
  const session = await adapter.open(
    {
      clock: {
        now: () => Date.now(),
        monotonic: () => performance.now(),
        timer(ms, run) {
          const timer = setTimeout(() => {
            timers.delete(timer)
            run()
          }, ms)
          timers.add(timer)
          return () => {
            timers.delete(timer)
            clearTimeout(timer)
          }
        },
      },
      random: Math.random,
      instance: `member-${++instances}`,
      name: 'live tests',
      report: (state) => void states.push(state),
      event: (name, detail) => void events.push({ name, detail }),
    },
    new AbortController().signal,
  )
  return { adapter, session, events, states, timers }
}

export const never: AbortSignal = new AbortController().signal

export const plan = (name: string, over: Partial<TopicPlan> = {}): TopicPlan => ({
  name,
  keyed: true,
  partitions: 1,
  retentionMs: null,
  groups: [{ name: 'workers', start: 'earliest' }],
  delays: [],
  create: true,
  native: undefined,
  ...over,
})

const attributes = Object.freeze({ specversion: '1.0', source: 'test', type: 'test', datacontenttype: 'application/octet-stream' })

export const message = (topic: string, id: string, over: Partial<Outgoing> = {}): Outgoing => ({
  id,
  key: null,
  body: Buffer.from(id),
  time: null,
  expiresAt: null,
  attributes,
  headers: null,
  transport: null,
  place: { topic, role: 'main', group: null },
  partition: 0,
  delayMs: 0,
  slot: null,
  ...over,
})

export const source = (topic: string, over: Partial<Source> = {}): Source => ({
  topic,
  kind: 'group',
  group: 'workers',
  keyed: true,
  settleFirst: false,
  atomic: false,
  handOverMs: 5000,
  maxUnsettled: 256,
  maxBytes: 1_048_576,
  native: undefined,
  ...over,
})

/** Assignments as they come, and the way to leave. */
export interface Membership {
  readonly all: Assignment[]
  leave(): Promise<void>
}

/** Becomes a member; every assignment that is asked to leave is released at once. */
export async function join(session: Session, wanted: Source): Promise<Membership> {
  const stop = new AbortController()
  const all: Assignment[] = []
  const assignments = await session.subscribe(wanted, stop.signal)
  const ended = (async () => {
    for await (const assignment of assignments) {
      all.push(assignment)
      const release = (): void => void assignment.release()
      if (assignment.leaving.aborted) release()
      else assignment.leaving.addEventListener('abort', release, { once: true })
    }
  })()
  return {
    all,
    async leave() {
      stop.abort()
      await ended
    },
  }
}

/** The assignment of this role that is not over, as soon as there is one. */
export async function assignment(member: Membership, role: 'main' | 'retry' = 'main'): Promise<Assignment> {
  return until(`an assignment of ${role}`, () => member.all.find((each) => each.role === role && !each.lost.aborted))
}

/** So many deliveries, in order. */
export async function take(from: Assignment, count: number): Promise<Delivery[]> {
  const taken: Delivery[] = []
  while (taken.length < count) {
    const some = await within(10_000, `delivery ${taken.length + 1} of ${count}`, from.read(count - taken.length))
    if (some.length === 0) throw new Error(`the assignment ended after ${taken.length} of ${count} deliveries`)
    taken.push(...some)
  }
  return taken
}

export function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export function content(delivery: Delivery | undefined): Omit<Content, 'id'> & { readonly id: string | null } {
  const given = delivery?.content
  if (given === undefined || 'undecodable' in given) throw new Error('not a readable delivery')
  return given
}
export const idsOf = (deliveries: readonly Delivery[]): (string | null)[] => deliveries.map((each) => content(each).id)

/** A plain client, to look and to meddle with. */
export async function witness(url: string): Promise<Redis> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0 })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** A way to the server that a test can cut, silence, or whose answers it can drop. */
export interface Relay {
  readonly url: string
  /** Answers vanish; what was asked is done. */
  dropAnswers: boolean
  /** Nothing goes either way; the connections stay open. */
  silent: boolean
  cut(): void
  close(): Promise<void>
}

export async function relay(port: number): Promise<Relay> {
  const sockets = new Set<Socket>()
  const state = { dropAnswers: false, silent: false }
  const server = createServer((down) => {
    const up = tcp(port, '127.0.0.1')
    for (const each of [down, up]) {
      sockets.add(each)
      each.on('error', () => {})
      each.on('close', () => {
        sockets.delete(each)
        down.destroy()
        up.destroy()
      })
    }
    down.on('data', (bytes) => {
      if (!state.silent) up.write(bytes)
    })
    up.on('data', (bytes) => {
      if (!state.silent && !state.dropAnswers) down.write(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const at = typeof address === 'object' && address !== null ? address.port : 0
  return Object.assign(state, {
    url: `redis://127.0.0.1:${at}`,
    cut() {
      for (const each of [...sockets]) each.destroy()
    },
    async close() {
      for (const each of [...sockets]) each.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

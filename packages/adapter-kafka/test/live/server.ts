// A real server for a file of tests, and a session on it at the level of the contract.

import { createServer, type Socket, connect as tcp } from 'node:net'
import { until } from '@posthorn/conformance/live'
import type { Adapter, AdapterContext, Assignment, Content, Delivery, Outgoing, Session, Source, TopicPlan } from '@posthorn/core/adapter'
import { type KafkaOptions, kafka } from '@posthorn/kafka'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { describe } from 'vitest'
import { findBroker } from '../../../../tools/brokers/index.mjs'

const found = await findBroker('kafka')

/** Tests that need a server; without one they are skipped, and their title says why. */
export const describeLive: (name: string, body: () => void) => void = (name, body) =>
  describe.skipIf(!found.available)(found.available ? name : `${name} [no server: ${found.reason.split('\n')[0] ?? ''}]`, body)

/** Tests that need its disk and its programs as well: not for a server that somebody else runs. */
export const describeOwn: typeof describeLive = (name, body) => {
  const foreign = found.available && found.source === 'external'
  return foreign ? describe.skipIf(foreign)(`${name} [the server is not ours]`, body) : describeLive(name, body)
}

export interface Seen {
  readonly name: string
  readonly detail: Parameters<AdapterContext['event']>[1]
}
export interface Opened {
  readonly adapter: Adapter
  readonly session: Session
  readonly events: Seen[]
  readonly states: string[]
}

let instances = 0

/** Opens a session as core would. */
export async function open(options: KafkaOptions): Promise<Opened> {
  const port = new URL((options.url ?? 'kafka://x').replace(/^kafka:/, 'http:')).host
  const adapter = kafka({ sessionTimeoutMs: 2000, reach: () => port, ...options })
  const events: Seen[] = []
  const states: string[] = []
  const session = await adapter.open(
    {
      clock: {
        now: () => Date.now(),
        monotonic: () => performance.now(),
        timer(ms, run) {
          const timer = setTimeout(run, ms)
          return () => clearTimeout(timer)
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
  return { adapter, session, events, states }
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
export function plain(url: string): Kafka {
  return new Kafka({
    brokers: [url.replace(/^kafka:\/\//, '')],
    logLevel: logLevel.NOTHING,
    retry: { retries: 20, initialRetryTime: 50, maxRetryTime: 500 },
  })
}

/** Looks and meddles. */
export async function witness(url: string): Promise<Admin> {
  const admin = plain(url).admin()
  await admin.connect()
  return admin
}

/** Where a group is, by partition. */
export async function positions(admin: Admin, groupId: string, topic: string): Promise<readonly number[]> {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return [...(found?.partitions ?? [])].sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset))
}

/** The ids of all that lies in a topic and is committed, partition by partition. */
export async function stored(url: string, admin: Admin, topic: string): Promise<readonly (readonly string[])[]> {
  const ends = await admin.fetchTopicOffsets(topic)
  const ids: string[][] = ends.map(() => [])
  const left = new Map(ends.filter(({ offset }) => Number(offset) > 0).map(({ partition, offset }) => [partition, Number(offset)]))
  if (left.size === 0) return ids
  const consumer = plain(url).consumer({ groupId: `look-${Math.random()}`, maxWaitTimeInMs: 50 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${topic} was not read to its end`)), 20_000)
    void consumer.run({
      autoCommit: false,
      async eachBatch({ batch }) {
        for (const { headers } of batch.messages) ids[batch.partition]?.push(String(headers?.['ce_id'] ?? ''))
        const end = left.get(batch.partition)
        if (end !== undefined && Number(batch.lastOffset()) >= end - 1) left.delete(batch.partition)
        if (left.size > 0) return
        clearTimeout(late)
        resolve()
      },
    })
  })
  await consumer.disconnect()
  return ids
}

/** A way to the server that a test can cut, silence, or whose answers it can drop. */
export interface Relay {
  readonly url: string
  /** Answers vanish; what was asked is done. */
  dropAnswers: boolean
  /** Nothing goes either way; the connections stay open. */
  silent: boolean
  /** Called with the API number of each request before it goes on, and a way to end its connection; what follows it waits. */
  before: ((api: number, end: () => void) => Promise<void>) | null
  cut(): void
  close(): Promise<void>
}

export async function relay(port: number): Promise<Relay> {
  const sockets = new Set<Socket>()
  const state: { dropAnswers: boolean; silent: boolean; before: Relay['before'] } = { dropAnswers: false, silent: false, before: null }
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
    let rest = Buffer.alloc(0)
    let passing: Promise<void> = Promise.resolve()
    down.on('data', (bytes) => {
      if (state.silent) return
      rest = Buffer.concat([rest, bytes])
      while (rest.length >= 8 && rest.length >= 4 + rest.readInt32BE(0)) {
        const frame = rest.subarray(0, 4 + rest.readInt32BE(0))
        rest = rest.subarray(frame.length)
        passing = passing.then(async () => {
          await state.before?.(frame.readInt16BE(4), () => down.destroy())
          up.write(frame)
        })
      }
    })
    up.on('data', (bytes) => {
      if (!state.silent && !state.dropAnswers) down.write(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const at = typeof address === 'object' && address !== null ? address.port : 0
  return Object.assign(state, {
    url: `kafka://127.0.0.1:${at}`,
    cut() {
      for (const each of [...sockets]) each.destroy()
    },
    async close() {
      for (const each of [...sockets]) each.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

// A session on a real server at the level of the contract, as core would hold it, for the live tests of an adapter: what it reports is
// kept, and topics, messages and members are made in one line.

import type { Adapter, AdapterContext, Assignment, Content, Delivery, Outgoing, Session, Source, TopicPlan } from '@posthorn/core/adapter'
import { realClock } from './clock.ts'
import { until, within } from './live-until.ts'
import { seeded } from './random.ts'

/** An open session, and what it has told. */
export interface Opened {
  readonly adapter: Adapter
  readonly session: Session
  readonly events: { readonly name: string; readonly detail: Parameters<AdapterContext['event']>[1] }[]
  readonly states: string[]
  /** Timers of the session that are set. */
  readonly timers: ReadonlySet<unknown>
}

/** A signal that nobody aborts. */
export const never: AbortSignal = new AbortController().signal

// Members of two processes that share a server have different names.
let instances = process.pid * 1000

/** Opens a session on real time, for a process of its own by name. Rejects as `open` of the adapter does. */
export async function openSession(adapter: Adapter): Promise<Opened> {
  instances++
  const events: Opened['events'] = []
  const states: string[] = []
  const timers = new Set<unknown>()
  const context: AdapterContext = {
    clock: {
      ...realClock,
      timer(ms, run) {
        const cancel = realClock.timer(ms, () => {
          timers.delete(cancel)
          run()
        })
        timers.add(cancel)
        return () => {
          timers.delete(cancel)
          cancel()
        }
      },
    },
    random: seeded(instances),
    instance: `member-${instances}`,
    name: 'live tests',
    report: (state) => void states.push(state),
    event: (name, detail) => void events.push({ name, detail }),
  }
  return { adapter, session: await adapter.open(context, new AbortController().signal), events, states, timers }
}

/** A topic to declare: keyed, of one partition, with the group `workers` from the beginning. */
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

/** A message to publish: its id is its body, its place partition 0 of the topic. */
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

/** What to subscribe to: a keyed topic, as a member of the group `workers`. */
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

/** So many deliveries, in order, each within 10 s. */
export async function take(from: Assignment, count: number): Promise<Delivery[]> {
  const taken: Delivery[] = []
  while (taken.length < count) {
    const some = await within(10_000, `delivery ${taken.length + 1} of ${count}`, from.read(count - taken.length))
    if (some.length === 0) throw new Error(`the assignment ended after ${taken.length} of ${count} deliveries`)
    taken.push(...some)
  }
  return taken
}

/** What a delivery holds. @throws Error where it cannot be read, or there is none */
export function content(delivery: Delivery | undefined): Omit<Content, 'id'> & { readonly id: string | null } {
  const given = delivery?.content
  if (given === undefined || 'undecodable' in given) throw new Error('not a readable delivery')
  return given
}

/** The ids of deliveries, in order. */
export const idsOf = (deliveries: readonly Delivery[]): (string | null)[] => deliveries.map((each) => content(each).id)

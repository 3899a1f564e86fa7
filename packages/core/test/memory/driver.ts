// Drives sessions of the embedded broker under a virtual clock, without core.

import { setImmediate } from 'node:timers/promises'
import type { AdapterContext, Assignment, Delivery, Outgoing, Place, Received, Session, Source, TopicPlan } from '../../src/contract.ts'
import type { MemoryServer, MemoryServerOptions } from '../../src/memory/index.ts'
import { memory, memoryServer } from '../../src/memory/index.ts'
import type { VirtualClock } from '../../src/virtual-clock.ts'
import { virtualClock } from '../../src/virtual-clock.ts'

export interface Client {
  readonly session: Session
  readonly instance: string
  readonly statuses: string[]
  readonly events: { readonly name: string; readonly count?: number }[]
}

export interface Consumer {
  readonly client: Client
  /** Every assignment ever yielded. */
  readonly assignments: Assignment[]
  readonly leave: () => void
  readonly ended: () => boolean
  readonly failure: () => unknown
  /** Those that are not over. */
  owned(): Assignment[]
}

export interface World {
  readonly clock: VirtualClock
  readonly server: MemoryServer
  client(instance?: string): Promise<Client>
  /** Lets everything that is due now happen. */
  calm(): Promise<void>
  /** Moves the clock. */
  pass(ms: number): Promise<void>
}

export const never: AbortSignal = new AbortController().signal

export function world(options: MemoryServerOptions = {}): World {
  const clock = virtualClock()
  const server = memoryServer({ clock, ...options })
  const adapter = memory({ server })
  let made = 0
  const calm = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn++) await setImmediate()
  }
  const pass = async (ms: number): Promise<void> => {
    const until = clock.monotonic() + ms
    let reached = false
    clock.timer(ms, () => {
      reached = true
    })
    await calm()
    while (!reached && clock.monotonic() < until && clock.step()) await calm()
    while (!reached && clock.step()) await calm()
  }
  return {
    clock,
    server,
    calm,
    pass,
    async client(instance = `client-${++made}`) {
      const statuses: string[] = []
      const events: { name: string; count?: number }[] = []
      const context: AdapterContext = {
        clock,
        random: () => 0.5,
        instance,
        name: instance,
        report: (status) => statuses.push(status),
        event: (name, { count }) => events.push({ name, ...(count === undefined ? {} : { count }) }),
      }
      const session = await adapter.open(context, never)
      return { session, instance, statuses, events }
    },
  }
}

export const main = (topic: string): Place => ({ topic, role: 'main', group: null })

export const plan = (name: string, groups: readonly string[], more: Partial<TopicPlan> = {}): TopicPlan => ({
  name,
  keyed: true,
  partitions: null,
  retentionMs: null,
  groups: groups.map((group) => ({ name: group, start: 'earliest' })),
  delays: [],
  create: true,
  native: null,
  ...more,
})

export const text = (body: Uint8Array | null | undefined): string => (body == null ? 'null' : Buffer.from(body).toString())

export const outgoing = (place: Place, id: string, more: Partial<Outgoing> = {}): Outgoing => ({
  place,
  id,
  key: null,
  body: Buffer.from(id),
  time: null,
  expiresAt: null,
  attributes: {},
  headers: null,
  transport: null,
  partition: 0,
  delayMs: 0,
  slot: null,
  ...more,
})

export async function send(client: Client, place: Place, ids: readonly string[], more: Partial<Outgoing> = {}): Promise<void> {
  const report = await client.session.publish(
    ids.map((id) => outgoing(place, id, more)),
    never,
  )
  if (report.failures.length > 0) throw report.failures[0]?.error
}

export const source = (topic: string, group: string | null, more: Partial<Source> = {}): Source => ({
  topic,
  kind: 'group',
  group,
  keyed: true,
  settleFirst: false,
  atomic: false,
  handOverMs: 10_000,
  maxUnsettled: 256,
  maxBytes: 1_048_576,
  native: null,
  ...more,
})

export async function consume(client: Client, wanted: Source, yielded: (assignment: Assignment) => void = () => {}): Promise<Consumer> {
  const leaving = new AbortController()
  const assignments: Assignment[] = []
  let ended = false
  let failure: unknown = null
  const iterable = await client.session.subscribe(wanted, leaving.signal)
  void (async () => {
    try {
      for await (const assignment of iterable) {
        assignments.push(assignment)
        yielded(assignment)
      }
    } catch (error) {
      failure = error
    }
    ended = true
  })()
  return {
    client,
    assignments,
    leave: () => leaving.abort(),
    ended: () => ended,
    failure: () => failure,
    owned: () => assignments.filter((assignment) => !assignment.lost.aborted),
  }
}

export const idOf = (delivery: Delivery): string | null => (delivery.content as Received).id
export const ids = (deliveries: readonly Delivery[]): (string | null)[] => deliveries.map(idOf)
export const tokens = (deliveries: readonly Delivery[]): unknown[] => deliveries.map((delivery) => delivery.token)

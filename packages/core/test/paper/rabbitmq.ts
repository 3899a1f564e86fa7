// Paper adapter for RabbitMQ (protocol C): checks that the contract can carry single-active-consumer queues, shared queues,
// acknowledgements without replies and dead letters in a queue. Never run, no client library. Type-checked through `test` by
// `npx tsc -p packages/core/tsconfig.test.json --noEmit`.
import type {
  Adapter,
  AdapterContext,
  Assignment,
  Capabilities,
  Delivery,
  Outgoing,
  Place,
  PublishFailure,
  Received,
  Session,
  Source,
  TopicPlan,
} from '../../src/contract.ts'

type Frame = {
  readonly tag: number
  readonly redelivered: boolean
  readonly deliveryCount: number
  readonly routingKey: string
  readonly content: Received
}
type QueueArguments = Readonly<Record<string, string | number | boolean>>

/** One channel: prefetch, consume, ack; its close requeues what is open, in order, before newer messages. */
export interface ChannelPort {
  prefetch(count: number): Promise<void>
  consume(queue: string, onFrame: (frame: Frame | null) => void): Promise<void>
  get(queue: string): Promise<Frame | null>
  ack(tag: number, multiple: boolean): void
  /** Any synchronous method: proves that the server read every ack written before it. */
  roundTrip(): Promise<void>
  readonly closed: AbortSignal
  close(): Promise<void>
}
export interface ConnectionPort {
  channel(): Promise<ChannelPort>
  exchange(name: string, kind: 'direct' | 'fanout', args: QueueArguments): Promise<void>
  queue(name: string, args: QueueArguments): Promise<void>
  /** Passive; null: 404. It cannot list queues or bindings. */
  look(queue: string): Promise<{ readonly ready: number; readonly consumers: number } | null>
  bind(queue: string, exchange: string, routingKey: string): Promise<void>
  /** Persistent, mandatory. `returned`: reached no queue. Rejects when the confirm never came. */
  confirm(exchange: string, routingKey: string, message: Outgoing): Promise<'ack' | 'nack' | 'returned'>
  /** Monotonic time of the last own write. */
  wroteAt(): number
  readonly heartbeatMs: number
  close(): Promise<void>
}
type Connect = (name: string, purpose: 'publish' | 'consume', signal: AbortSignal) => Promise<ConnectionPort>

const best: Capabilities = {
  settlement: 'each',
  retention: 'queue',
  positions: 'none',
  attempts: 'native',
  // Waiting is by TTL queues of fixed steps. A delay that is no step needs several hops, and hopping is core's work: so the
  // server's queues serve as core's lanes. Unlike what the contract says of a lane, what such a one hands out has waited already.
  delay: 'none',
  replay: 'none',
  forward: 'none',
  unroutable: 'reported',
  headers: 'native',
  limits: { messageBytes: 16 << 20, batch: 500, batches: 8, holdMs: 30 * 60_000, unsettled: 2000, delayMs: 3 * 4 ** 8 * 1000 },
}

export function rabbitmqOnPaper(connect: Connect): Adapter {
  return {
    name: 'rabbitmq',
    best,
    open: async (context, signal) =>
      session(await connect(context.name, 'publish', signal), await connect(context.name, 'consume', signal), context), // an alarm blocks a whole connection
    explain: (error) =>
      error === 'returned'
        ? { code: 'NOT_FOUND', retryable: false, outcome: 'failed' }
        : { code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' },
  }
}

function session(out: ConnectionPort, into: ConnectionPort, context: AdapterContext): Session {
  const plans = new Map<string, TopicPlan>() // `publish` gets no `keyed` and no native exchange name: only the declared plan has them
  const pages = new Map<string, ChannelPort>() // a browse under way holds its pages unacknowledged on a channel of its own
  return {
    capabilities: best,
    client: out,
    declare: async ({ topics }) =>
      Promise.all(
        topics.map(async (plan) => {
          const partitions = plan.keyed ? (plan.partitions ?? 4) : 1
          const created: string[] = []
          for (const group of plan.groups) {
            // assertQueue does not say who made it: look before, so `created` is a good guess
            const queues = plan.keyed
              ? Array.from({ length: partitions }, (_, p) => `${plan.name}__${group.name}:${p}`)
              : [`${plan.name}__${group.name}`]
            const there = await Promise.all(queues.map((name) => into.look(name)))
            if (there.every((found) => found !== null)) continue
            if (!plan.create) throw new Error('NOT_FOUND')
            await declareGroup(into, plan, group.name, partitions)
            created.push(group.name)
          }
          plans.set(plan.name, plan)
          return { name: plan.name, partitions, groups: plan.groups.map(({ name }) => name), created } // other groups cannot be seen over AMQP
        }),
      ),
    publish: async (batch) => {
      const failures: PublishFailure[] = []
      await Promise.all(
        batch.map(async (message, index) => {
          // written in this order, confirmed in any
          const { exchange, key } = route(message, plans.get(message.place.topic)?.keyed ?? false)
          const result = await out.confirm(exchange, key, message).catch((error: unknown) => ({ error }))
          if (result !== 'ack') failures.push({ index, outcome: result === 'returned' ? 'failed' : 'unknown', error: result })
        }),
      )
      return { failures, position: () => null }
    },
    subscribe: async (source, signal) => consume(into, context, source, signal),
    browse: async (place, after, max) => {
      const id = after ?? context.instance + context.random().toString(36)
      const channel = pages.get(id) ?? (await into.channel())
      pages.set(id, channel) // closed after the last page, or after 30 s without a next one: everything is back, in order
      const frames: Frame[] = []
      for (let frame = await channel.get(deadQueue(place)); frame; frame = frames.length < max ? await channel.get(deadQueue(place)) : null)
        frames.push(frame)
      // A queue cannot replace: entries of one slot are shown once (header ph-slot), and removed together.
      return { entries: frames.map((frame) => delivery(frame, id)), next: frames.length < max ? null : id }
    },
    remove: async (_place, entries) => {
      for (const { token } of entries) {
        const { browse, tag } = token as Token
        const channel = pages.get(browse)
        if (!channel || channel.closed.aborted) return 'stale'
        channel.ack(tag, false)
      }
      return 'settled'
    },
    inspect: async (topic, group) => {
      const found = await into.look(`${topic}__${group}`)
      const members = await into.look(`${topic}__${group}__members`)
      return { backlog: found?.ready ?? null, unsettled: null, members: members?.consumers ?? null } // AMQP does not tell what is unacknowledged
    },
    close: async () => {
      await Promise.all([out.close(), into.close()])
    },
  }
}

async function declareGroup(link: ConnectionPort, plan: TopicPlan, group: string, partitions: number): Promise<void> {
  const quorum = { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 }
  const foreign = `${plan.name}__foreign__p${partitions}`
  await link.exchange(foreign, 'fanout', {})
  await link.exchange(plan.name, plan.keyed ? 'direct' : 'fanout', plan.keyed ? { 'alternate-exchange': foreign } : {}) // another count: 406, CONFLICT
  for (let p = 0; p < partitions; p++) {
    const queue = plan.keyed ? `${plan.name}__${group}:${p}` : `${plan.name}__${group}`
    await link.queue(queue, plan.keyed ? { ...quorum, 'x-single-active-consumer': true } : quorum)
    await link.bind(queue, plan.name, String(p))
    await link.bind(queue, `${plan.name}__${group}`, String(p)) // the group's own exchange: retries, replays
  }
  for (const [step, ms] of plan.delays.entries()) // each retry lane lets go into the group, each delay lane into the forwarder's queue
    for (const [lane, next] of [
      [`${plan.name}__${group}__retry__${step}`, `${plan.name}__${group}`],
      [`${plan.name}__delay__${step}`, `${plan.name}__delay`],
    ] as const)
      await link.queue(lane, {
        ...quorum,
        'x-message-ttl': ms,
        'x-dead-letter-exchange': next,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
      })
  await link.queue(`${plan.name}__${group}__dead`, quorum)
}

function route({ place, partition }: Outgoing, keyed: boolean): { readonly exchange: string; readonly key: string } {
  // Into a lane, `partition` is the step; the key's partition is computed again by core when the message leaves it.
  if (place.role === 'dead') return { exchange: '', key: deadQueue(place) }
  if (place.role === 'main') return { exchange: place.topic, key: keyed ? String(partition) : '' }
  return {
    exchange: '',
    key: place.role === 'retry' ? `${place.topic}__${place.group}__retry__${partition}` : `${place.topic}__delay__${partition}`,
  }
}
const deadQueue = (place: Place): string => `${place.topic}__${place.group}__dead`

/** One channel per partition queue. The assignment begins with the first frame (there is no other notice) and ends with the channel. */
async function* consume(link: ConnectionPort, context: AdapterContext, source: Source, signal: AbortSignal): AsyncGenerator<Assignment> {
  const partitions = source.kind === 'group' && source.keyed ? [0, 1, 2, 3] : [null]
  const begun: Promise<Owned>[] = partitions.map((p) => start(link, context, source, p))
  const open: Owned[] = []
  for (const next of begun) {
    // the real one yields in the order in which they begin, consumes again after release, and ends politely
    if (signal.aborted) break
    const owned = await next
    open.push(owned)
    yield owned
    const members = await link.look(`${source.topic}__${source.group}__members`) // balance, every 5 s with jitter
    if (open.length > Math.ceil(partitions.length / Math.max(1, members?.consumers ?? 1))) open.pop()?.leave.abort()
  }
  for (const { leave } of open) leave.abort() // heartbeats go on: consuming ends with each release, then the member's consumer
}

type Token = { readonly browse: string; readonly tag: number }
type Owned = Assignment & { readonly leave: AbortController }

async function start(link: ConnectionPort, context: AdapterContext, source: Source, partition: number | null): Promise<Owned> {
  const leave = new AbortController()
  const channel = await link.channel()
  const buffer: Frame[] = []
  let wake = (): void => undefined
  await channel.prefetch(source.maxUnsettled) // maxBytes: beyond it the real one stops reading the socket; a prefetch counts messages only
  const first = new Promise<void>((resolve) => {
    wake = resolve
  })
  await channel.consume(`${source.topic}__${source.group}${partition === null ? '' : `:${partition}`}`, (frame) => {
    if (frame === null) return void channel.close() // cancelled by the server: declare again, consume again
    if (source.settleFirst && frame.redelivered) {
      // acks have no reply, so it may have been settled before
      channel.ack(frame.tag, false)
      return context.event('broker-dropped', { topic: source.topic, count: 1 })
    }
    buffer.push(frame)
    wake()
  })
  await first
  return {
    topic: source.topic,
    role: source.kind === 'forwarder' ? 'delay' : 'main',
    partition,
    leave,
    leaving: leave.signal,
    lost: channel.closed,
    get aliveUntil() {
      return link.wroteAt() + 1.5 * link.heartbeatMs
    },
    read: async (max) => {
      while (buffer.length === 0 && !channel.closed.aborted && !leave.signal.aborted)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      return leave.signal.aborted ? [] : buffer.splice(0, max).map((frame) => delivery(frame, '')) // what stays here is requeued by the close
    },
    settle: async (tokens) => {
      if (channel.closed.aborted) return 'stale'
      for (const token of tokens) channel.ack((token as Token).tag, false) // multiple over a finished prefix
      return channel.roundTrip().then(
        () => 'settled',
        () => 'unknown',
      ) // one per tick, shared; without it `settled` would be a hope
    },
    release: async () => {
      await channel.roundTrip().catch(() => undefined)
      await channel.close() // never cancel, nack or reject: they reorder
    },
  }
}

function delivery(frame: Frame, browse: string): Delivery {
  const parked = !('undecodable' in frame.content) && frame.content.transport?.['ph-attempt'] !== undefined // came through the group's exchange
  return { token: { browse, tag: frame.tag }, content: frame.content, parked, deliveries: frame.deliveryCount + 1, position: () => null }
}

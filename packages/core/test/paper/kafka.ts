// Paper adapter for Kafka (protocol D): checks that the contract can carry rejoins with a commit, settled prefixes, lanes and
// transactions. Never run, no client library. Type-checked through `test` by `npx tsc -p packages/core/tsconfig.test.json --noEmit`.
import type {
  Adapter,
  AdapterContext,
  Assignment,
  Capabilities,
  Delivery,
  Outgoing,
  Place,
  PublishFailure,
  Session,
  SettleResult,
  Source,
  Start,
  TopicPlan,
  TopicState,
} from '../../src/contract.ts'

type Stored = {
  readonly offset: bigint
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: ReadonlyMap<string, Buffer>
}
type Offsets = ReadonlyMap<string, ReadonlyMap<number, bigint>>

export interface AdminPort {
  partitions(topic: string): Promise<number | null>
  create(topic: string, partitions: number, config: Readonly<Record<string, string>>): Promise<void>
  committed(groupId: string, topic: string): Promise<ReadonlyMap<number, bigint>>
  offsets(topic: string, start: Start): Promise<ReadonlyMap<number, bigint>>
  /** Only while the group has no members: a living one takes care of its own partitions. */
  commit(groupId: string, offsets: Offsets): Promise<void>
  members(groupId: string): Promise<number>
  /** Without a group: for browsing. */
  scan(topic: string, from: bigint, max: number): Promise<readonly Stored[]>
}
/** One outstanding send per producer; one result row per partition sent, else the whole send is unknown. */
export interface ProducerPort {
  send(rows: ReadonlyMap<string, ReadonlyMap<number, readonly Outgoing[]>>): Promise<ReadonlyMap<string, ReadonlyMap<number, bigint>>>
  tombstones(topic: string, keys: readonly string[]): Promise<void>
  discard(): Promise<void>
}
export interface TransactionPort {
  /** initProducerId: aborts or waits out the predecessor's transaction. */
  fence(transactionalId: string): Promise<void>
  /** Any error wedges it: it is discarded and its assignment ended. */
  commit(outputs: readonly Outgoing[], groupId: string, offsets: Offsets): Promise<void>
}
/** The membership. Each hook runs inside the wrapped join, so that the adapter can finish before the new generation begins. */
export interface ConsumerPort {
  run(hooks: {
    /** Before the rejoin: the old generation may still commit, heartbeats go on. `polite` false: member id or generation is gone. */
    readonly rejoining: (polite: boolean) => Promise<void>
    readonly assigned: (partitions: ReadonlyMap<string, readonly number[]>) => Promise<void>
    readonly heartbeat: (sentAt: number) => void
    readonly crashed: (error: unknown) => void
    /** Returns early: rows go into a bounded buffer per partition. */
    readonly batch: (topic: string, partition: number, rows: readonly Stored[]) => void
  }): Promise<void>
  pause(topic: string, partition: number): void
  resume(topic: string, partition: number): void
  seek(topic: string, partition: number, offset: bigint): void
  commit(offsets: Offsets): Promise<'ok' | 'stale'>
  leave(): Promise<void>
}
export interface KafkaPort {
  admin(): Promise<AdminPort>
  producer(): Promise<ProducerPort>
  transaction(): Promise<TransactionPort>
  consumer(groupId: string, topics: readonly string[], maxBytesPerPartition: number, rebalanceTimeoutMs: number): Promise<ConsumerPort>
  end(): Promise<void>
}

const best: Capabilities = {
  settlement: 'prefix',
  retention: 'log',
  positions: 'native',
  attempts: 'none',
  delay: 'none',
  replay: 'native',
  forward: 'atomic',
  unroutable: 'silent',
  headers: 'native',
  limits: { messageBytes: 1 << 20, batch: 500, batches: 1, holdMs: null, unsettled: 100_000, delayMs: 7 * 86_400_000 },
}
const SESSION_MS = 30_000

export function kafkaOnPaper(connect: (clientId: string) => KafkaPort): Adapter {
  return {
    name: 'kafka',
    best,
    open: async (context) => {
      const port = connect(context.name)
      return session(port, await port.admin(), await port.producer(), context)
    },
    explain: () => ({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' }),
  }
}

/** Lanes and dead letters are topics; with native names the plan decides, so it is remembered from `declare`. */
const name = ({ topic, role, group }: Place): string =>
  role === 'main' ? topic : role === 'delay' ? `${topic}__delay` : `${topic}__${group}__${role}`

function session(port: KafkaPort, admin: AdminPort, first: ProducerPort, context: AdapterContext): Session {
  let producer = first
  return {
    capabilities: best,
    client: port,
    declare: async ({ topics }) => Promise.all(topics.map((plan) => declareOne(admin, plan))),
    publish: async (batch) => {
      const spread = new Map<string, number>()
      const rows = new Map<string, Map<number, Outgoing[]>>()
      for (const message of batch) {
        // dead letters: record key = slot, user key in ph-key, an empty body as one byte with a mark
        const topic = name(message.place)
        const partition = message.partition ?? spread.get(topic) ?? Math.floor(context.random() * ((await admin.partitions(topic)) ?? 1))
        spread.set(topic, partition)
        const parts = rows.get(topic) ?? new Map<number, Outgoing[]>()
        parts.set(partition, [...(parts.get(partition) ?? []), message])
        rows.set(topic, parts)
      }
      try {
        const base = await producer.send(rows)
        const at = (index: number): bigint | undefined => {
          const one = batch[index]
          return one && one.partition !== null ? base.get(name(one.place))?.get(one.partition) : undefined
        }
        return { failures: [], position: (index) => at(index)?.toString() ?? null } // the base offset; the real one adds the rank in the batch
      } catch (error) {
        // every rejection is unknown, and the producer is thrown away
        await producer.discard()
        producer = await port.producer()
        return { failures: batch.map((_, index): PublishFailure => ({ index, outcome: 'unknown', error })), position: () => null }
      }
    },
    subscribe: async (source, signal) => member(port, admin, context, source, signal),
    browse: async (place, after, max) => {
      // a record is shown if no later one has its slot; needs the newest offset per slot, read once to the end
      const rows = await admin.scan(name(place), BigInt(after ?? 0), max)
      const last = rows.at(-1)
      return {
        entries: rows.filter(({ value }) => value !== null).map((row) => delivery(row, false)),
        next: last ? (last.offset + 1n).toString() : null,
      }
    },
    remove: async (place, entries) =>
      producer
        .tombstones(
          name(place),
          entries.map(({ token }) => (token as Stored).key?.toString() ?? ''),
        )
        .then(
          () => 'settled',
          () => 'unknown',
        ),
    inspect: async (topic, group) => {
      const [end, done] = [await admin.offsets(topic, 'latest'), await admin.committed(`${topic}__${group}`, topic)]
      const backlog = [...end].reduce((sum, [p, offset]) => sum + Number(offset - (done.get(p) ?? 0n)), 0)
      return { backlog, unsettled: null, members: await admin.members(`${topic}__${group}`) }
    },
    close: async () => port.end(),
  }
}

async function declareOne(admin: AdminPort, plan: TopicPlan): Promise<TopicState> {
  const there = await admin.partitions(plan.name)
  if (there === null && !plan.create) throw new Error('NOT_FOUND')
  const partitions = there ?? plan.partitions ?? (plan.keyed ? 4 : 16)
  if (there === null) await admin.create(plan.name, partitions, {})
  const lanes = [`${plan.name}__delay`, ...plan.groups.map((group) => `${plan.name}__${group.name}__retry`)]
  if (plan.create)
    for (const lane of lanes)
      await admin.create(lane, plan.delays.length, { 'message.timestamp.type': 'LogAppendTime', 'retention.ms': '-1' })
  const created: string[] = []
  for (const { name: group, start } of plan.groups) {
    // a native group id (existing positions) is not known here: it sits in Source.native
    const id = `${plan.name}__${group}`
    const committed = await admin.committed(id, plan.name)
    if (committed.size === partitions) continue
    if (!plan.create) throw new Error('NOT_FOUND')
    const starts = await admin.offsets(plan.name, committed.size === 0 ? start : 'earliest')
    await admin.commit(id, new Map([[plan.name, new Map([...starts].filter(([p]) => !committed.has(p)))]]))
    if (committed.size === 0) created.push(group)
    await admin.create(`${id}__dead`, 1, { 'cleanup.policy': 'compact' })
  }
  return { name: plan.name, partitions, groups: plan.groups.map((group) => group.name), created }
}

type Owned = Assignment & {
  readonly leave: AbortController
  readonly over: AbortController
  readonly buffer: Stored[]
  readonly done: () => bigint | null
}

async function* member(
  port: KafkaPort,
  admin: AdminPort,
  context: AdapterContext,
  source: Source,
  signal: AbortSignal,
): AsyncGenerator<Assignment> {
  const delay = source.kind === 'forwarder'
  const groupId = delay ? `${source.topic}__delay` : source.kind === 'broadcast' ? context.instance : `${source.topic}__${source.group}`
  const topics = delay ? [`${source.topic}__delay`] : [source.topic, `${groupId}__retry`] // lanes: partition = step, append time in `timestamp`
  const consumer = await port.consumer(groupId, topics, source.maxBytes, 15_000) // fixed at join, before anyone says how long core may drain
  const owned = new Map<string, Owned>()
  const ready: Owned[] = []
  let wake = (): void => undefined
  let alive = 0
  const transactional = async (p: number): Promise<TransactionPort> => {
    const one = await port.transaction()
    await one.fence(`${groupId}__${p}`)
    return one
  }
  const floor = (): Offsets => {
    // all partitions of the membership in one commit; lowest contiguous settled, as core hands prefixes
    const offsets = new Map<string, Map<number, bigint>>()
    for (const [at, one] of owned) {
      const done = one.done()
      if (done !== null)
        offsets.set(topicOf(at), (offsets.get(topicOf(at)) ?? new Map<number, bigint>()).set(one.partition ?? 0, done + 1n))
    }
    return offsets
  }
  const end = (): void => {
    for (const { over } of owned.values()) over.abort()
    owned.clear()
  }
  await consumer.run({
    rejoining: async (polite) => {
      if (!polite) return end() // lost first, no commit
      for (const { leave } of owned.values()) leave.abort()
      const gone = [...owned.values()].map(
        ({ over }) =>
          new Promise((resolve) => {
            over.signal.addEventListener('abort', resolve, { once: true })
          }),
      )
      await Promise.race([
        Promise.all(gone),
        new Promise<void>((late) => {
          context.clock.timer(10_000, late)
        }),
      ]) // release() of each, or the deadline
      await consumer.commit(floor()).catch(() => 'stale') // with the old generation
      end()
    },
    assigned: async (partitions) => {
      for (const [topic, list] of partitions)
        for (const p of list) {
          // Atomic forward must fence here, before the committed offset is read; the contract does not say which subscription needs it.
          consumer.seek(topic, p, (await admin.committed(groupId, topic)).get(p) ?? 0n)
          const one = assignment(consumer, source, groupId, topic, p, () => alive, floor, transactional)
          owned.set(`${topic}/${p}`, one)
          ready.push(one)
        }
      wake()
    },
    heartbeat: (sentAt) => {
      alive = sentAt + SESSION_MS - 2000
    },
    crashed: (error) => {
      end()
      context.report('recovering', error)
    },
    batch: (topic, p, rows) => {
      const one = owned.get(`${topic}/${p}`)
      one?.buffer.push(...rows)
      if (one && one.buffer.length > source.maxUnsettled) consumer.pause(topic, p) // this partition alone
    },
  })
  while (!signal.aborted) {
    const next = ready.shift()
    if (next) yield next
    else
      await new Promise<void>((resolve) => {
        wake = resolve
        signal.addEventListener(
          'abort',
          () => {
            resolve()
          },
          { once: true },
        )
      })
  }
  await consumer.leave() // through `rejoining`: leaving, releases, one commit, then LeaveGroup
}
const topicOf = (at: string): string => at.slice(0, at.lastIndexOf('/'))

function assignment(
  consumer: ConsumerPort,
  source: Source,
  groupId: string,
  topic: string,
  partition: number,
  alive: () => number,
  floor: () => Offsets,
  transactional: (partition: number) => Promise<TransactionPort>,
): Owned {
  const leave = new AbortController()
  const over = new AbortController()
  const buffer: Stored[] = []
  let done: bigint | null = null
  let transaction: TransactionPort | null = null
  const role = source.kind === 'forwarder' ? 'delay' : topic === source.topic ? 'main' : 'retry'
  const commit = (): Promise<SettleResult> =>
    consumer.commit(floor()).then(
      (reply) => (reply === 'ok' ? 'settled' : 'stale'),
      () => 'unknown',
    )
  return {
    topic: source.topic,
    role,
    partition,
    leave,
    over,
    buffer,
    leaving: leave.signal,
    lost: over.signal,
    done: () => done,
    get aliveUntil() {
      return alive()
    },
    read: async (max) => {
      consumer.resume(topic, partition)
      while (buffer.length === 0 && !leave.signal.aborted && !over.signal.aborted)
        await new Promise<void>((resolve) => {
          over.signal.addEventListener(
            'abort',
            () => {
              resolve()
            },
            { once: true },
          )
        }) // and on rows
      return over.signal.aborted || leave.signal.aborted ? [] : buffer.splice(0, max).map((row) => delivery(row, role === 'retry'))
    },
    settle: async (tokens, outputs = []) => {
      const last = tokens.at(-1) as Stored | undefined
      if (over.signal.aborted || !last) return 'stale'
      if (outputs.length > 0) {
        transaction ??= await transactional(partition) // too late: `Source` does not say that outputs will come, so the fence was not first
        try {
          await transaction.commit(outputs, groupId, new Map([[topic, new Map([[partition, last.offset + 1n]])]]))
          done = last.offset
          return 'settled'
        } catch {
          // wedged: thrown away, and with it the assignment
          over.abort()
          return 'unknown'
        }
      }
      done = last.offset
      return commit() // shared: one call per 100 ms or 1,000 settled; 'unknown' is made good by the next prefix
    },
    release: async () => {
      if (!over.signal.aborted) await commit() // shared as well: must not be awaited before the other partitions drain
      over.abort()
    },
  }
}

function delivery(row: Stored, parked: boolean): Delivery {
  const transport = Object.fromEntries([...row.headers].map(([header, bytes]) => [header, bytes.toString()])) // repeated and binary values are lost here
  return {
    token: row,
    parked,
    deliveries: null,
    position: () => row.offset.toString(), // `timestamp`: a lane's hop ends at it plus the step; no place for it
    content: {
      id: transport.ce_id ?? null,
      key: row.key?.toString() ?? null,
      body: row.value,
      time: null,
      expiresAt: null,
      attributes: {},
      headers: null,
      transport,
    },
  }
}

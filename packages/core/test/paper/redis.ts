// Paper adapter for Redis Streams (protocol B): checks that the contract can carry leases, fencing scripts and native delay.
// Never run, no client library: the ports below are exactly the calls a real adapter would make. Type-checked through `test`
// by `npx tsc -p packages/core/tsconfig.test.json --noEmit`.
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
  TopicPlan,
  TopicState,
} from '../../src/contract.ts'

type Row = { readonly partition: number; readonly token: string; readonly want: boolean }
type Entry = { readonly id: string; readonly fields: ReadonlyMap<string, Uint8Array>; readonly handedOver: number }

/** One method per Lua script; each runs on the node that holds the topic's hash tag. `STALE` touched nothing. */
export interface RedisPort {
  readonly cluster: boolean
  declare(plan: TopicPlan): Promise<TopicState | 'CONFLICT' | 'NOT_FOUND'>
  step(topic: string, group: string, me: string, ttlMs: number, held: ReadonlyMap<number, string>): Promise<readonly Row[]>
  /** History from `after` first, then `>`: the fence, then XREADGROUP in one script. */
  read(
    topic: string,
    group: string,
    p: number,
    token: string,
    after: string,
    count: number,
  ): Promise<readonly Entry[] | 'STALE' | 'NOGROUP'>
  /** Due retries of the group, for the owner of partition 0. */
  due(topic: string, group: string, token: string, skip: readonly string[], count: number): Promise<readonly Entry[] | 'STALE'>
  /** The fence, XACK (or ZREM and HDEL), and XADD of outputs, in one script. `REFUSED`: an output's topic has no group or another count. */
  settle(
    topic: string,
    group: string,
    p: number,
    token: string,
    from: Assignment['role'],
    ids: readonly string[],
    outputs: readonly Outgoing[],
  ): Promise<'OK' | 'STALE' | 'REFUSED'>
  release(topic: string, group: string, p: number, token: string): Promise<void>
  /** Moves due delays into their partitions; answers when the next is due. Atomic, so any owner of partition 0 may call it. */
  promote(topic: string): Promise<number | null>
  /** XADD by partition, or ZADD by due time with the entry in a hash (it keeps its partition), or HSET by slot. */
  store(topic: string, batch: readonly Outgoing[], dueAt: readonly number[]): Promise<readonly string[] | 'NOGROUP' | 'CONFLICT' | 'OOM'>
  deadPage(place: Place, after: string | null, max: number): Promise<{ readonly entries: readonly Entry[]; readonly next: string | null }>
  deadRemove(place: Place, slots: readonly string[]): Promise<number>
  groupInfo(topic: string, group: string): Promise<{ readonly lag: number; readonly pending: number; readonly members: number }>
  /** XREAD BLOCK without a group: wakes reads, takes nothing. */
  wait(topic: string, partitions: readonly number[], signal: AbortSignal): Promise<void>
  end(now: boolean): Promise<void>
}
type Connect = (name: string, signal: AbortSignal) => Promise<RedisPort>

const best: Capabilities = {
  settlement: 'each',
  retention: 'log',
  positions: 'native',
  attempts: 'native',
  delay: 'native',
  replay: 'none',
  forward: 'atomic',
  unroutable: 'reported',
  headers: 'native',
  limits: { messageBytes: 4 << 20, batch: 500, batches: 2, holdMs: null, unsettled: 10_000, delayMs: 2 ** 45 },
}
const TTL = 10_000
const MARGIN = 1000

export function redisOnPaper(connect: Connect): Adapter {
  return {
    name: 'redis',
    best,
    open: async (context, signal) => session(await connect(context.name, signal), context),
    explain: (error) =>
      error === 'NOGROUP'
        ? { code: 'NOT_FOUND', retryable: false, outcome: 'failed' }
        : error === 'OOM'
          ? { code: 'UNAVAILABLE', retryable: true, outcome: 'failed' }
          : { code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' },
  }
}

function session(port: RedisPort, context: AdapterContext): Session {
  const plans = new Map<string, TopicPlan>() // for declaring again after NOGROUP, and for the native names of `publish`
  return {
    // Hash tags: a Cluster cannot write two topics in one script, so the connected server gives less than `best`.
    capabilities: port.cluster ? { ...best, forward: 'none' } : best,
    client: port,
    declare: async ({ topics }) =>
      Promise.all(
        topics.map(async (plan) => {
          const state = await port.declare(plan) // one script: HSETNX meta, XGROUP CREATE on all partitions, then the group's mark
          if (typeof state === 'string') throw new Error(state)
          plans.set(plan.name, plan)
          return state
        }),
      ),
    publish: async (batch) => {
      const failures: PublishFailure[] = []
      const ids: string[] = []
      for (const [topic, part] of byTopic(batch)) {
        // one script per hash tag
        const reply = await port
          .store(
            topic,
            part.map((at) => at.message),
            part.map(({ message }) => context.clock.now() + message.delayMs),
          )
          .catch((error: unknown) => ({ error }))
        part.forEach(({ index }, at) => {
          if (Array.isArray(reply)) ids[index] = `${reply[at] ?? ''}`
          else failures.push({ index, outcome: typeof reply === 'string' ? 'failed' : 'unknown', error: reply })
        })
      }
      return { failures, position: (index) => ids[index] ?? null }
    },
    subscribe: async (source, signal) => lease(port, context, source, signal),
    browse: async (place, after, max) => {
      const page = await port.deadPage(place, after, max)
      return { next: page.next, entries: page.entries.map((entry) => delivery(entry, false)) }
    },
    remove: async (place, entries) => {
      const gone = await port
        .deadRemove(
          place,
          entries.map(({ token }) => String(token)),
        )
        .catch(() => null)
      return gone === null ? 'unknown' : gone === entries.length ? 'settled' : 'stale'
    },
    inspect: async (topic, group) => {
      const { lag, pending, members } = await port.groupInfo(topic, group)
      return { backlog: lag, unsettled: pending, members }
    },
    close: async (signal) => port.end(signal.aborted),
  }
}

/** The lease loop. A broadcast is a plain XREAD from `$` with `aliveUntil` Infinity and is left out. */
async function* lease(port: RedisPort, context: AdapterContext, source: Source, signal: AbortSignal): AsyncGenerator<Assignment> {
  const group = source.group ?? ''
  const held = new Map<number, Held[]>()
  for (;;) {
    const sentAt = context.clock.monotonic()
    const tokens = new Map([...held].map(([p, [one]]) => [p, one?.token ?? ''] as const))
    const rows = await port.step(source.topic, group, context.instance, TTL, tokens).catch(() => null) // no reply: aliveUntil runs out
    for (const [p, owned] of held) {
      const row = rows?.find((candidate) => candidate.partition === p)
      const over = rows ? !row : owned.some((one) => one.aliveUntil <= context.clock.monotonic())
      for (const one of owned) {
        if (row) one.aliveUntil = sentAt + TTL - MARGIN
        if (over)
          one.over.abort() // `lost` before any successor of this process is yielded
        else if (signal.aborted || row?.want === false) one.leave.abort()
      }
      if (owned.every((one) => one.over.signal.aborted)) held.delete(p) // release() aborted them, or the lease ended
    }
    if (signal.aborted && held.size === 0) return // polite: the steps above went on renewing until the last release
    for (const { partition, token } of signal.aborted ? [] : (rows ?? [])) {
      if (held.has(partition)) continue
      const roles = partition === 0 ? (['main', 'retry'] as const) : (['main'] as const) // due retries: owner of partition 0
      const owned = roles.map((role) => assignment(port, source, group, role, partition, token, sentAt + TTL - MARGIN))
      held.set(partition, owned)
      yield* owned
    }
    if (held.has(0)) await port.promote(source.topic).catch(() => null)
    await new Promise<void>((resume) => {
      context.clock.timer(TTL / 4, resume)
    }) // the bell {t}:bell:<g> shortens it
  }
}

type Held = Assignment & { aliveUntil: number; readonly token: string; readonly leave: AbortController; readonly over: AbortController }

function assignment(
  port: RedisPort,
  source: Source,
  group: string,
  role: 'main' | 'retry',
  partition: number,
  token: string,
  aliveUntil: number,
): Held {
  const leave = new AbortController()
  const over = new AbortController()
  const given = new Set<string>() // out at core: a history read after a blip skips these
  let after = '0' // history first; '>' once it is empty; '0' again after a reconnect or an unknown settle
  return {
    topic: source.topic,
    role,
    partition,
    token,
    aliveUntil,
    leave,
    over,
    leaving: leave.signal,
    lost: over.signal,
    read: async (max) => {
      while (!over.signal.aborted && !leave.signal.aborted) {
        const found =
          role === 'main'
            ? await port.read(source.topic, group, partition, token, after, max).catch(() => [])
            : await port.due(source.topic, group, token, [...given], max).catch(() => [])
        if (found === 'STALE') over.abort()
        else if (found === 'NOGROUP')
          after = '0' // declare again from 0, event position-lost
        else {
          if (role === 'main') after = found.at(-1)?.id ?? '>'
          const fresh = found.filter(({ id }) => !given.has(id))
          for (const { id } of fresh) given.add(id)
          if (fresh.length > 0) return fresh.map((entry) => delivery(entry, role === 'retry'))
        }
        await port.wait(source.topic, [partition], AbortSignal.any([leave.signal, over.signal]))
      }
      return []
    },
    settle: async (tokens, outputs = []): Promise<SettleResult> => {
      const ids = tokens.map(String)
      const reply = await port.settle(source.topic, group, partition, token, role, ids, outputs).catch(() => null)
      for (const id of ids) given.delete(id)
      if (reply === null) after = '0' // what the server still has comes again
      // Contract: a refused output (no group, too large) is definite and neither was done, but there is no word for it.
      return reply === 'OK' ? 'settled' : reply === 'STALE' ? 'stale' : 'unknown'
    },
    release: async () => {
      // Both roles of partition 0 share one row: the real adapter gives the row back when the last of them is released.
      if (!over.signal.aborted) await port.release(source.topic, group, partition, token).catch(() => undefined)
      over.abort()
    },
  }
}

function delivery(entry: Entry, parked: boolean): Delivery {
  const text = (name: string): string | null => {
    const bytes = entry.fields.get(name)
    return bytes ? new TextDecoder().decode(bytes) : null
  }
  return {
    token: entry.id,
    parked,
    deliveries: entry.handedOver,
    position: () => entry.id,
    content: {
      id: text('ce_id'),
      key: text('ce_partitionkey'),
      body: entry.fields.has('ph-null') ? null : (entry.fields.get('data') ?? null),
      time: null,
      expiresAt: null,
      attributes: {},
      headers: null,
      transport: null,
    },
  }
}

function byTopic(batch: readonly Outgoing[]): Map<string, { readonly index: number; readonly message: Outgoing }[]> {
  const parts = new Map<string, { readonly index: number; readonly message: Outgoing }[]>()
  for (const [index, message] of batch.entries()) {
    const part = parts.get(message.place.topic)
    if (part) part.push({ index, message })
    else parts.set(message.place.topic, [{ index, message }])
  }
  return parts
}

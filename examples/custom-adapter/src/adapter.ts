// A complete Posthorn adapter in one file; docs/writing-an-adapter.md goes through it. The server (log-server.ts) has no headers
// and no delays, and settles by position. The capabilities say so, and core makes up for it.

import type { Adapter, AdapterContext, Assignment, Capabilities, Outgoing, Session, Source, TopicPlan } from '@posthorn/core/adapter'
import { check, naming } from '@posthorn/core/adapter'
import { type Entry, type Grant, type LogRecord, type LogServer, LogServerError, maxRecordBytes } from './log-server.ts'

const limits = { messageBytes: maxRecordBytes, batch: 500, batches: 4, holdMs: null, unsettled: 10_000, delayMs: 365 * 86_400_000 }
const best: Capabilities = Object.freeze({
  settlement: 'prefix',
  retention: 'log',
  positions: 'native',
  attempts: 'none',
  delay: 'none',
  replay: 'none',
  forward: 'none',
  unroutable: 'silent',
  headers: 'envelope',
  limits: Object.freeze(limits),
})
/** Posthorn on this server: `connect(logAdapter(server))`. */
export function logAdapter(server: LogServer): Adapter {
  return { name: 'log', best, open: async (context) => openSession(server, context), explain }
}

// What this server refuses is not stored. Of anything else nobody knows.
const codes = {
  'no-such-log': 'NOT_FOUND',
  'no-such-group': 'NOT_FOUND',
  'other-partitions': 'CONFLICT',
  'too-large': 'TOO_LARGE',
} as const
const explain: Adapter['explain'] = (error) =>
  error instanceof LogServerError
    ? { code: codes[error.reason], retryable: false, outcome: 'failed' }
    : { code: 'INTERNAL', retryable: false, outcome: 'unknown' }

function openSession(server: LogServer, context: AdapterContext): Session {
  server.connect(context.instance)
  let turn = 0

  function store({ place, partition, slot, id, key, body }: Outgoing): string | null {
    const name = naming.place(place)
    const record = { key, value: body }
    if (place.role === 'dead') {
      server.put(name, slot ?? id, record)
      return null
    }
    const to = partition ?? turn++ % server.log(name).length
    return `${to}:${server.append(name, to, record)}`
  }

  return {
    capabilities: best,
    client: server,
    declare: async ({ topics }) => topics.map((plan) => declare(server, plan)),
    async publish(batch) {
      const failures: { index: number; outcome: 'failed'; error: unknown }[] = []
      const positions = batch.map((message, index) => {
        try {
          return store(message)
        } catch (error) {
          failures.push({ index, outcome: 'failed', error })
          return null
        }
      })
      return { failures, position: (index) => positions[index] ?? null }
    },
    async subscribe(source, signal) {
      signal.throwIfAborted()
      check.options(`cannot consume "${source.topic}"`, source.native as object | undefined, {})
      return subscribe(server, context, source, signal)
    },
    async browse(place, after, max) {
      const { entries, next } = server.page(naming.place(place), after, max)
      return { entries: entries.map((entry) => delivery(entry, entry.record, null, false)), next }
    },
    async remove(place, entries) {
      const seen = entries.map(({ token }) => token as Entry)
      return server.delete(naming.place(place), seen) === seen.length ? 'settled' : 'stale'
    },
    inspect: async (topic, group) => server.count(naming.group(topic, group)),
    close: async () => server.disconnect(context.instance),
  }
}

// What is refused leaves nothing behind. `retentionMs` needs no code: this server keeps everything, longer than anybody asks.
function declare(server: LogServer, plan: TopicPlan) {
  const { name, create, delays } = plan
  check.options(`cannot declare "${name}"`, plan.native as object | undefined, {})
  const partitions = plan.partitions ?? server.logs.get(name)?.length ?? 4
  if (!create) for (const group of plan.groups) server.group(naming.group(name, group.name))
  const have = create ? (server.logs.get(name)?.length ?? partitions) : server.log(name).length
  if (have !== partitions) throw new LogServerError('other-partitions', `log "${name}" has ${have} partitions, not ${partitions}`)
  const created = plan.groups.filter((group) => !server.groups.has(naming.group(name, group.name)))
  if (create) {
    const lanes = naming.place({ topic: name, role: 'delay', group: null })
    server.makeLog(name, partitions)
    server.makeLog(lanes, delays.length)
    server.makeGroup(lanes, [lanes], 'earliest')
    for (const { name: group, start } of created) {
      const retry = naming.place({ topic: name, role: 'retry', group })
      server.makeLog(retry, delays.length)
      server.makeGroup(naming.group(name, group), [name, retry], start === 'latest' ? 'latest' : 'earliest')
    }
  }
  const all = [...server.groups.keys()].filter((other) => other.startsWith(`${name}__`)).map((other) => other.slice(name.length + 2))
  return { name, partitions, groups: all.filter((group) => group !== 'delay'), created: created.map((group) => group.name) }
}

let broadcasts = 0
function subscribe(server: LogServer, context: AdapterContext, source: Source, signal: AbortSignal): AsyncIterable<Assignment> {
  const lanes = naming.place({ topic: source.topic, role: 'delay', group: null })
  const broadcast = source.kind === 'broadcast' ? `broadcast ${++broadcasts} of ${source.topic}` : null
  const group = broadcast ?? (source.kind === 'forwarder' ? lanes : naming.group(source.topic, source.group ?? ''))
  if (broadcast !== null) server.makeGroup(broadcast, [source.topic], 'latest')
  const owned = new Map<Grant, Owned>()
  const fresh: Assignment[] = []
  let over = false
  let wake: () => void = () => {}
  const member = server.join(group, context.instance, {
    granted(grant) {
      const one = own(server, context, source, grant, () => owned.delete(grant))
      owned.set(grant, one)
      fresh.push(one.assignment)
      wake()
    },
    wanted: (grant) => owned.get(grant)?.leave(),
    revoked: (grant) => owned.get(grant)?.end(),
    arrived: (grant) => owned.get(grant)?.wake(),
    left() {
      over = true
      if (broadcast !== null) server.groups.delete(broadcast)
      wake()
    },
  })
  signal.addEventListener('abort', () => server.leave(group, member), { once: true })
  return (async function* (): AsyncGenerator<Assignment> {
    for (;;) {
      for (let next = fresh.shift(); next !== undefined; next = fresh.shift()) yield next
      if (over) return
      await new Promise<void>((resolve) => (wake = resolve))
    }
  })()
}

type Owned = { readonly assignment: Assignment; readonly leave: () => void; readonly wake: () => void; readonly end: () => void }

function own(server: LogServer, context: AdapterContext, source: Source, grant: Grant, ended: () => void): Owned {
  const leaving = new AbortController()
  const lost = new AbortController()
  const { partition } = grant
  const role = naming.parse(grant.log)?.role
  const parked = role === 'retry'
  let wake: () => void = () => {}
  let cancel: () => void = () => {}

  // `lost` comes first: when the server gives the partition to the next owner, this one is over, in this process too.
  function end(): void {
    if (lost.signal.aborted) return
    cancel()
    lost.abort()
    wake()
    ended()
    server.release(grant)
  }
  // Core lets go within its own time; if it does not, the next owner must not wait for ever.
  function leave(): void {
    leaving.abort()
    wake()
    cancel = context.clock.timer(source.handOverMs, end)
  }
  const assignment: Assignment = {
    topic: source.topic,
    role: parked || role === 'delay' ? role : 'main',
    partition,
    leaving: leaving.signal,
    lost: lost.signal,
    aliveUntil: Number.POSITIVE_INFINITY,
    async read(max) {
      while (!leaving.signal.aborted && !lost.signal.aborted) {
        const found = server.read(grant, max)
        if (found.length > 0) return found.map(({ offset, record }) => delivery(offset, record, `${partition}:${offset}`, parked))
        await new Promise<void>((resolve) => (wake = resolve))
      }
      return []
    },
    // Tokens come in delivery order and without gaps, so the last one says it all.
    settle: async (tokens) => (server.commit(grant, Number(tokens.at(-1)) + 1) ? 'settled' : 'stale'),
    release: async () => end(),
  }
  return { assignment, leave, wake: () => wake(), end }
}

const none: Readonly<Record<string, string>> = Object.freeze({})
function delivery(token: unknown, { key, value }: LogRecord, position: string | null, parked: boolean) {
  const content = { id: null, key, body: value, time: null, expiresAt: null, attributes: none, headers: null, transport: null }
  return { token, content, parked, deliveries: null, position: () => position }
}

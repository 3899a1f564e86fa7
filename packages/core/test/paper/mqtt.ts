// Paper adapter for MQTT (protocol A): checks that the contract can carry stored sessions as partitions, presence, epochs and
// retained messages as retries, delays and dead letters. Never run, no client library. Type-checked through `test` by
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
} from '../../src/contract.ts'

type Packet = { readonly packetId: number; readonly topic: string; readonly dup: boolean; readonly content: Received }
type Presence = { readonly member: string; readonly topics: readonly string[]; readonly holds: readonly string[]; readonly seenAt: number }

/** One connection. `closed` for any reason: takeover and cut look the same. */
export interface LinkPort {
  readonly sessionPresent: boolean
  readonly version: 4 | 5
  readonly closed: AbortSignal
  subscribe(filters: readonly string[]): Promise<void>
  publish(topic: string, message: Outgoing | Uint8Array | null, retain: boolean): Promise<number>
  puback(packetId: number): void
  /** Answers the send time once PINGRESP is here. */
  ping(): Promise<number>
  disconnect(): Promise<void>
  destroy(): void
}
export interface MqttPort {
  connect(
    clientId: string,
    options: { readonly clean: boolean; readonly receiveMaximum: number; readonly will: string | null },
    onPacket: (packet: Packet) => void,
  ): Promise<LinkPort>
  /** Members of a group by will and by age, confirmed for 1 s with our own presence seen back. */
  view(control: LinkPort, group: string): Promise<readonly Presence[]>
  record(control: LinkPort, path: string, write: unknown): Promise<unknown>
  /** Everything retained below a path; the broker gives no order. */
  retained(path: string): Promise<readonly Packet[]>
}

const best: Capabilities = {
  settlement: 'prefix',
  retention: 'queue',
  positions: 'none',
  attempts: 'none',
  delay: 'native',
  replay: 'none',
  forward: 'none',
  unroutable: 'reported',
  headers: 'native',
  limits: { messageBytes: 1 << 20, batch: 500, batches: 4, holdMs: null, unsettled: 65_535, delayMs: 2 ** 40 },
}
const K = 5000

export function mqttOnPaper(dial: () => MqttPort): Adapter {
  return {
    name: 'mqtt',
    best,
    open: async (context) => {
      const port = dial()
      const out = await port.connect(`ph!p!${context.instance}`, { clean: true, receiveMaximum: 1, will: null }, () => undefined)
      return session(port, out, context)
    },
    explain: () => ({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' }),
  }
}

function session(port: MqttPort, out: LinkPort, context: AdapterContext): Session {
  let turn = 0
  return {
    // 3.1.1: core sends an envelope as the body; role, group, slot, delayMs and id must stay set beside it, the path is made of them.
    capabilities: out.version === 5 ? best : { ...best, headers: 'envelope', unroutable: 'silent' },
    client: out,
    declare: async ({ topics }) =>
      Promise.all(
        topics.map(async (plan) => {
          const partitions = plan.partitions ?? 4
          const known = await port.record(out, `posthorn/topic/${plan.name}`, plan.create ? { partitions } : null) // write, wait 1 s, read back
          if (known === null) throw new Error('NOT_FOUND')
          const created: string[] = []
          for (const { name } of plan.groups) {
            const held = new Set((await port.view(out, name)).flatMap(({ holds }) => holds))
            for (let p = 0; p < partitions; p++) {
              if (held.has(`${plan.name}/${p}`) || !plan.create) continue // a held session is never connected to: it would kick its owner
              const link = await port.connect(slotId(name, plan.name, p), { clean: false, receiveMaximum: 1, will: null }, () => undefined)
              if (!link.sessionPresent) {
                await link.subscribe(filters(plan.name, p))
                if (p === 0) created.push(name)
              }
              await link.disconnect()
            }
            await port.record(out, `posthorn/group/${name}/${plan.name}`, plan.create ? { partitions } : null) // last: no half group
          }
          return { name: plan.name, partitions, groups: plan.groups.map(({ name }) => name), created }
        }),
      ),
    publish: async (batch) => {
      const failures: PublishFailure[] = []
      turn += 1
      await Promise.all(
        batch.map(async (message, index) => {
          const { path, retain } = address(message, turn % 4, context.clock.now())
          const code = await out.publish(path, message, retain).catch((error: unknown) => ({ error }))
          if (code === 0 || (code === 0x10 && retain)) return // nobody listens to a retained copy: it is stored all the same
          failures.push({ index, outcome: typeof code === 'number' ? 'failed' : 'unknown', error: code })
        }),
      )
      return { failures, position: () => null }
    },
    subscribe: async (source, signal) => member(port, context, source, signal),
    browse: async (place, after, max) => {
      // all of them in memory: the broker has no order, the real one sorts by the time that the copy was made
      const all = (await port.retained(folder(place))).toSorted((a, b) => (a.topic < b.topic ? -1 : 1))
      const from = after === null ? 0 : all.findIndex(({ topic }) => topic > after)
      const entries = from < 0 ? [] : all.slice(from, from + max)
      return { entries: entries.map((packet) => delivery(packet, 0)), next: entries.length < max ? null : (entries.at(-1)?.topic ?? null) }
    },
    remove: async (_place, entries) => {
      const codes = await Promise.all(entries.map(({ token }) => out.publish((token as Token).topic, null, true))).catch(() => null) // empty retained
      return codes === null ? 'unknown' : 'settled' // whether it was there before is not told
    },
    inspect: async (_topic, group) => ({ backlog: null, unsettled: null, members: (await port.view(out, group)).length }),
    close: async (signal) => {
      if (signal.aborted) out.destroy()
      else await out.disconnect()
    },
  }
}

const slotId = (group: string, topic: string, p: number): string => `ph!${group}!${topic}!${p}`
const filters = (topic: string, p: number): readonly string[] => (p === 0 ? [`${topic}/@0`, topic] : [`${topic}/@${p}`])
const folder = ({ role, group, topic }: Place): string => `posthorn/${role}/${group ?? '-'}/${topic}`
/**
 * Dead letters: one retained message per slot. Waiting ones: id, then the partition to return to, then the due time, so that an
 * index needs no parsing. `delayMs` is relative: a repeat of an unknown publish would make a second entry, but for `ph-due`.
 */
function address(
  { place, partition, delayMs, slot, id, transport }: Outgoing,
  spread: number,
  now: number,
): { readonly path: string; readonly retain: boolean } {
  if (place.role === 'main' && delayMs === 0) return { path: `${place.topic}/@${partition ?? spread}`, retain: false }
  if (place.role === 'dead') return { path: `${folder(place)}/${slot}`, retain: true }
  const role = place.role === 'main' ? 'delay' : place.role
  return { path: `${folder({ ...place, role })}/${id}/${partition ?? '-'}/${transport?.['ph-due'] ?? now + delayMs}`, retain: true }
}

type Token = { readonly epoch: number; readonly packetId: number; readonly topic: string }
type Owned = Assignment & { readonly leave: AbortController; readonly over: AbortController; readonly link: LinkPort; proven: number }

/** The membership of one consumer: presence on the control connection, claims by the view, one session per held partition. */
async function* member(port: MqttPort, context: AdapterContext, source: Source, signal: AbortSignal): AsyncGenerator<Assignment> {
  const group = source.group ?? ''
  const path = `posthorn/member/${group}/${context.instance}`
  const control = await port.connect(`ph!m!${context.instance}`, { clean: true, receiveMaximum: 64, will: path }, () => undefined)
  const held = new Map<number, Owned>()
  const partitions = 4
  for (;;) {
    await control.publish(path, new TextEncoder().encode(JSON.stringify({ holds: [...held.keys()] })), true) // seq, topics, every K and at each change
    const view = (await port.view(control, group)).filter(({ topics }) => topics.includes(source.topic))
    const me = view.findIndex(({ member: id }) => id === context.instance)
    const proven = await control.ping()
    for (let p = 0; p < partitions; p++) {
      const mine = held.get(p)
      const target = !signal.aborted && !control.closed.aborted && me >= 0 && p % view.length === me
      if (mine) {
        mine.proven = Math.min(proven, await mine.link.ping().catch(() => mine.proven))
        if (mine.link.closed.aborted || mine.aliveUntil <= context.clock.monotonic())
          mine.over.abort() // rule 13: cool down, then claim anew
        else if (!target) mine.leave.abort()
        if (mine.over.signal.aborted) held.delete(p)
      } else if (target && !view.some(({ holds }) => holds.includes(`${source.topic}/${p}`))) {
        const claimed = await claim(port, context, source, p, proven)
        held.set(p, claimed)
        yield claimed
        // Partition p also indexes posthorn/retry/<group>/<topic>: a second assignment, role retry, settled one by one, because the
        // session's acknowledgements leave in order. Delays are the topic's, not the group's: their mover needs a slot of its own.
      }
    }
    if (signal.aborted && held.size === 0) {
      await control.publish(path, null, true)
      return control.disconnect()
    }
    await new Promise<void>((resume) => {
      context.clock.timer(K / 2, resume)
    })
  }
}

async function claim(port: MqttPort, context: AdapterContext, source: Source, partition: number, proven: number): Promise<Owned> {
  const leave = new AbortController()
  const over = new AbortController()
  const buffer: Packet[] = []
  const epoch = context.clock.monotonic() // an ack of an older connection would hit another message
  let wake = (): void => undefined
  const link = await port.connect(
    slotId(source.group ?? '', source.topic, partition),
    { clean: false, receiveMaximum: source.maxUnsettled, will: null },
    (packet) => {
      if (source.settleFirst && packet.dup) {
        context.event('broker-dropped', { topic: source.topic, partition, count: 1 })
        return link.puback(packet.packetId)
      }
      buffer.push(packet) // brokers send more than asked: beyond maxBytes the real one pauses the stream
      wake()
    },
  )
  if (!link.sessionPresent) {
    await link.subscribe(filters(source.topic, partition))
    context.event('session-lost', { topic: source.topic, partition })
  }
  const owned: Owned = {
    topic: source.topic,
    role: 'main',
    partition,
    leave,
    over,
    link,
    proven,
    leaving: leave.signal,
    lost: over.signal,
    get aliveUntil(): number {
      return owned.proven + 1.5 * K - 1000
    },
    read: async (max) => {
      for (const stop of [leave.signal, over.signal])
        stop.addEventListener(
          'abort',
          () => {
            wake()
          },
          { once: true },
        )
      while (buffer.length === 0 && !leave.signal.aborted && !over.signal.aborted)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      return leave.signal.aborted || over.signal.aborted ? [] : buffer.splice(0, max).map((packet) => delivery(packet, epoch))
    },
    settle: async (tokens) => {
      // a prefix, every token in it once: each packet needs its PUBACK, in receive order
      if (over.signal.aborted || link.closed.aborted) return 'stale'
      for (const token of tokens) {
        const { epoch: from, packetId } = token as Token
        if (from === epoch) link.puback(packetId)
      }
      return link.ping().then(
        () => 'settled',
        () => 'unknown',
      ) // PUBACK has no reply; one ping per tick, shared
    },
    release: async () => {
      if (!over.signal.aborted) {
        await link.ping().catch(() => 0)
        await link.disconnect()
      } // no expiry property: the session stays
      over.abort()
    },
  }
  return owned
}

function delivery(packet: Packet, epoch: number): Delivery {
  const token: Token = { epoch, packetId: packet.packetId, topic: packet.topic }
  return { token, content: packet.content, parked: packet.topic.startsWith('posthorn/retry/'), deliveries: null, position: () => null }
}

// The messages that clauses send: small JSON bodies that know who they are, so that every kind of damage shows.

import type { StandardSchemaV1 } from '@posthorn/core'
import { type Topic, type TopicOptions, topic, unchecked } from '@posthorn/core'

/** A message of a clause: it knows who it is, so that damage shows. */
export interface Order {
  readonly id: string
  /** null on topics without keys. */
  readonly key: string | null
  /** Counts per key, from 0, in send order. */
  readonly seq: number
  /** Of all the other fields. */
  readonly hash: string
  readonly pad: string
}
/** A topic whose messages are orders. */
export type OrderTopic = Topic<Order, Order, string>
/** How the topics of a clause differ from the usual: keyed, 4 partitions, one group. */
export interface OrderTopicOptions {
  /** false: no key; messages may be handled in any order. @default true */
  readonly keyed?: boolean
  /** @default ['workers'] */
  readonly groups?: readonly string[]
  /** @default 4; null: what the adapter does best */
  readonly partitions?: number | null
  /** Everything else that `topic` takes. */
  readonly with?: Partial<TopicOptions<StandardSchemaV1<Order, Order>>>
}

/** What a topic was made from: members in other processes make it again. */
export interface OrderTopicSpec {
  readonly name: string
  readonly keyed: boolean
  readonly groups: readonly string[]
  readonly partitions: number | null
  /** What else it was made with. */
  readonly with?: Readonly<Record<string, unknown>> | undefined
}
const specs = new WeakMap<object, OrderTopicSpec>()

/** A topic of orders: keyed by `order.key`, 4 partitions, unless said otherwise. */
export function orderTopic(name: string, options: OrderTopicOptions = {}): OrderTopic {
  const spec: OrderTopicSpec = {
    name,
    keyed: options.keyed ?? true,
    groups: options.groups ?? ['workers'],
    partitions: options.partitions === undefined ? 4 : options.partitions,
    ...(options.with === undefined ? {} : { with: { ...options.with } }),
  }
  const made = topic(name, {
    schema: unchecked<Order>(),
    groups: spec.groups,
    ...(spec.keyed ? { key: (order: Order) => order.key as string } : {}),
    ...(spec.partitions === null ? {} : { partitions: spec.partitions }),
    ...options.with,
  })
  specs.set(made, spec)
  return made
}

/** What `orderTopic` made this topic from. */
export function specOf(made: Topic): OrderTopicSpec {
  return specs.get(made) ?? { name: made.name, keyed: true, groups: [], partitions: null }
}

/** FNV-1a over the text, as 8 hexadecimal digits: cheap, and no code of the library. */
export function hashOf(text: string): string {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0
  return hash.toString(16).padStart(8, '0')
}

/** Makes orders: ids start with `prefix`, counters per key go on from call to call. */
export function orderMaker(prefix: string): (n: number, keys: readonly (string | null)[], bytes: number) => readonly Order[] {
  const counters = new Map<string | null, number>()
  let made = 0
  return (n, keys, bytes) =>
    Array.from({ length: n }, (_, index) => {
      const key = keys[index % keys.length] ?? null
      const seq = counters.get(key) ?? 0
      counters.set(key, seq + 1)
      return order(`${prefix}-${made++}`, key, seq, bytes)
    })
}

/** One order. */
export function order(id: string, key: string | null, seq: number, bytes = 100): Order {
  const pad = 'x'.repeat(Math.max(0, bytes - id.length - (key?.length ?? 2) - 60))
  return { id, key, seq, hash: hashOf(`${id}|${key}|${seq}|${pad}`), pad }
}

/** Is this an order, and unharmed? `undefined` when it is no order at all. */
export function unharmed(value: unknown): boolean | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { id, key, seq, hash, pad } = value as Partial<Order>
  if (typeof id !== 'string' || typeof hash !== 'string' || typeof seq !== 'number') return undefined
  return hash === hashOf(`${id}|${key}|${seq}|${pad}`)
}

const hidden = /^(?:fence|warm):/
/** Markers and warm-ups: the suite's own messages, which no recorder counts. */
export function isHidden(value: unknown): value is Order {
  return typeof value === 'object' && value !== null && hidden.test(String((value as { id?: unknown }).id))
}

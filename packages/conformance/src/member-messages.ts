// What the suite and a member in a process of its own say to each other: plain data, by the channel that Node gives a forked child.

import type { LogEntry, OnceKey, TopicOptions } from '@posthorn/core'
import { ClauseFailure } from './assert.ts'
import type { Durability } from './harness.ts'
import type { Act, Script } from './member.ts'
import { type Order, type OrderTopic, type OrderTopicSpec, orderTopic, specOf } from './orders.ts'
import type { PeerCalls } from './peer.ts'
import type { RecorderEvent } from './recorder.ts'
import type { Gate, SendRecord } from './trial.ts'

type PlainAct = Omit<Act, 'gate' | 'forward'> & { readonly gate?: string; readonly forward?: OrderTopicSpec }
/** A script without objects of this process. */
export interface PlainScript extends Omit<Script, 'topic' | 'acts' | 'produce' | 'recorder' | 'once'> {
  readonly topic?: readonly OrderTopicSpec[]
  /** One topic was given as such, not as a list. */
  readonly single: boolean
  readonly acts: readonly PlainAct[]
  /** Topics that a handler may forward to with its settlement. */
  readonly forwardTo?: readonly OrderTopicSpec[]
  /** There is a store for `once`: the suite holds it, as a database would, and each call of it is a conversation. */
  readonly once?: { readonly windowMs: number | undefined }
  readonly produce?: Omit<NonNullable<Script['produce']>, 'topic'> & { readonly topic: OrderTopicSpec; readonly orders: readonly Order[] }
}

/** What the suite tells a member's process. */
export type ToMember =
  | {
      readonly kind: 'play'
      readonly name: string
      readonly address: string
      readonly seed: number
      readonly server: {
        readonly title: string
        readonly profile: Durability
        readonly leaseMs: number
        readonly recoverMs: number
      }
      readonly script: PlainScript
    }
  | { readonly kind: 'open'; readonly gate: string; readonly wait: number }
  | { readonly kind: 'close'; readonly drainMs: number | undefined }
  /** The transaction is open: do the work. */
  | { readonly kind: 'work'; readonly call: number }
  | { readonly kind: 'stored'; readonly call: number; readonly result: 'done' | 'repeat' | undefined; readonly error: string | undefined }

/** A send of a member, as far as it is known. */
export type PlainSend = Omit<SendRecord, 'error' | 'value'> & {
  readonly n: number
  readonly value: unknown
  readonly code: string | undefined
}
/** One thing that a member's process saw. */
export type Seen =
  | { readonly kind: 'recorder'; readonly event: RecorderEvent }
  | { readonly kind: 'note'; readonly text: string; readonly id: string | undefined; readonly at: number }
  | { readonly kind: 'event'; readonly name: string; readonly at: number; readonly event: Readonly<Record<string, unknown>> }
  | { readonly kind: 'log'; readonly entry: LogEntry }
  | { readonly kind: 'send'; readonly send: PlainSend }
  | { readonly kind: 'violation'; readonly clause: string; readonly text: string; readonly ids: readonly string[] }
  | { readonly kind: 'calls'; readonly calls: PeerCalls }
  | { readonly kind: 'partitions'; readonly topic: string; readonly partitions: number }
/** What a member's process tells the suite. */
export type FromMember =
  | { readonly kind: 'seen'; readonly seen: readonly Seen[] }
  | { readonly kind: 'ready'; readonly instance: string }
  | { readonly kind: 'refused'; readonly code: string | undefined; readonly message: string }
  | { readonly kind: 'wait'; readonly gate: string; readonly wait: number }
  | { readonly kind: 'closed'; readonly error: string | undefined }
  | { readonly kind: 'once'; readonly call: number; readonly key: OnceKey }
  | { readonly kind: 'worked'; readonly call: number; readonly failed: boolean }

function plainSpec(topic: OrderTopic): OrderTopicSpec {
  const spec = specOf(topic)
  for (const [name, value] of Object.entries(spec.with ?? {})) {
    if (typeof value === 'function' || (typeof value === 'object' && value !== null && '~standard' in value))
      throw new ClauseFailure('not proven', `a member in a process of its own cannot be given the topic's ${name}`)
  }
  return spec
}

/** The script for another process; `gates` remembers which gate has which name. */
export function plainScript(script: Script, gates: Map<string, Gate>, orders: (n: number, keys: number) => readonly Order[]): PlainScript {
  const { topic, acts = [], produce, recorder: _recorder, once, ...rest } = script
  const topics = topic === undefined ? [] : 'name' in topic ? [topic] : topic
  const { forward: atomic, ...options } = rest.options ?? {}
  return {
    ...rest,
    ...(topic === undefined ? {} : { topic: topics.map(plainSpec) }),
    ...(rest.options === undefined ? {} : { options }),
    ...(atomic === undefined ? {} : { forwardTo: atomic.to.map((to) => plainSpec(to as OrderTopic)) }),
    ...(once === undefined ? {} : { once: { windowMs: once.windowMs } }),
    single: topic !== undefined && 'name' in topic,
    acts: acts.map(({ gate, forward, ...act }) => {
      if (gate !== undefined) gates.set(gate.name, gate)
      return {
        ...act,
        ...(gate === undefined ? {} : { gate: gate.name }),
        ...(forward === undefined ? {} : { forward: plainSpec(forward) }),
      }
    }),
    ...(produce === undefined
      ? {}
      : { produce: { ...produce, topic: plainSpec(produce.topic), orders: orders(produce.count, produce.keys ?? 64) } }),
  }
}

/** The topic again, in another process. */
export function topicOf(spec: OrderTopicSpec): OrderTopic {
  return orderTopic(spec.name, {
    keyed: spec.keyed,
    groups: spec.groups,
    partitions: spec.partitions,
    ...(spec.with === undefined ? {} : { with: spec.with as Partial<TopicOptions<never>> as never }),
  })
}

/** A value that can go to another process: errors become their facts, everything with a life of its own its name. */
export function plain(value: unknown, depth = 0): unknown {
  if (value instanceof Error) {
    const { code } = value as { code?: unknown }
    return { name: value.name, message: value.message, ...(typeof code === 'string' ? { code } : {}) }
  }
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return value
  if (depth > 2) return '[object]'
  if (Array.isArray(value)) return value.map((each) => plain(each, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each, depth + 1)]))
}

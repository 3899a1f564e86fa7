import { anyText, checkOptions, either, fn, invalid, listOf, number, object, oneOf, show, text, whole } from './check.ts'
import { type Codec, codecOf } from './codec.ts'
import { checkGroupName, checkTopicName } from './names.ts'
import type { Native } from './native.ts'
import type { StandardSchemaV1 } from './standard-schema.ts'

/**
 * A named stream of messages, shared by the services that send and receive it. `In` is what you send and what travels;
 * `Out` is what a handler gets. Bare `Topic` means any topic.
 */
export interface Topic<in In = never, out Out = unknown, out Name extends string = string> {
  readonly name: Name
  readonly '~types'?: { readonly send: (value: In) => void; readonly receive: Out } | undefined
}
/** What `send` takes for this topic. */
export type SentBy<T extends Topic> = T extends Topic<infer In, unknown, string> ? In : never
/** What a handler of this topic gets. */
export type ValueOf<T extends Topic> = T extends Topic<never, infer Out, string> ? Out : never

type OutOf<S extends StandardSchemaV1> = StandardSchemaV1.InferOutput<S>

/** What a topic is: the type of its messages, their order, who gets them, and how they travel. */
export interface TopicOptions<S extends StandardSchemaV1> {
  /** Any Standard Schema: zod, valibot, arktype, … Checked at send and at receive. Without one the value is `unknown` on both sides. */
  readonly schema?: S | undefined
  /** Schemas of older shapes that may still arrive, tried in order at receive after `schema`; each must give what `schema` gives. */
  readonly accept?: readonly StandardSchemaV1<unknown, OutOf<NoInfer<S>>>[] | undefined
  /**
   * What decides the order: messages with one key are handled one after the other, in send order. Sees the validated value.
   * A value without a key must be refused by the schema; a key that is not a string rejects the send. Changing the number of partitions moves keys.
   */
  readonly key?: ((value: OutOf<NoInfer<S>>) => string) | undefined
  /** CloudEvents `type`, or how to get it from the validated value. @default the topic's name */
  readonly type?: string | ((value: OutOf<NoInfer<S>>) => string) | undefined
  /** Groups that get every message, even if they start later. A consumer with another group is refused unless it was declared. */
  readonly groups?: readonly string[] | undefined
  /** The unit of order and ownership. @default 4 on keyed topics; else what the adapter does best */
  readonly partitions?: number | undefined
  /** How values become bytes. @default 'json' */
  readonly codec?: 'json' | 'text' | 'bytes' | Codec | undefined
  /** Largest body, at send and at receive, in bytes. @default 1_048_576 */
  readonly maxBytes?: number | undefined
  /** How long the server keeps messages that every group has finished, in milliseconds. @default the server's */
  readonly retentionMs?: number | undefined
  /** A message that no group would get: `reject` the send, or `drop` it and count. @default 'reject' */
  readonly unrouted?: 'reject' | 'drop' | undefined
  /** Existing names and a broker's own knobs, by adapter. Options of other adapters are allowed, unknown ones of this are refused at start. */
  readonly native?: Native<'topic'> | undefined
}

/** A topic as the engines read it. */
export interface TopicDefinition {
  readonly name: string
  readonly schema: StandardSchemaV1 | undefined
  readonly accept: readonly StandardSchemaV1[]
  readonly key: ((value: unknown) => unknown) | undefined
  readonly type: string | ((value: unknown) => unknown)
  readonly groups: readonly string[]
  readonly partitions: number | undefined
  readonly codec: Codec
  readonly maxBytes: number
  readonly retentionMs: number | undefined
  readonly unrouted: 'reject' | 'drop'
  readonly native: Readonly<Record<string, unknown>>
}

const definition: unique symbol = Symbol.for('posthorn.topic') as never

/**
 * Declares a topic. Cheap, does no I/O, usually a constant in a module that services share.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for a bad name, group or option, naming the nearest known one.
 * @example
 * export const orderPlaced = topic('orders.placed', { schema: order, key: (order) => order.userId, groups: ['email', 'push'] })
 */
export function topic<const Name extends string, S extends StandardSchemaV1 = StandardSchemaV1<unknown, unknown>>(
  name: Name,
  options?: TopicOptions<S>,
): Topic<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>, Name> {
  checkTopicName('cannot declare a topic', name)
  const attempted = `cannot declare the topic "${name}"`
  const given = checkOptions<TopicOptions<S>>(attempted, options, {
    schema: standardSchema,
    accept: listOf(standardSchema),
    key: fn,
    type: either(text, fn),
    groups: listOf(anyText),
    partitions: whole(1, 10_000),
    codec: either(oneOf('json', 'text', 'bytes'), codecObject),
    maxBytes: whole(1),
    retentionMs: lasting,
    unrouted: oneOf('reject', 'drop'),
    native: object,
  })
  const groups = [...(given.groups ?? [])]
  for (const group of groups) checkGroupName(attempted, group)
  if (new Set(groups).size < groups.length) throw invalid(attempted, `"groups" names a group twice: ${show(groups)}`)
  const value: TopicDefinition = Object.freeze({
    name,
    schema: given.schema,
    accept: Object.freeze([...(given.accept ?? [])]),
    key: given.key as TopicDefinition['key'],
    type: (given.type as TopicDefinition['type'] | undefined) ?? name,
    groups: Object.freeze(groups),
    partitions: given.partitions,
    codec: codecOf(given.codec),
    maxBytes: given.maxBytes ?? 1_048_576,
    retentionMs: given.retentionMs,
    unrouted: given.unrouted ?? 'reject',
    native: Object.freeze({ ...(given.native as Record<string, unknown> | undefined) }),
  })
  const made = { name }
  Object.defineProperty(made, definition, { value })
  return Object.freeze(made)
}

/** What `topic` was told, or INVALID_ARGUMENT for anything that `topic` did not make. */
export function definitionOf(attempted: string, candidate: unknown): TopicDefinition {
  const found =
    typeof candidate === 'object' && candidate !== null ? (candidate as { [definition]?: TopicDefinition })[definition] : undefined
  if (found === undefined) throw invalid(attempted, `a topic made by topic('name') is needed, not ${show(candidate)}`)
  return found
}

/** A type without a check, for data you trust: `topic('ticks', { schema: unchecked<Tick>() })`. */
export function unchecked<T>(): StandardSchemaV1<T, T> {
  return trusted as StandardSchemaV1<T, T>
}
const trusted: StandardSchemaV1 = {
  '~standard': { version: 1, vendor: 'posthorn', validate: (value) => ({ value }) },
}

/** Is this the schema of `unchecked`, or none? Then there is nothing to validate. */
export function isUnchecked(schema: StandardSchemaV1 | undefined): boolean {
  return schema === undefined || schema === trusted
}

const lasting = number(1)
function standardSchema(value: unknown): string | undefined {
  const standard =
    (typeof value === 'object' || typeof value === 'function') && value !== null
      ? (value as Partial<StandardSchemaV1>)['~standard']
      : undefined
  return standard?.version === 1 && typeof standard.validate === 'function' ? undefined : 'a Standard Schema (zod, valibot, arktype, …)'
}
function codecObject(value: unknown): string | undefined {
  const codec = value as Partial<Codec> | null
  return typeof codec === 'object' &&
    codec !== null &&
    typeof codec.contentType === 'string' &&
    typeof codec.encode === 'function' &&
    typeof codec.decode === 'function'
    ? undefined
    : 'a codec { contentType, encode, decode }'
}

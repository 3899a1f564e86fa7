import type { BatchHandler, BatchOptions, CloseOptions, ConsumeOptions, Consumer, Handler, Puller, PullOptions } from './consumer.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { MessageOf } from './message.ts'
import type { Adapters } from './native.ts'
import type { Producer, ProducerOptions } from './producer.ts'
import type { Topic } from './topic.ts'

/** How the connection is: `recovering` is being made again by itself, `failed` is for good, `closed` is what you did. */
export type Status = 'connected' | 'recovering' | 'failed' | 'closed'
/** What a group still has to do, as the server counts it. */
export interface Lag {
  /** Messages the group has not been given yet; null where the server cannot say. */
  readonly backlog: number | null
  readonly unsettled: number | null
  readonly members: number | null
}
/** For a health endpoint: whether the process lives, and whether it can do its work right now. */
export interface Health {
  readonly live: boolean
  /** Every consumer is subscribed, and moving where it owns something. */
  readonly ready: boolean
  readonly reasons: readonly string[]
}
/** What `broker.declare` makes beside what the topics say. */
export interface DeclareOptions {
  readonly groups?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** What `connect` returns: sends and receives on one server. */
export interface Broker extends AsyncDisposable {
  /** Cached by topic and options: cheap per request. The first send declares the topic and its groups. */
  producer<In>(topic: Topic<In, unknown, string>, options?: ProducerOptions): Producer<In>
  /** Resolves when subscribed, rejects if refused. */
  consume<const T extends Topic, Tx = undefined>(
    topics: T | readonly T[],
    options: ConsumeOptions<Tx>,
    handler: Handler<MessageOf<T>, Tx>,
  ): Promise<Consumer>
  consumeBatch<const T extends Topic>(
    topics: T | readonly T[],
    options: BatchOptions,
    handler: BatchHandler<MessageOf<T>>,
  ): Promise<Consumer>
  pull<const T extends Topic>(topics: T | readonly T[], options: PullOptions): Promise<Puller<MessageOf<T>>>
  /** Makes topics and groups now, so that groups miss nothing from here on. Idempotent. */
  declare(topics: Topic | readonly Topic[], options?: DeclareOptions): Promise<void>
  deadLetters(topic: Topic, group: string): DeadLetters
  lag(topic: Topic, group: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<Lag>
  health(): Health
  /** The client's own object, for what only this broker can do. */
  native<A extends keyof Adapters>(adapter: A): Adapters[A] extends { client: infer C } ? C : unknown
  readonly adapter: string
  readonly status: Status
  /** Drains every consumer, flushes every producer, then releases everything. Resolves within its deadline even if the server is gone; twice is the same promise. */
  close(options?: CloseOptions): Promise<void>
}

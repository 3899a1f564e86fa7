import type { Receipt } from './errors.ts'

/** What one send can be told. */
export interface SendOptions {
  /** CloudEvents `id`. Give one to repeat an unknown send. @default a random UUID */
  readonly id?: string | undefined
  /** Instead of the topic's `key`. Only on keyed topics. */
  readonly key?: string | undefined
  /** HTTP-token names, values without CR, LF, NUL; at most 64, together at most 8 KiB. `ce_`, `ph-`, and CloudEvents' transport names are reserved. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Milliseconds until it may be handled. Cannot be cancelled. Survives restarts; never early by the forwarder's clock. */
  readonly delayMs?: number | undefined
  /** The same as a point in time. */
  readonly notBefore?: Date | undefined
  /** From then on it is dropped and counted instead of handled. */
  readonly expiresAt?: Date | undefined
  /** Gives the wait up: rejects with CANCELLED; outcome `unknown` if bytes may have left. */
  readonly signal?: AbortSignal | undefined
}
/** What all sends of a producer have in common. */
export interface ProducerOptions {
  /** Send an unknown outcome again under the same id until `timeoutMs`. The one option that is on: at-least-once is the default. @default true */
  readonly retryUnknown?: boolean | undefined
  /** Longest time from `send` to its outcome, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number | undefined
  /** Messages that may wait to leave; above it `send` rejects with UNAVAILABLE. @default 10_000 */
  readonly maxBuffered?: number | undefined
}
/** Sends to one topic. Cheap to keep; closing the broker closes it. */
export interface Producer<in In> {
  /**
   * Resolves when the server has durably stored the message. Sends of one key that are not awaited keep their order.
   *
   * @throws MessagingError `outcome: 'failed'`: surely not stored. `outcome: 'unknown'`: may be stored; repeat under `error.messageId`.
   */
  send(value: In, options?: SendOptions): Promise<Receipt>
  /** All stored, or one rejection whose `outcomes` has one entry per message, in order. */
  sendBatch(messages: readonly BatchEntry<In>[], options?: { readonly signal?: AbortSignal | undefined }): Promise<readonly Receipt[]>
  /** Resolves when everything sent so far has its outcome. Never rejects: each send reports its own. */
  flush(): Promise<void>
}
/** One message of `sendBatch`. */
export type BatchEntry<In> = SendOptions & { readonly value: In }

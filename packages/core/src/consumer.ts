import type { Decision } from './decision.ts'
import type { Message } from './message.ts'
import type { Middleware } from './middleware.ts'
import type { Native } from './native.ts'
import type { OnceStore } from './once.ts'
import type { Topic } from './topic.ts'

/**
 * Handles one message. Returning (or resolving) means done; a throw means failed: retried by the policy, then a dead letter.
 * The four decisions `retry`, `postpone`, `deadLetter` and `drop` may be returned or thrown.
 */
export type Handler<M, Tx = undefined> = (message: M, tx: Tx) => Promise<Decision | void> | Decision | void
/** Handles several at once: one decision per message (nothing = done); a throw counts one attempt for all and hands them out again one by one. */
export type BatchHandler<M> = (messages: readonly M[]) => Promise<readonly (Decision | void)[] | void>

/** How failures are repeated: wait `firstDelayMs × factor^n`, at most `maxDelayMs`, with full jitter. */
export interface RetryPolicy {
  /** In total, the first included. @default 5 */
  readonly attempts?: number | undefined
  /** Milliseconds. @default 200 */
  readonly firstDelayMs?: number | undefined
  /** @default 2 */
  readonly factor?: number | undefined
  /** Milliseconds. @default 30_000 */
  readonly maxDelayMs?: number | undefined
}

/** What every way of receiving can be told. */
export interface ReceiveOptions {
  /** Members of one group share the messages; it also names dead letters, lag and metrics. Always given. */
  readonly group: string
  /** Every instance gets every message while it is connected; `group` is then only a name. @default false */
  readonly broadcast?: boolean | undefined
  /** Where a new group starts. Acts once, when the group is declared. @default 'earliest' */
  readonly startFrom?: 'earliest' | 'latest' | Date | undefined
  /** What happens to messages that the schema refuses or that do not decode. `stop`: unsettled, and the consumer dies. @default 'dead-letter' */
  readonly onInvalid?: 'dead-letter' | 'drop' | 'stop' | undefined
  /** false: the first failure is a dead letter. */
  readonly retry?: RetryPolicy | false | undefined
  /** Messages held per assignment. @default 256 */
  readonly maxUnsettled?: number | undefined
  /** Crash guard by the server's own count of hand-overs: above it, a dead letter with reason `crash-loop`. A polite hand-over may count too. @default off */
  readonly maxDeliveries?: number | undefined
  /** Ends the start, not the consumer. */
  readonly signal?: AbortSignal | undefined
  /** A broker's own knobs and existing names. */
  readonly native?: Native<'consumer'> | undefined
}
/** What everything with a handler can be told. */
export interface HandleOptions extends ReceiveOptions {
  /** Handlers running at once, over all topics and partitions of this consumer. @default 16 */
  readonly concurrency?: number | undefined
  /** Then `message.signal` aborts; after 5 s of grace it is a failed attempt. @default off */
  readonly handlerTimeoutMs?: number | undefined
  readonly middleware?: readonly Middleware[] | undefined
}
/** What `broker.consume` can be told. */
export interface ConsumeOptions<Tx = undefined> extends HandleOptions {
  /** @default 'key' on a keyed topic */
  readonly ordering?: 'key' | 'none' | undefined
  /** `before` is at most once: settled first, handled only if that is confirmed. @default 'after' */
  readonly settle?: 'after' | 'before' | undefined
  /** Effectively once: the store runs the handler inside its transaction and skips repeats. */
  readonly once?: OnceStore<Tx> | undefined
  /** Outputs of `message.forward` and the settlement in one step, where the server can; refused elsewhere. */
  readonly forward?: { readonly atomic: true; readonly to: readonly Topic[] } | undefined
  /** Handler starts, per process. */
  readonly rate?: { readonly max: number; readonly perMs: number } | undefined
}
/** What `broker.consumeBatch` can be told. */
export interface BatchOptions extends HandleOptions {
  /** Messages of one batch. @default 100 */
  readonly max?: number | undefined
  /** Longest wait of the first message for others, in milliseconds. @default 50 */
  readonly waitMs?: number | undefined
}
/** What `broker.pull` can be told. */
export interface PullOptions extends ReceiveOptions {
  /** Not settled by then: handed out again, as a failed attempt. Milliseconds. @default 300_000 */
  readonly settleWithinMs?: number | undefined
}

/** One member of a group: calls the handler for its share of the messages until it is closed. A running one keeps the process alive. */
export interface Consumer extends AsyncDisposable {
  /** Resolves after `close`; rejects if the consumer died for good. Unobserved, that rejection ends the process: no silently dead consumer. */
  readonly closed: Promise<void>
  readonly state: 'running' | 'paused' | 'recovering' | 'draining' | 'closed' | 'failed'
  stats(): ConsumerStats
  /** Starts no more handlers; the membership stays. */
  pause(): void
  resume(): void
  /**
   * Starts no more handlers, waits for those already running, settles them and hands over the rest.
   * A handler still running after `drainMs` leaves its message unsettled, so it is delivered again.
   * Resolves within its deadline even if the server is gone; twice is the same promise.
   */
  close(options?: CloseOptions): Promise<void>
}
/** How long closing may wait. */
export interface CloseOptions {
  /** Longest wait for handlers that are already running, in milliseconds. @default 10_000 */
  readonly drainMs?: number | undefined
}
/** Counts since the consumer started; `running` and `unsettled` are of this moment. */
export interface ConsumerStats {
  readonly running: number
  readonly unsettled: number
  readonly handled: number
  readonly failed: number
  readonly deadLettered: number
}
/** A consumer whose messages are asked for: `receive` hands them out, and each settles itself. */
export interface Puller<out M> extends Consumer {
  /** At least one message, at most `max`, or none after `waitMs`. */
  receive(options?: {
    readonly max?: number | undefined
    readonly waitMs?: number | undefined
    readonly signal?: AbortSignal | undefined
  }): Promise<readonly Pulled<M>[]>
}
/** What became of a settlement: recorded; too late, the message is somebody else's; or its reply was lost. */
export type PullResult = 'done' | 'stale' | 'unknown'
/** A message that was pulled, with what settles it. */
export type Pulled<M> = M & {
  /** `done`: recorded; where only prefixes can be settled, settled together with everything before it. */
  done(): Promise<PullResult>
  settle(decision: Decision): Promise<PullResult>
}
/** A handler for any message, as the engines call it. */
export type AnyHandler = Handler<Message, never>

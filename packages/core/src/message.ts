import type { SendOptions } from './producer.ts'
import type { Topic } from './topic.ts'

/** What a handler receives. */
export interface Message<out Value = unknown, out Name extends string = string> {
  readonly topic: Name
  /** Decoded and validated: what the topic's schema gives. */
  readonly value: Value
  /** The sender's id. A foreign message without one gets `topic@position`, or a fresh one per delivery where the server has no positions. */
  readonly id: string
  readonly key: string | undefined
  /** The application's headers, and `traceparent`, `tracestate`, `baggage`. Without prototype. */
  readonly headers: Readonly<Record<string, string>>
  /** CloudEvents `type`; of a message without one, the topic's name. */
  readonly type: string
  /** CloudEvents `source`: who sent it. */
  readonly source: string | undefined
  /** When it was sent, by the sender's clock. */
  readonly time: Date | undefined
  readonly group: string
  /** 1 + failures of handlers for this message that are known here or in a parked copy. Starts again after a crash. */
  readonly attempt: number
  /** Where it is stored, for people; undefined where the server has no positions. */
  readonly position: string | undefined
  /** Aborts when the message was taken away (a lost partition), its time is up, or the drain is over. What the handler does afterwards is ignored. */
  readonly signal: AbortSignal
  /**
   * Sends another message together with this one's settlement: queued now, sent when the handler succeeds and confirmed
   * before this message is settled, dropped if this attempt fails. A repeat sends it under the same id. An invalid value fails the attempt.
   */
  forward<In>(topic: Topic<In, unknown, string>, value: In, options?: ForwardOptions): void
}
export type ForwardOptions = Omit<SendOptions, 'id' | 'signal'>

/** The message that a handler of this topic gets. */
export type MessageOf<T extends Topic> = T extends Topic<never, infer Out, infer Name> ? Message<Out, Name> : never

import type { Decision } from './decision.ts'
import type { Message } from './message.ts'

/** One send, as middleware sees it: validated, not encoded yet. */
export interface SendContext {
  readonly kind: 'send'
  readonly topic: string
  readonly id: string
  readonly key: string | undefined
  readonly value: unknown
  /** May be added to; checked by the header rules afterwards. */
  readonly headers: Record<string, string>
}
/** One call of a handler, as middleware sees it. */
export interface HandleContext {
  readonly kind: 'handle'
  readonly topic: string
  readonly group: string
  /** One, or a batch. */
  readonly messages: readonly Message[]
  /** What the handler decided, after `next()`; may be replaced. */
  decision: Decision | undefined
}
/** Runs around every send and every handler call; `next()` does the rest. A throw fails the send or the attempt. */
export type Middleware = (context: SendContext | HandleContext, next: () => Promise<void>) => Promise<void>

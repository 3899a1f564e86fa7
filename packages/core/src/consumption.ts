import type { BusyHandlers } from './busy-handlers.ts'
import type { BrokerContext } from './context.ts'
import type { Entry } from './entry.ts'
import type { MessagingError } from './errors.ts'
import type { FinishedMemory } from './finished.ts'
import type { ReceivePlan } from './receive-plan.ts'

/** What the assignments of one consumer share. */
export interface Consumption {
  readonly context: BrokerContext
  readonly plan: ReceivePlan
  readonly finished: FinishedMemory
  readonly busy: BusyHandlers
  readonly counts: { running: number; handled: number; failed: number; deadLettered: number }
  /** Hands out ready entries: one by one, in batches, or when they are pulled. */
  readonly dispatch: Dispatch
  /** Ends the consumer for good: `closed` rejects with this. */
  fail(error: MessagingError): void
}

/** Where assignments offer what may start. */
export interface Dispatch {
  offer(queue: ReadyQueue): void
  kick(): void
  pause(): void
  resume(): void
  /** Nothing starts any more. */
  stop(): void
  readonly paused: boolean
}
export interface ReadyQueue {
  ready(): number
  take(): Entry
}

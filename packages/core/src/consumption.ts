import type { BusyHandlers } from './busy-handlers.ts'
import type { PullResult } from './consumer.ts'
import type { BrokerContext } from './context.ts'
import type { Assignment } from './contract.ts'
import type { Entry } from './entry.ts'
import type { MessagingError } from './errors.ts'
import type { FinishedMemory } from './finished.ts'
import type { ReceivePlan } from './receive-plan.ts'
import type { TimeLimits } from './time-limits.ts'
import type { TopicDefinition } from './topic.ts'

/** What the assignments of one consumer share. */
export interface Consumption {
  readonly context: BrokerContext
  readonly plan: ReceivePlan
  readonly finished: FinishedMemory
  readonly busy: BusyHandlers
  readonly counts: { running: number; handled: number; failed: number; deadLettered: number }
  /** Hands out ready entries: one by one, in batches, or when they are pulled. */
  readonly dispatch: Dispatch
  readonly limits: TimeLimits
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

/** Reads one assignment, keeps its keys in order, and gives it up when asked. */
export interface AssignmentRunner extends ReadyQueue {
  readonly topic: TopicDefinition
  readonly assignment: Assignment
  /** Nothing of it is ours any more. */
  readonly over: boolean
  /** No new handler starts here. */
  readonly leaving: boolean
  /** May something be started or published for it now? */
  alive(): boolean
  /** Held and not settled. */
  readonly unsettled: number
  /** Entries waiting for another attempt. */
  readonly waiting: number
  /** Reads on: there is room, or the pause is over. */
  wake(): void
  /** This entry's handler starts. */
  started(entry: Entry): void
  /** This entry may start (again). */
  makeReady(entry: Entry): void
  /** This entry waits for another attempt; `run` is called then, unless the assignment is left before. */
  waitFor(entry: Entry, ms: number, run: () => void): void
  /** Nothing more is to be done for this entry but to settle it, and to let the next of its key go on. */
  finish(entry: Entry): void
  /** How its settlement will be answered; where only prefixes are settled, `done` as soon as it is recorded. */
  answerOf(entry: Entry): Promise<PullResult>
  /** Its handler ended and its outcome is not to be acted upon: it stays unsettled. */
  leave(entry: Entry): void
  /** Finishes what runs, settles, releases. Resolves soon after `deadline` at the latest; twice is the same promise. */
  handOver(deadline: number): Promise<void>
  /** Resolves when the assignment ended, however. */
  readonly ended: Promise<void>
}

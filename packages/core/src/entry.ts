import type { AssignmentRunner } from './consumption.ts'
import type { Delivery, Outgoing, Received } from './contract.ts'
import type { IncomingMessage } from './incoming-message.ts'
import type { PrefixSlot } from './settled-prefix.ts'

/**
 * Where a held delivery stands. `queued`: behind another of its key. `ready`: may start. `running`: its handler runs.
 * `waiting`: for its next attempt. `concluding`: its handler ended, its copies or outputs are on their way.
 * `finished`: to be settled. `gone`: no longer ours, whatever happens to it now is ignored.
 */
export type EntryState = 'queued' | 'ready' | 'running' | 'waiting' | 'concluding' | 'finished' | 'gone'

/** One delivery that a consumer holds, from its hand-out to its settlement. */
export interface Entry {
  readonly runner: AssignmentRunner
  readonly delivery: Delivery
  /** null where it could not even be read. */
  readonly content: Received | null
  readonly id: string
  /** Names it among all messages of the consumer: topic, source and id. */
  readonly identity: string
  /** The key whose messages wait for each other; null: none. */
  readonly lane: string | null
  state: EntryState
  /** Failed attempts that are known, here or before it was parked. */
  failures: number
  firstFailedAt: number
  lastFailedAt: number
  lastError: string | undefined
  /** The next one of its lane. */
  behind: Entry | null
  /** Its place in the settled prefix; null where tokens are settled one by one. */
  slot: PrefixSlot | null
  /** Atomic outputs that go with its settlement. */
  outputs: readonly Outgoing[] | null
  /** What its running handler was given. */
  message: IncomingMessage | null
  /** A handler that outlived its time and still runs: its lane stays closed until this ends. */
  overdue: Promise<void> | null
  cancelTimer: (() => void) | null
  /** It was in a batch that threw: handed out alone from now on. */
  alone: boolean
}

/** A fresh entry. All fields are there from the start, so that engines see one shape. */
export function createEntry(
  runner: AssignmentRunner,
  delivery: Delivery,
  content: Received | null,
  id: string,
  identity: string,
  lane: string | null,
): Entry {
  return {
    runner,
    delivery,
    content,
    id,
    identity,
    lane,
    state: 'queued',
    failures: 0,
    firstFailedAt: 0,
    lastFailedAt: 0,
    lastError: undefined,
    behind: null,
    slot: null,
    outputs: null,
    message: null,
    overdue: null,
    cancelTimer: null,
    alone: false,
  }
}

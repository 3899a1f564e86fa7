import type { AssignmentRunner } from './consumption.ts'
import type { Delivery, Outgoing, Received } from './contract.ts'
import { identityOf } from './identity.ts'
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
  /** Its place among the active entries of its assignment; -1: not among them. */
  place: number
}

class HeldEntry implements Entry {
  readonly runner: AssignmentRunner
  readonly delivery: Delivery
  readonly content: Received | null
  readonly id: string
  readonly lane: string | null
  state: EntryState = 'queued'
  failures = 0
  firstFailedAt = 0
  lastFailedAt = 0
  lastError: string | undefined = undefined
  behind: Entry | null = null
  slot: PrefixSlot | null = null
  outputs: readonly Outgoing[] | null = null
  message: IncomingMessage | null = null
  overdue: Promise<void> | null = null
  cancelTimer: (() => void) | null = null
  alone = false
  place = -1
  #identity: string | null = null

  constructor(runner: AssignmentRunner, delivery: Delivery, content: Received | null, id: string, lane: string | null) {
    this.runner = runner
    this.delivery = delivery
    this.content = content
    this.id = id
    this.lane = lane
  }

  // Most messages are settled without anybody asking.
  get identity(): string {
    this.#identity ??= identityOf(this.runner.topic.name, this.delivery, this.content, this.id)
    return this.#identity
  }
}

/** A fresh entry. All fields are there from the start, so that engines see one shape. */
export function createEntry(
  runner: AssignmentRunner,
  delivery: Delivery,
  content: Received | null,
  id: string,
  lane: string | null,
): Entry {
  return new HeldEntry(runner, delivery, content, id, lane)
}

import type { Adapter, Fault, PublishReport } from './contract.ts'
import { type ErrorCode, isMessagingError, MessagingError, type Receipt, textOf } from './errors.ts'
import { explained } from './explained.ts'
import type { SendEntry } from './send-lane.ts'

/** What is known of a message that was not confirmed. */
export function outcomeOf(entry: SendEntry): 'failed' | 'unknown' {
  return entry.mayBeStored || entry.flight !== null ? 'unknown' : 'failed'
}

// A class, because an object with a getter of its own costs twenty times as much, and every send makes one.
class StoredReceipt implements Receipt {
  readonly id: string
  readonly #report: PublishReport
  readonly #index: number

  constructor(id: string, report: PublishReport, index: number) {
    this.id = id
    this.#report = report
    this.#index = index
  }

  get position(): string | null {
    return this.#report.position(this.#index)
  }

  toJSON(): Receipt {
    return { id: this.id, position: this.position }
  }
}

/** The receipt of a stored message; its position is asked for only when somebody reads it. */
export function receiptOf(id: string, report: PublishReport, index: number): Receipt {
  return new StoredReceipt(id, report, index)
}

/** The server refused it, or its outcome is unknown and is not to be repeated. */
export function refusal(adapter: Adapter, entry: SendEntry, error: unknown): MessagingError {
  const fault = explained(adapter, error)
  return made(entry, fault.code, textOf(error), { retryable: fault.retryable, cause: error })
}

/** Its time is up: the code is what kept it from being stored, where that is known. */
export function outOfTime(adapter: Adapter, entry: SendEntry): MessagingError {
  const fault = entry.fault === undefined ? undefined : explained(adapter, entry.fault)
  const last = fault === undefined ? '' : `. the last answer was: ${textOf(entry.fault, 512)}`
  const text = entry.publishes === 0 ? 'its time was up before it could leave' : `no confirmation came in time${last}`
  return made(entry, fault === undefined ? 'TIMED_OUT' : codeAtDeadline(fault), text, { retryable: true, cause: entry.fault })
}

/** The caller gave up, or what it belonged to is over. */
export function cancelled(entry: SendEntry, why: string): MessagingError {
  return made(entry, 'CANCELLED', why, { retryable: false, cause: undefined })
}

/** The broker object closed before it had an outcome. */
export function closed(entry: SendEntry): MessagingError {
  return made(entry, 'CLOSED', 'the broker was closed first', { retryable: false, cause: entry.fault })
}

function made(
  entry: SendEntry,
  code: ErrorCode,
  text: string,
  detail: { readonly retryable: boolean; readonly cause: unknown },
): MessagingError {
  const { attempted, content } = entry.request
  const outcome = outcomeOf(entry)
  const next =
    outcome === 'failed'
      ? 'it was not stored'
      : 'it may be stored. to repeat it, send it under the id in error.messageId, so that receivers recognise the repeat'
  return new MessagingError(code, `${attempted}: ${text}. ${next}`, { ...detail, outcome, messageId: content.id })
}

// A publish that was aborted because its time was up says so in the adapter's words; the caller asked for neither.
function codeAtDeadline(fault: Fault): ErrorCode {
  return fault.code === 'CANCELLED' || fault.code === 'CLOSED' || fault.code === 'INTERNAL' ? 'TIMED_OUT' : fault.code
}

/** The promise of a send that has its outcome already. */
export function settled(outcome: Receipt | MessagingError): Promise<Receipt> {
  return isMessagingError(outcome) ? Promise.reject(outcome) : Promise.resolve(outcome)
}

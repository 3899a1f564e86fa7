import type { Fault, FaultCode } from './contract.ts'
import { redactCause, redactText } from './redact.ts'
import type { StandardSchemaV1 } from './standard-schema.ts'

/** Named for what the caller should do; `docs/errors.md` has a heading for each. */
export type ErrorCode = FaultCode

/** One message of a batch: stored, or why not. */
export type SendOutcome =
  | { readonly status: 'stored'; readonly receipt: Receipt }
  | { readonly status: 'failed' | 'unknown'; readonly error: MessagingError }

/** What a send resolves to, once the server has confirmed that the message is stored. */
export interface Receipt {
  /** The message's id: given, or made by the producer. */
  readonly id: string
  /** Where it is stored, for people; null where the server has no positions. */
  readonly position: string | null
}

export interface MessagingErrorDetail {
  readonly retryable?: boolean | undefined
  readonly outcome?: 'failed' | 'unknown' | 'none' | undefined
  readonly messageId?: string | undefined
  readonly issues?: readonly StandardSchemaV1.Issue[] | undefined
  readonly outcomes?: readonly SendOutcome[] | undefined
  readonly cause?: unknown
}

/**
 * The one error class. Recognise it with `isMessagingError`, which works across duplicate installs.
 * Its text says what was attempted, on what, and the next step; it never holds a credential.
 */
export class MessagingError extends Error {
  override readonly name = 'MessagingError'
  readonly code: ErrorCode
  /** May the same call work later, unchanged? */
  readonly retryable: boolean
  /** Of a send: `failed` is surely not stored, `unknown` may be. `none` where nothing was to be stored. */
  readonly outcome: 'failed' | 'unknown' | 'none'
  /** Repeat an unknown send under this id, so that receivers can recognise the repeat. */
  readonly messageId: string | undefined
  /** INVALID_MESSAGE: what the schema said. */
  readonly issues: readonly StandardSchemaV1.Issue[]
  /** `sendBatch`: one entry per message, in order. */
  readonly outcomes: readonly SendOutcome[]

  constructor(code: ErrorCode, message: string, detail: MessagingErrorDetail = {}) {
    super(redactText(message), detail.cause === undefined ? undefined : { cause: redactCause(detail.cause) })
    this.code = code
    this.retryable = detail.retryable ?? (code === 'UNAVAILABLE' || code === 'TIMED_OUT')
    this.outcome = detail.outcome ?? 'none'
    this.messageId = detail.messageId
    this.issues = detail.issues ?? []
    this.outcomes = detail.outcomes ?? []
  }
}

/** True for an error of this library, of any installed copy; with `code`, only for that one. */
export function isMessagingError(error: unknown, code?: ErrorCode): error is MessagingError {
  if (typeof error !== 'object' || error === null) return false
  const candidate = error as Partial<MessagingError>
  return candidate.name === 'MessagingError' && typeof candidate.code === 'string' && (code === undefined || candidate.code === code)
}

/** Wraps what an adapter threw: its classification, our words. An error that is ours already passes unchanged. */
export function fromFault(fault: Fault, error: unknown, attempted: string, detail: MessagingErrorDetail = {}): MessagingError {
  if (isMessagingError(error)) return error
  return new MessagingError(fault.code, `${attempted}: ${textOf(error)}`, {
    retryable: fault.retryable,
    outcome: fault.outcome,
    cause: error,
    ...detail,
  })
}

/** The text of anything that was thrown, bounded and without throwing itself: errors, strings, frozen or circular objects, getters that throw. */
export function textOf(error: unknown, maxBytes = 2048): string {
  let text: string
  try {
    if (error instanceof Error || isMessagingError(error)) text = String((error as Error).message) || String((error as Error).name)
    else if (typeof error === 'string') text = error
    else if (typeof error === 'object' && error !== null) {
      const message = (error as { message?: unknown }).message
      text = typeof message === 'string' && message !== '' ? message : Object.prototype.toString.call(error)
    } else text = String(error)
  } catch {
    text = 'an error whose text cannot be read'
  }
  return capText(redactText(text.length > maxBytes * 2 ? text.slice(0, maxBytes * 2) : text), maxBytes)
}

/** At most `maxBytes` of UTF-8, cut at a character. */
export function capText(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes) return text
  const bytes = new TextEncoder().encode(text)
  if (bytes.length <= maxBytes) return text
  const cut = new TextDecoder().decode(bytes.subarray(0, Math.max(0, maxBytes - 3)))
  return `${cut.replace(/�+$/, '')}…`
}

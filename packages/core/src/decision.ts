import { checkOptions, invalid, milliseconds, show, text } from './check.ts'

/** What a handler may return or throw instead of being done: made by `retry`, `postpone`, `deadLetter` and `drop`. */
export interface Decision {
  readonly '~decision': 'retry' | 'postpone' | 'dead-letter' | 'drop'
}

/** A decision as the engine reads it. */
export type Decided =
  | { readonly '~decision': 'retry'; readonly afterMs: number | undefined; readonly reason: string | undefined }
  | { readonly '~decision': 'postpone'; readonly afterMs: number }
  | { readonly '~decision': 'dead-letter'; readonly reason: string }
  | { readonly '~decision': 'drop'; readonly reason: string }

/**
 * This attempt failed: hand the message out again, as a throw would, after `afterMs` instead of the policy's backoff.
 * Counts an attempt; after the last one the message goes to the dead letters.
 */
export function retry(options?: {
  /** Milliseconds until the next attempt, not jittered. @default the policy's backoff */
  readonly afterMs?: number | undefined
  /** Kept with the dead letter if this was the last attempt. */
  readonly reason?: string | undefined
}): Decision {
  const { afterMs, reason } = checkOptions('cannot decide retry()', options, { afterMs: milliseconds, reason: text })
  return Object.freeze({ '~decision': 'retry', afterMs, reason } satisfies Decided)
}

/** Not now, and not a failure: hand the message out again after `afterMs` milliseconds. Counts no attempt. On a keyed topic the key waits. */
export function postpone(options: { readonly afterMs: number }): Decision {
  const { afterMs } = checkOptions('cannot decide postpone()', options, { afterMs: milliseconds })
  if (afterMs === undefined) throw invalid('cannot decide postpone()', 'the option "afterMs" is missing')
  return Object.freeze({ '~decision': 'postpone', afterMs } satisfies Decided)
}

/** Never again: set the message aside in the group's dead letters, with this reason, without further attempts. */
export function deadLetter(reason: string): Decision {
  checkReason('deadLetter', reason)
  return Object.freeze({ '~decision': 'dead-letter', reason } satisfies Decided)
}

/** Let the message go for good: settled, counted and logged with this reason, kept nowhere. */
export function drop(reason: string): Decision {
  checkReason('drop', reason)
  return Object.freeze({ '~decision': 'drop', reason } satisfies Decided)
}

/** The decision that was returned or thrown, or undefined where it is none. Anything else that a handler returns means done. */
export function decided(value: unknown): Decided | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const kind = (value as { '~decision'?: unknown })['~decision']
  return kind === 'retry' || kind === 'postpone' || kind === 'dead-letter' || kind === 'drop' ? (value as Decided) : undefined
}

function checkReason(name: string, reason: unknown): void {
  if (typeof reason !== 'string' || reason === '')
    throw invalid(`cannot decide ${name}()`, `the reason must be a text that is not empty, not ${show(reason)}`)
}

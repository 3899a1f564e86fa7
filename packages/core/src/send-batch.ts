import { checkOptions, invalid, object, show, signal } from './check.ts'
import { isMessagingError, MessagingError, type Receipt, type SendOutcome } from './errors.ts'
import type { SingleSends } from './produce.ts'

/**
 * Sends messages in order, within the producer's bound: what does not fit yet is fed as the first ones end. All share one
 * deadline. Resolves with their receipts, or rejects once with every outcome, in order, when all have one.
 */
export function sendBatch(singles: SingleSends, messages: unknown, options: unknown): Promise<readonly Receipt[]> {
  const { attempted } = singles
  let batchSignal: AbortSignal | undefined
  let entries: readonly unknown[]
  try {
    batchSignal = checkOptions<{ readonly signal?: AbortSignal | undefined }>(attempted, options as object | undefined, { signal }).signal
    if (!Array.isArray(messages)) throw invalid(attempted, `sendBatch takes a list of { value, … }, not ${show(messages)}`)
    entries = [...messages]
  } catch (error) {
    return Promise.reject(error)
  }
  if (entries.length === 0) return Promise.resolve([])
  const deadline = singles.clock.monotonic() + singles.timeoutMs
  const outcomes: SendOutcome[] = new Array(entries.length)

  return new Promise((resolve, reject) => {
    let next = 0
    let open = entries.length
    const settle = (index: number, outcome: SendOutcome): void => {
      outcomes[index] = outcome
      if (--open > 0) return
      const failed = outcomes.filter((each) => each.status !== 'stored')
      if (failed.length === 0) resolve(outcomes.map((each) => (each as { readonly receipt: Receipt }).receipt))
      else reject(rejection(attempted, outcomes))
    }
    const start = (index: number): void => {
      const entry = entries[index]
      let sent: Promise<Receipt>
      if (object(entry) !== undefined)
        sent = Promise.reject(invalid(attempted, `message ${index} of the batch must be an object { value, … }, not ${show(entry)}`))
      else if (!Object.hasOwn(entry as object, 'value'))
        sent = Promise.reject(invalid(attempted, `message ${index} of the batch has no "value"`))
      else {
        const { value, ...rest } = entry as { readonly value: unknown }
        sent = singles.one(value, isEmpty(rest) ? undefined : rest, deadline, batchSignal)
      }
      sent.then(
        (receipt) => settle(index, { status: 'stored', receipt }),
        (error: unknown) =>
          settle(index, {
            status: isMessagingError(error) && error.outcome === 'unknown' ? 'unknown' : 'failed',
            error: error as MessagingError,
          }),
      )
    }
    // One at a time from the front of the line: answers false when the batch has been handed over.
    const feed = (): boolean => {
      start(next++)
      return next < entries.length
    }
    while (next < entries.length && !singles.full) start(next++)
    if (next < entries.length) singles.whenRoom(feed)
  })
}

function isEmpty(value: object): boolean {
  for (const _ in value) return false
  return true
}

function rejection(attempted: string, outcomes: readonly SendOutcome[]): MessagingError {
  const errors: MessagingError[] = []
  for (const outcome of outcomes) if (outcome.status !== 'stored') errors.push(outcome.error)
  const first = errors[0] as MessagingError
  const unknown = outcomes.some((outcome) => outcome.status === 'unknown')
  return new MessagingError(
    first.code,
    `${errors.length} of ${outcomes.length} messages were not stored, or not surely. the first: ${first.message}. see error.outcomes for each (${attempted})`,
    {
      retryable: errors.every((error) => error.retryable),
      outcome: unknown ? 'unknown' : 'failed',
      issues: first.issues,
      outcomes,
      cause: first,
    },
  )
}

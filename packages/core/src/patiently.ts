import type { BrokerContext } from './context.ts'
import { type ErrorCode, MessagingError } from './errors.ts'
import { explained } from './explained.ts'
import { onAbort } from './on-abort.ts'

const firstPauseMs = 100
const longestPauseMs = 2000

/** What bounds an operation. */
export interface Bounds {
  readonly attempted: string
  /** Milliseconds. */
  readonly withinMs: number
  readonly signal: AbortSignal | undefined
}

/**
 * Runs an operation that may be run again: repeats it on retryable faults until it is out of time, and ends at once when
 * the caller gives up or the broker closes, whatever the server does.
 *
 * @throws MessagingError the operation's own, TIMED_OUT, CANCELLED or CLOSED
 */
export async function patiently<T>(
  context: Pick<BrokerContext, 'adapter' | 'clock' | 'random' | 'closing' | 'wrap'>,
  bounds: Bounds,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { clock, closing } = context
  const { attempted, signal } = bounds
  const stop = new AbortController()
  const deadline = clock.monotonic() + bounds.withinMs
  let fault: unknown
  let refuse: ((error: MessagingError) => void) | undefined
  const refused = new Promise<never>((_, reject) => {
    refuse = reject
  })
  // Its rejection is looked at by the races below, or by nobody.
  refused.catch(() => undefined)
  const give = (code: ErrorCode, text: string): void => {
    refuse?.(fault === undefined ? new MessagingError(code, `${attempted}: ${text}`) : context.wrap(fault, attempted))
    stop.abort()
  }
  const giveUp = (): void => {
    fault = undefined
    give('CANCELLED', 'its signal was aborted')
  }
  const close = (): void => {
    fault = undefined
    give('CLOSED', 'the broker is closed')
  }
  const cancelTimer = clock.timer(bounds.withinMs, () => give('TIMED_OUT', 'the server did not answer in time'))
  let cancelPause = (): void => undefined
  const offs: (() => void)[] = []
  if (signal?.aborted) giveUp()
  else if (closing.aborted) close()
  else {
    if (signal !== undefined) offs.push(onAbort(signal, giveUp))
    offs.push(onAbort(closing, close))
  }
  try {
    for (let tries = 0; ; tries++) {
      try {
        return await Promise.race([refused, stop.signal.aborted ? refused : run(stop.signal)])
      } catch (error) {
        if (stop.signal.aborted || !explained(context.adapter, error).retryable || clock.monotonic() >= deadline) {
          throw context.wrap(error, attempted)
        }
        fault = error
      }
      const pause = Math.ceil(Math.min(longestPauseMs, firstPauseMs * 2 ** tries) * (0.5 + context.random() / 2))
      await Promise.race([
        refused,
        new Promise<void>((resolve) => {
          cancelPause = clock.timer(pause, resolve)
        }),
      ])
    }
  } finally {
    cancelPause()
    cancelTimer()
    for (const off of offs) off()
    stop.abort()
  }
}

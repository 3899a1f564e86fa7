import type { Clock } from './contract.ts'
import { MessagingError } from './errors.ts'
import { onAbort } from './on-abort.ts'

/** What bounds a question to the application. */
export interface AnswerBounds {
  readonly clock: Clock
  /** Milliseconds. */
  readonly withinMs: number
  readonly signal: AbortSignal
  /** What is being done, and what was asked, for the errors: `redis: connecting`, `the functions "password" and "tls"`. */
  readonly attempted: string
  readonly asked: string
}

/**
 * What the application answers when an adapter asks it for something while connecting, as a password. An answer that does not come is no
 * reason to wait for ever, nor is one that comes after connecting was given up.
 *
 * @throws MessagingError `UNAVAILABLE`, `CANCELLED`; otherwise what `ask` threw
 */
export function answerOf<T>(ask: () => T | Promise<T>, bounds: AnswerBounds): Promise<T> {
  const { clock, withinMs, signal, attempted, asked } = bounds
  const givenUp = (): MessagingError => new MessagingError('CANCELLED', `${attempted} was given up`)
  if (signal.aborted) return Promise.reject(givenUp())
  return new Promise<T>((resolve, reject) => {
    const late = new MessagingError('UNAVAILABLE', `${attempted}: ${asked} did not answer within ${withinMs} ms`)
    const cancel = clock.timer(withinMs, () => end(() => reject(late)))
    const off = onAbort(signal, () => end(() => reject(givenUp())))
    const end = (settle: () => void): void => {
      cancel()
      off()
      settle()
    }
    new Promise<T>((answer) => answer(ask())).then(
      (answer) => end(() => resolve(answer)),
      (error: unknown) => end(() => reject(error)),
    )
  })
}

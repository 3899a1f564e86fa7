import { MessagingError } from './errors.ts'
import type { HandleContext, Middleware } from './middleware.ts'

/**
 * Runs middleware around one call of a handler. Ends when both have ended, also where a middleware does not wait for
 * `next()`. What the handler did decides: without a decision on the context nothing counts as done that was not called or
 * that failed, whatever middleware does with the rejection of `next()`.
 *
 * @throws what a middleware or the handler threw; where nobody called the handler and nobody decided, an error that says so
 */
export async function aroundHandler(chain: readonly Middleware[], context: HandleContext, handler: () => Promise<void>): Promise<void> {
  let called: Promise<void> | undefined
  let failed = false
  let failure: unknown

  async function step(index: number): Promise<void> {
    const each = chain[index]
    if (each === undefined) {
      called = handler()
      return called
    }
    let passed = false
    return each(context, () => {
      const rest = passed ? Promise.reject<void>(twice()) : step(index + 1)
      passed = true
      // Looked at below, also where the middleware does not.
      rest.catch(() => undefined)
      return rest
    })
  }

  try {
    await step(0)
  } finally {
    await called?.catch((error: unknown) => {
      failed = true
      failure = error
    })
  }
  if (context.decision !== undefined) return
  if (failed) throw failure
  if (called === undefined) throw new Error('a middleware did not call next(), and made no decision')
}

function twice(): MessagingError {
  return new MessagingError('INVALID_ARGUMENT', 'cannot handle a message: a middleware called next() twice', { outcome: 'none' })
}

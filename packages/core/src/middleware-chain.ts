import { isMessagingError, MessagingError, type Receipt, textOf } from './errors.ts'
import type { Middleware, SendContext } from './middleware.ts'

/** What middleware is told of a send. */
export interface AboutSend {
  readonly attempted: string
  readonly topic: string
  readonly id: string
  readonly key: string | undefined
  readonly value: unknown
  /** As the caller gave them. */
  readonly headers: unknown
}

/**
 * Runs the middleware of a broker around one send; the innermost `next()` hands the message over with the headers as they
 * are then, and returns when it is stored. `stored` is called when the send itself has its outcome and middleware still runs.
 * A send is never reported as stored when it was not, whatever middleware does with the rejection of `next()`.
 *
 * @throws what a middleware threw before the message left; an error of outcome `unknown` for a throw after it was stored
 */
export async function runMiddleware(
  middleware: readonly Middleware[],
  about: AboutSend,
  handOver: (headers: unknown) => Promise<Receipt>,
  stored: () => void,
): Promise<Receipt> {
  const { attempted, id } = about
  const headers = copied(about.headers)
  const context: SendContext = { kind: 'send', topic: about.topic, id, key: about.key, value: about.value, headers }
  let receipt: Receipt | undefined
  let refused: unknown
  let handed = false

  async function run(index: number): Promise<void> {
    const each = middleware[index]
    if (each === undefined) {
      handed = true
      try {
        receipt = await handOver(context.headers)
      } catch (error) {
        refused = error
        throw error
      } finally {
        stored()
      }
      return
    }
    let called = false
    await each(context, () => {
      if (called)
        return Promise.reject(
          new MessagingError('INVALID_ARGUMENT', `${attempted}: a middleware called next() twice`, { outcome: 'none', messageId: id }),
        )
      called = true
      return run(index + 1)
    })
  }

  try {
    await run(0)
  } catch (error) {
    if (refused !== undefined && error === refused) throw error
    if (receipt !== undefined) {
      throw new MessagingError(
        'INTERNAL',
        `${attempted}: it was stored, then a middleware failed: ${textOf(error)}. to repeat it, send it under the id in error.messageId`,
        {
          outcome: 'unknown',
          messageId: id,
          cause: error,
        },
      )
    }
    if (refused !== undefined || handed) throw refused ?? error
    if (isMessagingError(error)) throw error
    throw new MessagingError('INTERNAL', `${attempted}: a middleware failed: ${textOf(error)}. it was not stored`, {
      outcome: 'failed',
      messageId: id,
      cause: error,
    })
  }
  if (receipt !== undefined) return receipt
  if (refused !== undefined) throw refused
  throw new MessagingError(
    'CANCELLED',
    handed
      ? `${attempted}: a middleware did not wait for next(), so its outcome is not known. it may be stored`
      : `${attempted}: a middleware did not call next(). it was not stored`,
    { outcome: handed ? 'unknown' : 'failed', messageId: id },
  )
}

// Headers that are no object are refused with the others, by the header rules.
function copied(headers: unknown): Record<string, string> {
  if (headers === undefined) return {}
  return typeof headers === 'object' && headers !== null && !Array.isArray(headers)
    ? { ...(headers as Record<string, string>) }
    : (headers as Record<string, string>)
}

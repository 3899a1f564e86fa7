// Errors: those of this adapter carry their classification, those of the client and the server are known by code and text.

import type { Fault } from '@posthorn/core/adapter'
import { MessagingError } from '@posthorn/core/adapter'

const mark: unique symbol = Symbol('posthorn.rabbitmq.fault')

interface Marked extends Error {
  [mark]?: Fault
}

const retryable: ReadonlySet<Fault['code']> = new Set<Fault['code']>(['UNAVAILABLE', 'TIMED_OUT'])
const unclassified: Fault = Object.freeze({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })
const away: Fault = Object.freeze({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' })

/** Makes an error of this adapter. `outcome` speaks about a publish: surely not stored, or not known. */
export function fault(code: Fault['code'], text: string, outcome: Fault['outcome'] = 'none', cause?: unknown): Error {
  const error: Marked = new Error(text, cause === undefined ? undefined : { cause })
  Object.defineProperty(error, mark, { value: Object.freeze({ code, retryable: retryable.has(code), outcome }) })
  return error
}

/** The same error with a definite outcome: nothing of it can be stored. */
export function refused(error: unknown): Error {
  const { code } = explain(error)
  return fault(code === 'INTERNAL' ? 'UNAVAILABLE' : code, textOf(error), 'failed', error)
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

// Reply codes of AMQP. What they mean for a caller; the outcome is the publisher's to say, who knows what was on its way.
const replies: ReadonlyMap<number, Fault['code']> = new Map<number, Fault['code']>([
  [311, 'TOO_LARGE'],
  [320, 'UNAVAILABLE'],
  [402, 'INVALID_ARGUMENT'],
  [403, 'UNAUTHORIZED'],
  [404, 'NOT_FOUND'],
  [405, 'CONFLICT'],
  [406, 'CONFLICT'],
  [501, 'UNAVAILABLE'],
  [502, 'UNAVAILABLE'],
  [504, 'UNAVAILABLE'],
  [505, 'UNAVAILABLE'],
  [506, 'UNAVAILABLE'],
  [530, 'UNAUTHORIZED'],
  [540, 'UNSUPPORTED'],
  [541, 'UNAVAILABLE'],
])

const texts: readonly (readonly [RegExp, Fault['code']])[] = [
  [/message size \d+ .*larger than|over the limit/i, 'TOO_LARGE'],
  [/ACCESS.REFUSED|not allowed|NOT.ALLOWED|SASL mechanism/i, 'UNAUTHORIZED'],
  // How the client tells that the server refused the virtual host.
  [/Expected ConnectionOpenOk; got/, 'UNAUTHORIZED'],
  // A certificate that does not verify stays so: trying again without a change by people cannot work.
  [/certificate|unable to verify|altnames|self.signed/i, 'UNAUTHORIZED'],
  [/wrong version number|packet length too long|EPROTO/i, 'INVALID_ARGUMENT'],
  [/ssl|tls/i, 'UNAVAILABLE'],
  [/timed? ?out|ETIMEDOUT|Heartbeat timeout/i, 'UNAVAILABLE'],
  [
    /Channel (?:closed|closing|ended)|Connection clos|Socket closed|Unexpected close|channel closed|Unexpected channel|aborted/i,
    'UNAVAILABLE',
  ],
]

const sockets: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ERR_STREAM_DESTROYED',
  'ABORT_ERR',
])

/** What kept a connection from being opened, in words that say what to do; anything else as it is. */
export function unopened(
  error: unknown,
  settings: { readonly secure: boolean; readonly vhost: string; readonly username: string },
): unknown {
  if (!(error instanceof Error)) return error
  const { message } = error
  if (/Expected ConnectionOpenOk/.test(message)) {
    const text = `the virtual host "${settings.vhost}" does not exist, or user "${settings.username}" may not use it`
    return fault('UNAUTHORIZED', text, 'failed', error)
  }
  if (settings.secure && /wrong version number|packet length too long/i.test(message))
    return fault('INVALID_ARGUMENT', 'the server does not speak TLS there: amqp:// is without TLS, amqps:// with it', 'failed')
  // What a port with TLS does to whoever speaks without.
  if (!settings.secure && /ECONNRESET|Socket closed abruptly|Unexpected close/i.test(message))
    return fault('UNAVAILABLE', `${message}. a port with TLS is reached by amqps://`, 'failed', error)
  return error
}

/** Classifies what this adapter, its client or the server said. Anything else is INTERNAL, and of a publish unknown. Never throws. */
export function explain(error: unknown): Fault {
  try {
    if (!(error instanceof Error)) return unclassified
    const own = (error as Marked)[mark]
    if (own !== undefined) return own
    if (error instanceof MessagingError) return { code: error.code, retryable: error.retryable, outcome: error.outcome }
    const { code } = error as { code?: unknown }
    if (typeof code === 'number') {
      const known = /message size \d+/.test(error.message) ? 'TOO_LARGE' : replies.get(code)
      if (known !== undefined) return { code: known, retryable: retryable.has(known), outcome: 'unknown' }
    }
    if (typeof code === 'string' && sockets.has(code)) return away
    const text = `${typeof code === 'string' ? code : ''} ${error.message}`
    for (const [pattern, found] of texts) {
      if (pattern.test(text)) return { code: found, retryable: retryable.has(found), outcome: 'unknown' }
    }
    if (error.name === 'AggregateError' || error.name === 'AbortError' || error.name === 'IllegalOperationError') return away
  } catch {
    // A proxy whose traps throw is no error of ours.
  }
  return unclassified
}

// What errors of Redis, of its client and of sockets mean. Errors of the client carry the command with its arguments, the
// password among them, so none of them leaves this package as it is.

import { type Fault, MessagingError, secrets } from '@posthorn/core/adapter'

const mark: unique symbol = Symbol.for('posthorn.redis.fault')
interface Marked extends Error {
  [mark]?: Fault
}

/** Makes an error of this adapter. `outcome` speaks of a publish: refused before anything was stored, or not known. */
export function fault(code: Fault['code'], text: string, outcome: Fault['outcome'] = 'none', retryable?: boolean): Error {
  const error: Marked = new Error(secrets.redact(text))
  const may = retryable ?? (code === 'UNAVAILABLE' || code === 'TIMED_OUT')
  Object.defineProperty(error, mark, { value: Object.freeze({ code, retryable: may, outcome }) })
  return error
}

type Verdict = readonly [code: Fault['code'], retryable: boolean, outcome: Fault['outcome']]

// What the server says before it has done anything. The first word of a reply is its code.
const replies: Readonly<Record<string, Verdict>> = {
  NOAUTH: ['UNAUTHORIZED', false, 'failed'],
  WRONGPASS: ['UNAUTHORIZED', false, 'failed'],
  NOPERM: ['UNAUTHORIZED', false, 'failed'],
  OOM: ['UNAVAILABLE', true, 'failed'],
  MISCONF: ['UNAVAILABLE', true, 'failed'],
  READONLY: ['UNAVAILABLE', true, 'failed'],
  NOREPLICAS: ['UNAVAILABLE', true, 'failed'],
  LOADING: ['UNAVAILABLE', true, 'failed'],
  BUSY: ['UNAVAILABLE', true, 'failed'],
  MASTERDOWN: ['UNAVAILABLE', true, 'failed'],
  CLUSTERDOWN: ['UNAVAILABLE', true, 'failed'],
  TRYAGAIN: ['UNAVAILABLE', true, 'failed'],
  UNKILLABLE: ['UNAVAILABLE', true, 'failed'],
  NOGROUP: ['NOT_FOUND', false, 'failed'],
  CONFLICT: ['CONFLICT', false, 'failed'],
  WRONGTYPE: ['CONFLICT', false, 'failed'],
  MOVED: ['UNSUPPORTED', false, 'failed'],
  ASK: ['UNSUPPORTED', false, 'failed'],
  CROSSSLOT: ['UNSUPPORTED', false, 'failed'],
  NOSCRIPT: ['UNAVAILABLE', true, 'failed'],
}
const texts: readonly (readonly [RegExp, Verdict])[] = [
  [/acl failure|no permissions|noperm|user executing the script/i, ['UNAUTHORIZED', false, 'failed']],
  [/^ERR max number of clients/i, ['UNAVAILABLE', true, 'failed']],
  [/^ERR .*(?:DB index|invalid db)/i, ['INVALID_ARGUMENT', false, 'failed']],
  [/exceeds maximum allowed size|invalid bulk length|invalid multibulk length|too big/i, ['TOO_LARGE', false, 'failed']],
  [/unknown command|unknown subcommand/i, ['UNSUPPORTED', false, 'failed']],
  [/sentinels are unreachable/i, ['UNAVAILABLE', true, 'none']],
]
const certificates = /^(?:CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|ERR_OSSL|ERR_SSL)/
const wrongTls = /wrong version number|packet length too long|http request|unknown protocol/i
const sockets = /^(?:E[A-Z]+|ERR_STREAM|ERR_SOCKET)/

const unclassified: Fault = Object.freeze({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })

function classify(error: Error): Verdict {
  if (error instanceof MessagingError) return [error.code, error.retryable, error.outcome]
  const { message } = error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (error.name === 'ReplyError' || /^[A-Z]+ /.test(message)) {
    const verdict = replies[message.slice(0, Math.max(0, message.indexOf(' ')))]
    if (verdict !== undefined) return verdict
  }
  for (const [form, verdict] of texts) if (form.test(message)) return verdict
  if (certificates.test(code) && !wrongTls.test(message)) return ['UNAUTHORIZED', false, 'failed']
  if (code === 'EPROTO' || wrongTls.test(message)) return ['INVALID_ARGUMENT', false, 'failed']
  if (sockets.test(code) || error.name === 'MaxRetriesPerRequestError' || error.name === 'AbortError')
    return ['UNAVAILABLE', true, 'unknown']
  if (/connection is closed|isn't writeable|socket closed/i.test(message)) return ['UNAVAILABLE', true, 'unknown']
  return ['INTERNAL', false, 'unknown']
}

/** The error as it may be shown: its text without credentials, none of the client's fields, and its meaning. */
export function cleaned(error: unknown, what = ''): Error {
  if (error instanceof Error && (error as Marked)[mark] !== undefined) return error
  const [code, retryable, outcome] = error instanceof Error ? classify(error) : (['INTERNAL', false, 'unknown'] as const)
  const text = error instanceof Error ? error.message : String(error)
  const hint =
    error instanceof Error && (wrongTls.test(text) || ('code' in error && error.code === 'EPROTO'))
      ? '. the server does not speak TLS there: redis:// is without TLS, rediss:// with it'
      : ''
  return fault(code, `${what}${text.replace(/\bscript: [0-9a-f]{40}.*$/s, '').trimEnd()}${hint}`, outcome, retryable)
}

/** What a consumer is told when a right was taken away from it. */
export function refusal(topic: string, right: string, error: unknown): Error {
  return fault(
    'UNAUTHORIZED',
    `redis: the right to ${right} "${topic}" is missing: ${error instanceof Error ? error.message : String(error)}`,
    'failed',
  )
}

/** Classifies what this adapter threw or reported. Anything it does not know is INTERNAL, and of a publish unknown. Never throws. */
export function explain(error: unknown): Fault {
  try {
    if (!(error instanceof Error)) return unclassified
    const known = (error as Marked)[mark]
    if (known !== undefined) return known
    const [code, retryable, outcome] = classify(error)
    return Object.freeze({ code, retryable, outcome })
  } catch {
    // A proxy whose traps throw is no error of ours.
    return unclassified
  }
}

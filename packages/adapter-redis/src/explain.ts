// What errors of Redis, of its client and of sockets mean. Errors of the client carry the command with its arguments, the
// password among them, so none of them leaves this package as it is.

import { type Fault, faults } from '@posthorn/core/adapter'

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

const made: ReturnType<typeof faults.create> = faults.create('redis', classify)
/** Makes an error of this adapter. `outcome` speaks of a publish: refused before anything was stored, or not known. */
export const fault: typeof made.fault = made.fault
/** Classifies what this adapter threw or reported. Anything it does not know is INTERNAL, and of a publish unknown. Never throws. */
export const explain: typeof made.explain = made.explain

function classify(error: Error): Verdict {
  const { message } = error
  if (error.name === 'ReplyError' || /^[A-Z]+ /.test(message)) {
    const verdict = replies[message.slice(0, Math.max(0, message.indexOf(' ')))]
    if (verdict !== undefined) return verdict
  }
  for (const [form, verdict] of texts) if (form.test(message)) return verdict
  const found = faults.ofSocket(error)
  if (found !== null) return found
  if (error.name === 'MaxRetriesPerRequestError' || /connection is closed|isn't writeable|socket closed/i.test(message))
    return ['UNAVAILABLE', true, 'unknown']
  return ['INTERNAL', false, 'unknown']
}

/** The error as it may be shown: its text without credentials, none of the client's fields, and its meaning. */
export function cleaned(error: unknown, what = ''): Error {
  if (made.isOurs(error)) return error
  const { code, retryable, outcome } = explain(error)
  const text = error instanceof Error ? error.message : String(error)
  const hint =
    error instanceof Error && (faults.wrongTls.test(text) || ('code' in error && error.code === 'EPROTO'))
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

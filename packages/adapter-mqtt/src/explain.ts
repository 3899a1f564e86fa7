// What errors of MQTT, of its client and of sockets mean. None of the client's errors leaves this package as it is.

import { type Fault, faults } from '@posthorn/core/adapter'

type Verdict = readonly [code: Fault['code'], retryable: boolean, outcome: Fault['outcome']]

/** Reasons of version 5, and of version 3.1.1 where they differ: what the server says before it has done anything. */
const reasons: ReadonlyMap<number, Verdict> = new Map<number, Verdict>([
  [1, ['UNSUPPORTED', false, 'failed']],
  [2, ['INVALID_ARGUMENT', false, 'failed']],
  [3, ['UNAVAILABLE', true, 'failed']],
  [4, ['UNAUTHORIZED', false, 'failed']],
  [5, ['UNAUTHORIZED', false, 'failed']],
  [0x10, ['NOT_FOUND', false, 'failed']],
  [0x83, ['UNAVAILABLE', true, 'failed']],
  [0x84, ['UNSUPPORTED', false, 'failed']],
  [0x85, ['INVALID_ARGUMENT', false, 'failed']],
  [0x86, ['UNAUTHORIZED', false, 'failed']],
  [0x87, ['UNAUTHORIZED', false, 'failed']],
  [0x88, ['UNAVAILABLE', true, 'failed']],
  [0x89, ['UNAVAILABLE', true, 'failed']],
  [0x8a, ['UNAUTHORIZED', false, 'failed']],
  [0x8c, ['UNAUTHORIZED', false, 'failed']],
  [0x90, ['INVALID_ARGUMENT', false, 'failed']],
  [0x95, ['TOO_LARGE', false, 'failed']],
  [0x97, ['UNAVAILABLE', true, 'failed']],
  [0x99, ['INVALID_MESSAGE', false, 'failed']],
  [0x9a, ['UNSUPPORTED', false, 'failed']],
  [0x9b, ['UNSUPPORTED', false, 'failed']],
  [0x9c, ['UNAVAILABLE', true, 'failed']],
  [0x9d, ['UNAVAILABLE', true, 'failed']],
  [0x9f, ['UNAVAILABLE', true, 'failed']],
])

/** An error for a reason code that the server gave, with what was attempted. */
export function refusal(what: string, reason: number): Error {
  // Below 0x80 are successes: one that is not known says nothing.
  const [code, retryable, outcome] = reasons.get(reason) ?? (['UNAVAILABLE', true, reason < 0x80 ? 'unknown' : 'failed'] as const)
  return fault(
    code,
    `mqtt: ${what}: the server refuses with reason 0x${reason.toString(16).padStart(2, '0')}${words(reason)}`,
    outcome,
    retryable,
  )
}

/** The server ended the connection, and said why: what it had been given before may be stored. */
export function ended(reason: number): Error {
  const error = refusal('the connection was ended', reason)
  const { code, retryable } = explain(error)
  return fault(code, error.message, 'unknown', retryable)
}

const known: ReadonlyMap<number, string> = new Map([
  [1, 'it does not speak this version of MQTT: say protocol: "3.1.1"'],
  [4, 'bad user name or password'],
  [5, 'not authorized'],
  [0x10, 'no group takes it'],
  [0x84, 'it does not speak version 5 of MQTT: say protocol: "3.1.1"'],
  [0x85, 'it does not take this client id'],
  [0x86, 'bad user name or password'],
  [0x87, 'not authorized'],
  [0x90, 'it does not take this topic'],
  [0x95, 'the packet is too large for it'],
  [0x97, 'a quota is used up'],
  [0x9a, 'it keeps no retained messages, and they are needed'],
  [0x9b, 'it does not acknowledge messages (QoS 1), and that is needed'],
])
const words = (reason: number): string => {
  const text = known.get(reason)
  return text === undefined ? '' : ` (${text})`
}

const made: ReturnType<typeof faults.create> = faults.create('mqtt', classify)
/** Makes an error of this adapter. `outcome` speaks of a publish: refused before anything was stored, or not known. */
export const fault: typeof made.fault = made.fault
/** Classifies what this adapter threw or reported. Anything it does not know is INTERNAL, and of a publish unknown. Never throws. */
export const explain: typeof made.explain = made.explain

function classify(error: Error): Verdict {
  const { message } = error
  const code = 'code' in error ? error.code : undefined
  if (typeof code === 'number') return reasons.get(code) ?? ['UNAVAILABLE', true, 'unknown']
  const found = faults.ofSocket(error)
  if (found !== null) return found
  if (/connack timeout|keepalive timeout|connection closed|socket closed|client disconnecting|disconnected/i.test(message))
    return ['UNAVAILABLE', true, 'unknown']
  return ['INTERNAL', false, 'unknown']
}

/** The error as it may be shown: its text without credentials, none of the client's fields, and its meaning. */
export function cleaned(error: unknown, what = ''): Error {
  if (made.isOurs(error)) return error
  const { code, retryable, outcome } = explain(error)
  const text = error instanceof Error ? error.message : String(error)
  const reason = error instanceof Error && 'code' in error && typeof error.code === 'number' ? words(error.code) : ''
  const hint =
    error instanceof Error && (faults.wrongTls.test(text) || ('code' in error && error.code === 'EPROTO'))
      ? '. the server does not speak TLS there: mqtt:// is without TLS, mqtts:// with it'
      : ''
  return fault(code, `${what}${text.trimEnd()}${reason}${hint}`, outcome, retryable)
}

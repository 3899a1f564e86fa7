// What errors of Kafka, of its client and of sockets mean.

import { type Fault, faults } from '@posthorn/core/adapter'

type Verdict = readonly [code: Fault['code'], retryable: boolean, outcome: Fault['outcome'], says: string]

/** The server's error codes by number. `failed` is said only where the server has written nothing. */
const codes: Readonly<Record<number, Verdict>> = {
  1: ['NOT_FOUND', false, 'failed', 'the position is out of range'],
  2: ['INVALID_MESSAGE', false, 'failed', 'the batch is damaged'],
  3: ['NOT_FOUND', true, 'failed', 'there is no such topic or partition'],
  5: ['UNAVAILABLE', true, 'failed', 'the partition has no leader at the moment'],
  6: ['UNAVAILABLE', true, 'failed', 'the partition has moved to another node'],
  7: ['TIMED_OUT', true, 'unknown', 'the replicas did not confirm in time'],
  8: ['UNAVAILABLE', true, 'unknown', 'the node is not available'],
  9: ['UNAVAILABLE', true, 'failed', 'the replica is not available'],
  10: ['TOO_LARGE', false, 'failed', 'it is larger than the topic allows (max.message.bytes)'],
  13: ['UNAVAILABLE', true, 'unknown', 'the node lost its connection to the others'],
  14: ['UNAVAILABLE', true, 'failed', 'the coordinator is loading'],
  15: ['UNAVAILABLE', true, 'failed', 'there is no coordinator at the moment'],
  16: ['UNAVAILABLE', true, 'failed', 'the coordinator has moved to another node'],
  17: ['INVALID_ARGUMENT', false, 'failed', 'the name is not allowed'],
  18: ['TOO_LARGE', false, 'failed', 'the batch is larger than a segment'],
  19: ['UNAVAILABLE', true, 'failed', 'too few replicas are in sync (min.insync.replicas)'],
  20: ['UNAVAILABLE', true, 'unknown', 'too few replicas were in sync after it was written'],
  22: ['CONFLICT', false, 'failed', 'the generation of the group is over'],
  23: ['CONFLICT', false, 'failed', 'the other members of the group share partitions by another protocol'],
  25: ['CONFLICT', false, 'failed', 'the group does not know this member'],
  26: ['INVALID_ARGUMENT', false, 'failed', 'the session timeout is outside group.min.session.timeout.ms and group.max.session.timeout.ms'],
  27: ['UNAVAILABLE', true, 'failed', 'the group is rebalancing'],
  29: ['UNAUTHORIZED', false, 'failed', 'the user may not do this with the topic'],
  30: ['UNAUTHORIZED', false, 'failed', 'the user may not do this with the group'],
  31: ['UNAUTHORIZED', false, 'failed', 'the user may not do this with the cluster'],
  32: ['INVALID_MESSAGE', false, 'failed', 'the time is out of the range that the topic allows'],
  33: ['UNSUPPORTED', false, 'failed', 'the server does not know this way to log in'],
  34: ['UNAUTHORIZED', false, 'failed', 'not logged in'],
  35: ['UNSUPPORTED', false, 'failed', 'the server does not speak this version of the protocol'],
  36: ['CONFLICT', false, 'failed', 'the topic is there already'],
  37: ['INVALID_ARGUMENT', false, 'failed', 'the number of partitions is not allowed'],
  38: ['INVALID_ARGUMENT', false, 'failed', 'there are fewer nodes than the replicas that were asked for'],
  40: ['INVALID_ARGUMENT', false, 'failed', 'a setting of the topic is not allowed'],
  41: ['UNAVAILABLE', true, 'failed', 'the node is not the controller'],
  42: ['INVALID_ARGUMENT', false, 'failed', 'the request is not allowed'],
  44: ['UNAUTHORIZED', false, 'failed', 'a policy of the server forbids it'],
  45: ['UNAVAILABLE', true, 'unknown', 'the sequence of the transaction was broken'],
  47: ['CONFLICT', false, 'failed', 'a successor took over the transactions of the partition'],
  48: ['CONFLICT', false, 'failed', 'the transaction is in no state for this'],
  49: ['CONFLICT', false, 'failed', 'the transactions of the partition belong to another producer'],
  51: ['UNAVAILABLE', true, 'failed', 'the transaction before is still being finished'],
  53: ['UNAUTHORIZED', false, 'failed', 'the user may not use this transactional id'],
  54: ['UNAUTHORIZED', false, 'failed', 'security is switched off at the server'],
  56: ['UNAVAILABLE', true, 'unknown', 'the disk of the node is in trouble'],
  58: ['UNAUTHORIZED', false, 'failed', 'user or password are wrong'],
  59: ['CONFLICT', false, 'unknown', 'the server has forgotten the producer'],
  60: ['UNAVAILABLE', true, 'failed', 'partitions are being moved'],
  67: ['UNAVAILABLE', true, 'unknown', 'the server is shutting down'],
  72: ['UNAVAILABLE', true, 'failed', 'the listener of the leader is not there'],
  74: ['UNAVAILABLE', true, 'failed', 'the leader has changed'],
  75: ['UNAVAILABLE', true, 'failed', 'the leader has changed'],
  79: ['UNAVAILABLE', true, 'failed', 'the group wants the member to join with an id'],
  81: ['UNAVAILABLE', true, 'failed', 'the group has as many members as it may have'],
  82: ['CONFLICT', false, 'failed', 'another member took over'],
  87: ['INVALID_MESSAGE', false, 'failed', 'the server refused the message'],
  88: ['UNAVAILABLE', true, 'failed', 'a transaction over the positions is open'],
  89: ['UNAVAILABLE', true, 'failed', 'the server asks for less'],
  90: ['CONFLICT', false, 'failed', 'a successor took over the transactions of the partition'],
}
const other: Verdict = ['INTERNAL', false, 'unknown', 'the server gave an error code that is not known here']

/** An error code of the server as an error. `what` says what was attempted, and on what. */
export function serverFault(errorCode: number, what: string): Error & { readonly kafka: number } {
  const [code, retryable, outcome, says] = codes[errorCode] ?? other
  return Object.assign(fault(code, `kafka: ${what}: ${says} (error ${errorCode})`, outcome, retryable), { kafka: errorCode })
}

/** A partition that holds what cannot be read. */
export function unreadable(error: unknown, partition: number, topic: string): Error {
  const why = error instanceof Error ? error.message : String(error)
  return fault('UNSUPPORTED', `kafka: partition ${partition} of "${topic}" cannot be read: ${why}`)
}

/** After these answers to a Produce request the batch may lie there: its leader appended it, and lost the lead while the replicas confirmed. */
const afterwards = new Set([3, 6])
const unauthorized = 29

/** The same for an answer to a Produce request. */
export function produceFault(errorCode: number, what: string): Error & { readonly kafka: number } {
  const [code, , , says] = codes[errorCode] ?? other
  if (errorCode === unauthorized) {
    const text = `kafka: ${what}: the user may not publish to the topic (error ${errorCode}). give the right "Write"`
    return Object.assign(fault(code, text, 'failed'), { kafka: errorCode })
  }
  if (!afterwards.has(errorCode)) return serverFault(errorCode, what)
  return Object.assign(fault(code, `kafka: ${what}: ${says} (error ${errorCode}); whether it was stored is not known`, 'unknown', true), {
    kafka: errorCode,
  })
}

/** The server's error code behind an error, or null. */
export function codeOf(error: unknown): number | null {
  return error instanceof Error && 'kafka' in error && typeof error.kafka === 'number' ? error.kafka : null
}

const refusedLogin = /SASL .*(?:failed|not supported)|authentication failed|invalid credentials/i
type Short = readonly [Fault['code'], boolean, Fault['outcome']]

const made: ReturnType<typeof faults.create> = faults.create('kafka', classify)
/** Makes an error of this adapter. `outcome` speaks of a publish: refused before anything was stored, or not known. */
export const fault: typeof made.fault = made.fault
/** Classifies what this adapter threw or reported. Anything it does not know is INTERNAL, and of a publish unknown. Never throws. */
export const explain: typeof made.explain = made.explain

function classify(error: Error): Short {
  const { name, message } = error
  const known = 'code' in error && typeof error.code === 'number' ? codes[error.code] : undefined
  if (known !== undefined) return [known[0], known[1], known[2]]
  if (name === 'KafkaJSSASLAuthenticationError' || refusedLogin.test(message)) {
    return [/not supported/i.test(message) ? 'UNSUPPORTED' : 'UNAUTHORIZED', false, 'failed']
  }
  const found = faults.ofSocket(error)
  if (found !== null) return found
  if (name === 'KafkaJSServerDoesNotSupportApiKey') return ['UNSUPPORTED', false, 'failed']
  if (/^KafkaJS(?:Connection|RequestTimeout)/.test(name)) return ['UNAVAILABLE', true, 'unknown']
  return ['INTERNAL', false, 'unknown']
}

/** The error as it may be shown: its text without credentials, none of the client's fields, and its meaning. */
export function cleaned(error: unknown, what = ''): Error {
  if (made.isOurs(error)) return error
  const text = error instanceof Error ? error.message : String(error)
  const { code, retryable, outcome } = explain(error)
  const hint = faults.wrongTls.test(text)
    ? '. one end speaks TLS and the other does not: say tls in the options or the URL, or leave it out'
    : ''
  return fault(code, `${what}${text}${hint}`, outcome, retryable)
}

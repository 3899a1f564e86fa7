import { anyText, checkOptions, date, invalid, type Rule, show, signal, whole } from './check.ts'
import type { SendOptions } from './producer.ts'
import type { TopicDefinition } from './topic.ts'

/** What one send was told beside its value, checked. */
export interface CheckedOptions {
  readonly id: string | undefined
  readonly key: string | undefined
  /** As given: checked when the message is complete. */
  readonly headers: unknown
  /** Wall clock milliseconds; 0: at once. */
  readonly due: number
  readonly expiresAt: number | null
  readonly signal: AbortSignal | undefined
}
/** A send without options. */
export const noOptions: CheckedOptions = Object.freeze({
  id: undefined,
  key: undefined,
  headers: undefined,
  due: 0,
  expiresAt: null,
  signal: undefined,
})

const maxIdBytes = 1024
const maxKeyBytes = 4096
const control = /[\u0000-\u001f\u007f]/
const loneSurrogate = /\p{Surrogate}/u
const anything: Rule = () => undefined

const rules = {
  id: anyText,
  key: anyText,
  headers: anything,
  delayMs: whole(0, Number.MAX_SAFE_INTEGER),
  notBefore: date,
  expiresAt: date,
  signal,
}
const batchRules = { ...rules, value: anything }
const { id: _id, signal: _signal, ...forwardRules } = rules

/** Which options there are: `send`'s, those of an entry of `sendBatch`, or those of `message.forward`. */
export type OptionSet = 'send' | 'batch' | 'forward'
const sets: Readonly<Record<OptionSet, Readonly<Record<string, Rule>>>> = { send: rules, batch: batchRules, forward: forwardRules }

/**
 * Checks the options of one send.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function checkSendOptions(
  attempted: string,
  topic: TopicDefinition,
  options: unknown,
  set: OptionSet,
  now: number,
  maxDelayMs: number,
): CheckedOptions {
  if (options === undefined) return noOptions
  const given = checkOptions(attempted, options as SendOptions, sets[set] as { readonly [K in keyof Required<SendOptions>]: Rule })
  if (given.id !== undefined) checkId(attempted, given.id)
  if (given.key !== undefined && topic.key === undefined) {
    throw invalid(attempted, 'the option "key" needs a keyed topic. give the topic a key: topic(name, { key: (value) => … })')
  }
  if (given.key !== undefined) checkKey(attempted, given.key)
  return {
    id: given.id,
    key: given.key,
    headers: given.headers,
    due: dueOf(attempted, given.delayMs, given.notBefore, now, maxDelayMs),
    expiresAt: given.expiresAt === undefined ? null : given.expiresAt.getTime(),
    signal: given.signal,
  }
}

function checkId(attempted: string, id: string): void {
  if (id === '') throw invalid(attempted, 'the option "id" is empty')
  if (Buffer.byteLength(id) > maxIdBytes) throw invalid(attempted, `the option "id" is over ${maxIdBytes} bytes`)
  if (control.test(id) || loneSurrogate.test(id))
    throw invalid(attempted, `the option "id" holds a character that no header can carry: ${show(id)}`)
}

/** @throws MessagingError `INVALID_ARGUMENT` for a key that would not come back as it is: half a character, or over 4 KiB. */
export function checkKey(attempted: string, key: string): void {
  if (key.length * 3 > maxKeyBytes && Buffer.byteLength(key) > maxKeyBytes) throw invalid(attempted, `the key is over ${maxKeyBytes} bytes`)
  if (loneSurrogate.test(key))
    throw invalid(attempted, `the key holds half a character (a lone surrogate), which has no UTF-8: ${show(key)}`)
}

function dueOf(attempted: string, delayMs: number | undefined, notBefore: Date | undefined, now: number, maxDelayMs: number): number {
  if (delayMs === undefined && notBefore === undefined) return 0
  if (delayMs !== undefined && notBefore !== undefined) throw invalid(attempted, 'give "delayMs" or "notBefore", not both')
  const wait = delayMs ?? (notBefore as Date).getTime() - now
  if (wait > maxDelayMs) {
    const name = delayMs === undefined ? '"notBefore"' : '"delayMs"'
    throw invalid(attempted, `${name} is ${wait} ms away; this broker holds a message for at most ${maxDelayMs} ms`)
  }
  return wait > 0 ? now + wait : 0
}

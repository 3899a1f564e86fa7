import { inspect } from 'node:util'
import { MessagingError } from './errors.ts'
import { nearest } from './nearest.ts'
import { redactText } from './redact.ts'

/** Refuses a bad argument before anything is done: what was attempted, which field, what it must be, what it was. */
export function invalid(attempted: string, what: string): MessagingError {
  return new MessagingError('INVALID_ARGUMENT', `${attempted}: ${what}`, { outcome: 'failed' })
}

/** A value as it may stand in an error text. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : redactText(value))
  if (typeof value === 'function') return 'a function'
  const text = redactText(inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY, getters: false }))
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

/** Tests one field; returns what it must be, or undefined where it is right. */
export type Rule = (value: unknown) => string | undefined

const HIGHEST = 2 ** 31 - 1
/** A whole number of milliseconds a timer can wait. */
export const milliseconds: Rule = (v) =>
  typeof v === 'number' && v >= 0 && v <= HIGHEST && Number.isInteger(v) ? undefined : `a whole number of milliseconds from 0 to ${HIGHEST}`
/** A whole number of at least `min`. */
export const whole =
  (min: number, max: number = HIGHEST): Rule =>
  (v) =>
    typeof v === 'number' && Number.isInteger(v) && v >= min && v <= max ? undefined : `a whole number from ${min} to ${max}`
/** Any finite number of at least `min`. */
export const number =
  (min: number): Rule =>
  (v) =>
    typeof v === 'number' && Number.isFinite(v) && v >= min ? undefined : `a number of at least ${min}`
export const boolean: Rule = (v) => (typeof v === 'boolean' ? undefined : 'true or false')
export const text: Rule = (v) => (typeof v === 'string' && v !== '' ? undefined : 'a text that is not empty')
export const anyText: Rule = (v) => (typeof v === 'string' ? undefined : 'a text')
export const date: Rule = (v) => (v instanceof Date && !Number.isNaN(v.getTime()) ? undefined : 'a valid Date')
export const fn: Rule = (v) => (typeof v === 'function' ? undefined : 'a function')
export const signal: Rule = (v) => (v instanceof AbortSignal ? undefined : 'an AbortSignal')
export const object: Rule = (v) => (typeof v === 'object' && v !== null && !Array.isArray(v) ? undefined : 'an object')
/** Texts by name, none of them empty. */
export const texts: Rule = (v) =>
  object(v) === undefined && Object.values(v as object).every((each) => text(each) === undefined) ? undefined : 'an object of texts'
export const oneOf =
  (...values: readonly unknown[]): Rule =>
  (v) =>
    values.includes(v) ? undefined : `one of ${values.map((each) => show(each)).join(', ')}`
export const either =
  (...rules: readonly Rule[]): Rule =>
  (v) => {
    const wanted: string[] = []
    for (const rule of rules) {
      const problem = rule(v)
      if (problem === undefined) return undefined
      wanted.push(problem)
    }
    return wanted.join(', or ')
  }
export const listOf =
  (rule: Rule): Rule =>
  (v) => {
    if (!Array.isArray(v)) return 'a list'
    for (const each of v) {
      const problem = rule(each)
      if (problem !== undefined) return `a list in which each is ${problem}`
    }
    return undefined
  }

/**
 * Checks an options object against its rules and returns a copy of its own known fields, so that later changes of the
 * caller's object change nothing. `undefined` fields are left out; an unknown field is refused with the nearest known one.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function checkOptions<T extends object>(
  attempted: string,
  options: T | undefined,
  rules: { readonly [K in keyof Required<T>]: Rule },
): T {
  const copy: Record<string, unknown> = {}
  if (options === undefined) return copy as T
  const problem = object(options)
  if (problem !== undefined) throw invalid(attempted, `the options must be ${problem}, not ${show(options)}`)
  const known = rules as Readonly<Record<string, Rule>>
  for (const key of Object.keys(options)) {
    const rule = Object.hasOwn(known, key) ? known[key] : undefined
    if (rule === undefined) throw invalid(attempted, unknownKey(key, Object.keys(known)))
    const value = (options as Record<string, unknown>)[key]
    if (value === undefined) continue
    const wrong = rule(value)
    if (wrong !== undefined) throw invalid(attempted, `"${key}" must be ${wrong}, not ${show(value)}`)
    copy[key] = value
  }
  return copy as T
}

/** The words for an option that does not exist. */
export function unknownKey(key: string, known: readonly string[]): string {
  const hint = nearest(key, known)
  return `there is no option "${key}"${hint === undefined ? `. known are ${known.join(', ')}` : `. did you mean "${hint}"?`}`
}

/** Is this to be awaited? */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

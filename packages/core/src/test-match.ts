import { inspect, isDeepStrictEqual } from 'node:util'
import { redactText } from './redact.ts'

/** Which one: its fields (each deeply equal), the whole value where it is no object, or a function that says so. */
export type Match<T> = Partial<T> | ((value: T) => boolean)

/** Does the value match? Without a match everything does. What a function throws is thrown on: the test is wrong. */
export function matches<T>(value: unknown, match: Match<T> | undefined): boolean {
  if (match === undefined) return true
  if (typeof match === 'function') return (match as (value: unknown) => boolean)(value)
  if (typeof match !== 'object' || match === null || Array.isArray(match)) return isDeepStrictEqual(value, match)
  if (typeof value !== 'object' || value === null) return false
  return Object.keys(match).every((key) =>
    isDeepStrictEqual((value as Record<string, unknown>)[key], (match as Record<string, unknown>)[key]),
  )
}

/** A match, or a value, as it stands in the text of a wait that found nothing. */
export function shown(value: unknown): string {
  if (typeof value === 'function') return `what ${value.name === '' || value.name === 'match' ? 'the given function' : value.name} accepts`
  const text = inspect(value, { depth: 3, breakLength: Number.POSITIVE_INFINITY, maxStringLength: 100, maxArrayLength: 10 })
  return redactText(text.length > 300 ? `${text.slice(0, 299)}…` : text)
}

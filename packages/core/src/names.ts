import { invalid, show } from './check.ts'
import type { Place } from './contract.ts'

// One token: lower-case letters and digits, dashes inside. No token can hold "__", which joins derived names.
const token = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const reserved: ReadonlySet<string> = new Set(['delay', 'retry', 'dead', 'foreign', 'members'])

/** Longest topic name, in bytes: derived names must fit the servers' own limits. */
export const maxTopicBytes = 180
/** Longest group name, in bytes. */
export const maxGroupBytes = 60

/** @throws MessagingError `INVALID_ARGUMENT` unless `name` is dot-separated tokens of at most 180 bytes. */
export function checkTopicName(attempted: string, name: unknown): asserts name is string {
  if (typeof name !== 'string') throw invalid(attempted, `a topic name is a text, not ${show(name)}`)
  if (name === '') throw invalid(attempted, 'the topic name is empty')
  if (name.length > maxTopicBytes)
    throw invalid(attempted, `the topic name has ${name.length} characters; at most ${maxTopicBytes} are allowed`)
  if (!name.split('.').every((part) => token.test(part))) {
    throw invalid(
      attempted,
      `${show(name)} is not a topic name. names are tokens of a-z, 0-9 and inner dashes, joined by dots, as in "orders.placed"`,
    )
  }
}

/** @throws MessagingError `INVALID_ARGUMENT` unless `group` is one token that is not reserved. */
export function checkGroupName(attempted: string, group: unknown): asserts group is string {
  if (group === undefined) throw invalid(attempted, 'the option "group" is missing: it names the members that share the messages')
  if (typeof group !== 'string') throw invalid(attempted, `a group is a text, not ${show(group)}`)
  if (group.length > maxGroupBytes)
    throw invalid(attempted, `the group name has ${group.length} characters; at most ${maxGroupBytes} are allowed`)
  if (!token.test(group))
    throw invalid(attempted, `${show(group)} is not a group name. a group is one token of a-z, 0-9 and inner dashes, as in "email"`)
  if (reserved.has(group)) throw invalid(attempted, `the group name "${group}" is reserved for places that are derived from groups`)
}

/** The derived name of a place, the same on every adapter: `orders.placed`, `orders.placed__delay`, `orders.placed__email__dead`. */
export function placeName(place: Place): string {
  if (place.role === 'main') return place.topic
  return place.group === null ? `${place.topic}__${place.role}` : `${place.topic}__${place.group}__${place.role}`
}

/** The group's own name at the server: `orders.placed__email`. */
export function groupName(topic: string, group: string): string {
  return `${topic}__${group}`
}

/** The place a derived name stands for, or null if it is nobody's. The inverse of `placeName`. */
export function parsePlaceName(name: string): Place | null {
  const [topic, second, third, ...rest] = name.split('__')
  if (topic === undefined || topic === '' || rest.length > 0) return null
  if (second === undefined) return { topic, role: 'main', group: null }
  if (third === undefined) return second === 'delay' ? { topic, role: 'delay', group: null } : null
  return third === 'retry' || third === 'dead' ? { topic, role: third, group: second } : null
}

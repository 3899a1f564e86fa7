// What an adapter imports: the contract, the kit that every adapter would otherwise write again, and the seam for tests
// under another clock. Detail types are reached through these: `Fault['code']`, `PublishReport['failures'][number]`,
// `Topology['topics'][number]['groups']`, `Parameters<AdapterContext['event']>`.

import { boolean, checkOptions, either, fn, invalid, listOf, milliseconds, number, object, oneOf, text, whole } from './check.ts'
import { escapeHeader, unescapeHeader } from './headers.ts'
import { murmur2 } from './murmur2.ts'
import { groupName, parsePlaceName, placeName } from './names.ts'
import { nearest } from './nearest.ts'
import { redactText, rememberSecret, rememberSecretsOf } from './redact.ts'
import { formatTime, parseTime } from './rfc3339.ts'

export { answerOf } from './answer-of.ts'
export { createAssignmentQueue } from './assignment-queue.ts'
export { reconnectDelay } from './backoff.ts'
export { connectWith } from './connect.ts'
export type {
  Adapter,
  AdapterContext,
  Assignment,
  Capabilities,
  Clock,
  Content,
  Delivery,
  Fault,
  Outgoing,
  Page,
  Place,
  PublishReport,
  Received,
  Session,
  SettleResult,
  Source,
  Start,
  TopicPlan,
  TopicState,
  Topology,
  Undecodable,
} from './contract.ts'
export { MessagingError } from './errors.ts'
export { createSettledPrefix } from './settled-prefix.ts'

/**
 * Names at the server, the same on every adapter: `naming.place` (`orders.placed__email__dead`), `naming.group`
 * (`orders.placed__email`), and `naming.parse`, which gives the place of a derived name or null for a name that is nobody's.
 */
export const naming: {
  readonly place: typeof placeName
  readonly group: typeof groupName
  readonly parse: typeof parsePlaceName
} = Object.freeze({ place: placeName, group: groupName, parse: parsePlaceName })

/**
 * What travels as text: points in time as RFC 3339 (`formatTime`, `parseTime`), any text as visible ASCII for wires that
 * want it (`escapeHeader`, `unescapeHeader`), and Kafka's hash of keys (`murmur2`), which core uses for every partition.
 */
export const wire: {
  readonly formatTime: typeof formatTime
  readonly parseTime: typeof parseTime
  readonly escapeHeader: typeof escapeHeader
  readonly unescapeHeader: typeof unescapeHeader
  readonly murmur2: typeof murmur2
} = Object.freeze({ formatTime, parseTime, escapeHeader, unescapeHeader, murmur2 })

/**
 * Checks of options: `check.options` returns a copy of the known fields and refuses everything else with
 * INVALID_ARGUMENT, naming the nearest known option; the others are its rules. `check.invalid` makes the same error for
 * what no rule can say, and `check.nearest` finds the known name that a misspelt one may have meant.
 */
export const check: {
  readonly options: typeof checkOptions
  readonly invalid: typeof invalid
  readonly boolean: typeof boolean
  readonly either: typeof either
  readonly fn: typeof fn
  readonly listOf: typeof listOf
  readonly milliseconds: typeof milliseconds
  readonly nearest: typeof nearest
  readonly number: typeof number
  readonly object: typeof object
  readonly oneOf: typeof oneOf
  readonly text: typeof text
  readonly whole: typeof whole
} = Object.freeze({
  options: checkOptions,
  invalid,
  boolean,
  either,
  fn,
  listOf,
  milliseconds,
  nearest,
  number,
  object,
  oneOf,
  text,
  whole,
})

/**
 * Credentials stay out of every text: `secrets.remember` and `secrets.rememberUrl` before the first use, and whatever this
 * library shows is cut; `secrets.redact` does the same to a text of the adapter's own.
 */
export const secrets: {
  readonly remember: typeof rememberSecret
  readonly rememberUrl: typeof rememberSecretsOf
  readonly redact: typeof redactText
} = Object.freeze({ remember: rememberSecret, rememberUrl: rememberSecretsOf, redact: redactText })

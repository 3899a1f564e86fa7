// What an adapter imports: the contract, the kit that every adapter would otherwise write again, and the seam for tests
// under another clock. Detail types are reached through these: `Fault['code']`, `PublishReport['failures'][number]`,
// `Topology['topics'][number]['groups']`, `Parameters<AdapterContext['event']>`.

import { secretOf, tlsFiles, tlsOf, watchVerifying } from './access.ts'
import { answerOf } from './answer-of.ts'
import {
  anyText,
  boolean,
  checkOptions,
  either,
  fn,
  invalid,
  listOf,
  milliseconds,
  number,
  object,
  oneOf,
  text,
  texts,
  whole,
} from './check.ts'
import { createFaults, socketVerdict, wrongTls } from './faults.ts'
import { escapeHeader, unescapeHeader } from './headers.ts'
import { murmur2 } from './murmur2.ts'
import { groupName, parsePlaceName, placeName } from './names.ts'
import { nearest } from './nearest.ts'
import { redactText, rememberSecret, rememberSecretsOf } from './redact.ts'
import { formatTime, parseTime } from './rfc3339.ts'
import { parseHost, parseHosts, parseUrl } from './server-url.ts'
import { bodyAt, ceName, nameReader, textAt } from './wire-texts.ts'

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
 * want it (`escapeHeader`, `unescapeHeader`), texts and bodies inside the bytes of an answer (`textAt`, `bodyAt`), names there that are
 * known without being made (`nameReader`) and attributes in the spelling of other libraries (`ceName`), and Kafka's hash of keys
 * (`murmur2`), which core uses for every partition.
 */
export const wire: {
  readonly formatTime: typeof formatTime
  readonly parseTime: typeof parseTime
  readonly escapeHeader: typeof escapeHeader
  readonly unescapeHeader: typeof unescapeHeader
  readonly textAt: typeof textAt
  readonly bodyAt: typeof bodyAt
  readonly nameReader: typeof nameReader
  readonly ceName: typeof ceName
  readonly murmur2: typeof murmur2
} = Object.freeze({ formatTime, parseTime, escapeHeader, unescapeHeader, textAt, bodyAt, nameReader, ceName, murmur2 })

/**
 * Checks of options: `check.options` returns a copy of the known fields and refuses everything else with
 * INVALID_ARGUMENT, naming the nearest known option; the others are its rules. `check.invalid` makes the same error for
 * what no rule can say, and `check.nearest` finds the known name that a misspelt one may have meant.
 */
export const check: {
  readonly options: typeof checkOptions
  readonly invalid: typeof invalid
  readonly anyText: typeof anyText
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
  readonly texts: typeof texts
  readonly whole: typeof whole
} = Object.freeze({
  options: checkOptions,
  invalid,
  anyText,
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
  texts,
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

/**
 * Where a server is and how one gets in. Of a URL: `access.url` (one host), `access.hosts` and `access.host` (several). Of options:
 * `access.secret` for passwords and tokens; `access.tlsFiles` for certificates as PEM or paths, `access.tls` for the form of
 * `node:tls`, with `access.watchVerifying`. All of them may be functions: `access.answer` asks them, bounded, before each connection.
 */
export const access: {
  readonly url: typeof parseUrl
  readonly hosts: typeof parseHosts
  readonly host: typeof parseHost
  readonly secret: typeof secretOf
  readonly tlsFiles: typeof tlsFiles
  readonly tls: typeof tlsOf
  readonly watchVerifying: typeof watchVerifying
  readonly answer: typeof answerOf
} = Object.freeze({
  url: parseUrl,
  hosts: parseHosts,
  host: parseHost,
  secret: secretOf,
  tlsFiles,
  tls: tlsOf,
  watchVerifying,
  answer: answerOf,
})

/**
 * Errors that carry what they mean: `faults.create` makes an adapter's own, and its `explain`; `faults.ofSocket` says what errors of
 * sockets and TLS mean, and `faults.wrongTls` is what they say where only one end speaks TLS.
 */
export const faults: {
  readonly create: typeof createFaults
  readonly ofSocket: typeof socketVerdict
  readonly wrongTls: typeof wrongTls
} = Object.freeze({ create: createFaults, ofSocket: socketVerdict, wrongTls })

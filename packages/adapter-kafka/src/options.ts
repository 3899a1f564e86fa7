// What the adapter can be told: by options, by the URL, and per topic and consumer under `native`. Checked before any I/O.

import type { ConnectionOptions } from 'node:tls'
import { access, check, secrets } from '@posthorn/core/adapter'
import type { Address } from './client.ts'

/** Files and switches of an encrypted connection, as `node:tls` takes them. PEM texts or bytes, not paths. */
export interface KafkaTls {
  readonly ca?: ConnectionOptions['ca']
  readonly cert?: ConnectionOptions['cert']
  readonly key?: ConnectionOptions['key']
  readonly passphrase?: string | undefined
  readonly servername?: string | undefined
  /** false: whoever answers is believed. @default true */
  readonly rejectUnauthorized?: boolean | undefined
}

/** Ways to log in with a name and a password. */
export type KafkaMechanism = 'plain' | 'scram-sha-256' | 'scram-sha-512'

/** How to reach Kafka, and how long members are waited for. */
export interface KafkaOptions {
  /** `kafka://user:password@host:9092,other:9092?mechanism=scram-sha-512&tls=true`. The hosts are asked for all others. */
  readonly url?: string | undefined
  /** Instead of the URL's hosts: `['host:9092']`. */
  readonly brokers?: readonly string[] | undefined
  /** Instead of the URL's. */
  readonly username?: string | undefined
  /** Instead of the URL's; a function is asked again before each connection. */
  readonly password?: string | (() => string | Promise<string>) | undefined
  /** How user and password are shown to the server. @default 'plain' */
  readonly mechanism?: KafkaMechanism | undefined
  /** Logs in by OAUTHBEARER instead: gives a token before each connection. */
  readonly token?: (() => string | Promise<string>) | undefined
  /** Encrypts; `true` trusts what the system trusts. A function is asked again before each connection. @default false */
  readonly tls?: boolean | KafkaTls | (() => KafkaTls | Promise<KafkaTls>) | undefined
  /** How long the server waits for a silent member before its work moves, in milliseconds. The server allows 6,000 and more, if it was not told otherwise. @default 8_000 */
  readonly sessionTimeoutMs?: number | undefined
  /** The longest that handlers may take to end when partitions are shared anew, in milliseconds; all members of the group wait for it. @default 10_000 */
  readonly handOverMs?: number | undefined
  /** How long the server may be silent over a request, beyond twice what its latest answer took, in milliseconds; up to twice as long while other connections to the same node hear something. @default 5_000 */
  readonly requestTimeoutMs?: number | undefined
  /** How long connecting may take, in milliseconds. @default 5_000 */
  readonly connectTimeoutMs?: number | undefined
  /** Partitions of a topic that does not say and is not there yet. @default 4 for keyed topics, 16 for others */
  readonly partitions?: number | undefined
  /** Replicas of topics that are made. @default the server's default.replication.factor */
  readonly replicas?: number | undefined
  /** Where a node is reached from here that gave this as its address: for tunnels and containers. @default where it says */
  readonly reach?: ((host: string, port: number) => string) | undefined
}

/** Existing names of a topic, and what to make of it. */
export interface KafkaTopicOptions {
  /** The topic at the server, instead of the topic's own name. Places of retries, delays and dead letters keep theirs. */
  readonly topic?: string | undefined
  /** Group ids at the server, by group, instead of `<topic>__<group>`: a service moves here with its positions. */
  readonly groupIds?: Readonly<Record<string, string>> | undefined
  /** Settings of the topic, used when it is made: `{ 'max.message.bytes': '2000000' }`. */
  readonly config?: Readonly<Record<string, string>> | undefined
}

/** How one consumer reads. */
export interface KafkaConsumerOptions {
  /** The group id at the server, instead of `<topic>__<group>`. */
  readonly groupId?: string | undefined
}

/** What kafkajs takes to log in. */
export type Login = Readonly<Record<string, unknown>> | null

/** Options with every default filled in. */
export interface Settings {
  readonly seeds: readonly Address[]
  readonly login: () => Promise<Login>
  readonly tls: () => KafkaTls | null | Promise<KafkaTls>
  readonly sessionTimeoutMs: number
  readonly handOverMs: number
  readonly requestTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly partitions: number | null
  readonly replicas: number
  readonly reach: (address: Address) => Address
}

const attempted = 'cannot make the Kafka adapter'
const connecting = 'cannot connect to Kafka'
const mechanisms: readonly KafkaMechanism[] = ['plain', 'scram-sha-256', 'scram-sha-512']

const numbers = {
  sessionTimeoutMs: check.whole(1_000, 1_800_000),
  handOverMs: check.whole(100, 600_000),
  requestTimeoutMs: check.whole(200, 600_000),
  connectTimeoutMs: check.whole(200, 600_000),
  partitions: check.whole(1, 100_000),
  replicas: check.whole(1, 1_000),
  mechanism: check.oneOf(...mechanisms),
} as const

/** Checks options and URL. @throws MessagingError `INVALID_ARGUMENT` */
export function settingsOf(options: KafkaOptions | undefined): Settings {
  const given = check.options<KafkaOptions>(attempted, options, {
    ...numbers,
    url: check.text,
    brokers: check.listOf(check.text),
    username: check.text,
    password: check.either(check.text, check.fn),
    token: check.fn,
    tls: check.either(check.boolean, check.fn, check.object),
    reach: check.fn,
  })
  if (given.url !== undefined) secrets.rememberUrl(given.url)
  if (given.url !== undefined && given.brokers !== undefined) throw check.invalid(attempted, 'say "url" or "brokers", not both')
  if (given.brokers?.length === 0) throw check.invalid(attempted, '"brokers" names no host')
  const url = parseUrl(given.url ?? 'kafka://localhost')
  const all = { ...url.parameters, ...given }
  const username = given.username ?? url.username
  const password = given.password ?? url.password
  if (given.token !== undefined && username !== undefined)
    throw check.invalid(attempted, 'a token and a user name are given: say "token" or "username", not both')
  if (username !== undefined && password === undefined) throw check.invalid(attempted, `the user "${username}" has no password`)
  const tls = given.tls ?? url.parameters.tls ?? false
  const { reach } = given
  return Object.freeze({
    seeds: given.brokers?.map((each) => access.host(each, 9092, (what) => check.invalid(attempted, `in "brokers" ${what}`))) ?? url.hosts,
    login: loginOf(given.token, username, password, all.mechanism ?? 'plain'),
    tls: tls === false ? () => null : access.tls<KafkaTls>(attempted, tls === true ? {} : tls),
    sessionTimeoutMs: all.sessionTimeoutMs ?? 8_000,
    handOverMs: all.handOverMs ?? 10_000,
    requestTimeoutMs: all.requestTimeoutMs ?? 5_000,
    connectTimeoutMs: all.connectTimeoutMs ?? 5_000,
    partitions: all.partitions ?? null,
    replicas: all.replicas ?? -1,
    reach:
      reach === undefined
        ? (address: Address) => address
        : ({ host, port }: Address) =>
            access.host(reach(host, port), 9092, (what) => check.invalid(attempted, `what "reach" gave: ${what}`)),
  })
}

function loginOf(
  token: KafkaOptions['token'],
  username: string | undefined,
  password: KafkaOptions['password'],
  mechanism: KafkaMechanism,
): () => Promise<Login> {
  if (token !== undefined) {
    const ask = access.secret(connecting, 'token', token)
    return async () => ({ mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: await ask() }) })
  }
  if (username === undefined) return async () => null
  const ask = access.secret(connecting, 'password', password)
  // A new object each time: the client keeps what it learned in it.
  return async () => ({ mechanism, username, password: await ask() })
}

type Parameters = Pick<
  KafkaOptions,
  'sessionTimeoutMs' | 'handOverMs' | 'requestTimeoutMs' | 'connectTimeoutMs' | 'partitions' | 'replicas' | 'mechanism'
> & { readonly tls?: boolean | undefined }

interface ParsedUrl {
  readonly hosts: readonly Address[]
  readonly username: string | undefined
  readonly password: string | undefined
  readonly parameters: Parameters
}

const form = /^kafka:(?:\/\/)?(?:(?<user>[^/?#]*)@)?(?<hosts>[^/?#@]*)\/?(?:\?(?<search>[^#]*))?$/i

function parseUrl(url: string): ParsedUrl {
  const wrong = (what: string): Error => check.invalid(connecting, `in the URL "${secrets.redact(url)}" ${what}`)
  const { hosts, username, password, search } = access.hosts(url, form, 'kafka://user:password@host:9092,other:9092', wrong)
  return { hosts: hosts.map((each) => access.host(each, 9092, wrong)), username, password, parameters: parametersOf(search) }
}

function parametersOf(search: string): Parameters {
  const given: Record<string, unknown> = {}
  for (const [name, value] of new URLSearchParams(search)) {
    given[name] = /^\d+$/.test(value) ? Number(value) : value === 'true' ? true : value === 'false' ? false : value
  }
  return check.options<Parameters>('cannot connect to Kafka by this URL', given, { ...numbers, tls: check.boolean })
}

/** Checks a topic's options under `native.kafka`. @throws MessagingError `INVALID_ARGUMENT` */
export function topicOptions(topic: string, native: unknown): KafkaTopicOptions {
  return check.options<KafkaTopicOptions>(`cannot use topic "${topic}" ("native.kafka")`, native as KafkaTopicOptions | undefined, {
    topic: check.text,
    groupIds: check.texts,
    config: check.texts,
  })
}

/** Checks a consumer's options under `native.kafka`. @throws MessagingError `INVALID_ARGUMENT` */
export function consumerOptions(topic: string, native: unknown): KafkaConsumerOptions {
  return check.options<KafkaConsumerOptions>(`cannot consume "${topic}" ("native.kafka")`, native as KafkaConsumerOptions | undefined, {
    groupId: check.text,
  })
}

// What the adapter can be told: by options, by the URL, and per topic and consumer under `native`. Checked before any I/O.

import type { ConnectionOptions } from 'node:tls'
import { access, check, secrets } from '@posthorn/core/adapter'

/** Files and switches of an encrypted connection, as `node:tls` takes them. PEM texts or bytes, not paths. */
export interface RabbitmqTls {
  readonly ca?: ConnectionOptions['ca']
  readonly cert?: ConnectionOptions['cert']
  readonly key?: ConnectionOptions['key']
  readonly passphrase?: string | undefined
  readonly servername?: string | undefined
  /** false: whoever answers is believed. @default true */
  readonly rejectUnauthorized?: boolean | undefined
}

/** How to reach RabbitMQ, and how often both ends prove that they are there. */
export interface RabbitmqOptions {
  /** `amqp://user:password@host:5672/vhost`, or `amqps:`. Several hosts of one cluster are joined by commas and tried in turn. */
  readonly url?: string | undefined
  /** Instead of the URL's. @default 'guest' */
  readonly username?: string | undefined
  /** Instead of the URL's; a function is asked again before each connection. @default 'guest' */
  readonly password?: string | (() => string | Promise<string>) | undefined
  /** Instead of the URL's. @default '/' */
  readonly vhost?: string | undefined
  /** Of `amqps:`; a function is asked again before each connection. */
  readonly tls?: RabbitmqTls | (() => RabbitmqTls | Promise<RabbitmqTls>) | undefined
  /**
   * How often both ends are heard of, in whole seconds given as milliseconds; silence for two of them ends a connection, so a dead or
   * frozen member's messages move after two to three. @default 10_000
   */
  readonly heartbeatMs?: number | undefined
  /** How often members compare what they own, in milliseconds. @default 2_000 */
  readonly balanceMs?: number | undefined
  /** Partitions of a keyed topic that does not say and that the server does not have yet. @default 4 */
  readonly partitions?: number | undefined
}

/** Existing names of a topic, and what to make of it. */
export interface RabbitmqTopicOptions {
  /** The exchange to publish to, instead of the topic's name. The empty text is the default exchange. */
  readonly exchange?: string | undefined
  /** The queue of the topic's groups, instead of `<topic>__<group>`: one queue, whatever the topic's partitions. */
  readonly queue?: string | undefined
  /** The same group by group. */
  readonly queues?: Readonly<Record<string, string>> | undefined
  /** The routing key of what is sent. @default the partition on keyed topics of ours, else the empty text */
  readonly routingKey?: string | undefined
  /** false: exchange and queues are only looked at; they, their bindings and arguments are somebody else's. @default true */
  readonly declare?: boolean | undefined
}

/** How one consumer reads. */
export interface RabbitmqConsumerOptions {
  /** The existing queue to consume, instead of the group's. It is never declared. */
  readonly queue?: string | undefined
  /** Consumer priority: who has a higher one is served first on queues that members share. */
  readonly priority?: number | undefined
}

export interface Host {
  readonly hostname: string
  readonly port: number
}

/** Options with every default filled in. */
export interface Settings {
  readonly hosts: readonly Host[]
  readonly secure: boolean
  readonly username: string
  readonly password: () => string | Promise<string>
  readonly vhost: string
  readonly tls: () => RabbitmqTls | Promise<RabbitmqTls>
  readonly heartbeatMs: number
  readonly balanceMs: number
  readonly partitions: number
}

const attempted = 'cannot make the RabbitMQ adapter'

const seconds = (value: unknown): string | undefined =>
  check.whole(1000, 600_000)(value) === undefined && Number(value) % 1000 === 0
    ? undefined
    : 'whole seconds in milliseconds, from 1000 to 600000'
const connecting = 'cannot connect to RabbitMQ'

/** Checks options and URL. @throws MessagingError `INVALID_ARGUMENT` */
export function settingsOf(options: RabbitmqOptions | undefined): Settings {
  const given = check.options<RabbitmqOptions>(attempted, options, {
    url: check.text,
    username: check.text,
    password: check.either(check.text, check.fn),
    vhost: check.text,
    tls: check.either(check.object, check.fn),
    heartbeatMs: seconds,
    balanceMs: check.whole(100, 600_000),
    partitions: check.whole(1, 10_000),
  })
  if (given.url !== undefined) secrets.rememberUrl(given.url)
  const url = parseUrl(given.url ?? 'amqp://localhost')
  const { tls } = given
  if (!url.secure && tls !== undefined) throw check.invalid(attempted, '"tls" is given, but the URL begins with amqp:. say amqps:')
  const all = { ...url.parameters, ...given }
  const password = given.password ?? url.password ?? 'guest'
  return Object.freeze({
    hosts: url.hosts,
    secure: url.secure,
    username: given.username ?? url.username ?? 'guest',
    // What everybody knows is no secret, and a word of its own.
    password: password === 'guest' ? () => password : access.secret(connecting, 'password', password),
    vhost: given.vhost ?? url.vhost,
    tls: access.tls<RabbitmqTls>(attempted, tls ?? {}),
    heartbeatMs: all.heartbeatMs ?? 10_000,
    balanceMs: all.balanceMs ?? 2000,
    partitions: all.partitions ?? 4,
  })
}

interface ParsedUrl {
  readonly secure: boolean
  readonly hosts: readonly Host[]
  readonly username: string | undefined
  readonly password: string | undefined
  readonly vhost: string
  readonly parameters: Pick<RabbitmqOptions, 'heartbeatMs' | 'balanceMs' | 'partitions'>
}

const form = /^(?<scheme>amqps?):(?:\/\/)?(?:(?<user>[^/?#]*)@)?(?<hosts>[^/?#@]*)(?:\/(?<path>[^/?#]*))?\/?(?:\?(?<search>[^#]*))?$/i

function parseUrl(url: string): ParsedUrl {
  const wrong = (what: string): Error => check.invalid(connecting, `in the URL "${secrets.redact(url)}" ${what}`)
  const { scheme, hosts, username, password, path, search } = access.hosts(url, form, 'amqp://user:password@host:5672/vhost', wrong)
  const secure = scheme === 'amqps'
  const addresses = hosts.map((each) => access.host(each, secure ? 5671 : 5672, wrong))
  return {
    secure,
    hosts: addresses.map(({ host, port }) => ({ hostname: host, port })),
    username,
    password,
    vhost: path === '' ? '/' : path,
    parameters: parametersOf(search),
  }
}

function parametersOf(search: string): ParsedUrl['parameters'] {
  const given: Record<string, unknown> = {}
  for (const [name, value] of new URLSearchParams(search)) given[name] = /^\d+$/.test(value) ? Number(value) : value
  return check.options<ParsedUrl['parameters']>('cannot connect to RabbitMQ by this URL', given, {
    heartbeatMs: seconds,
    balanceMs: check.whole(100, 600_000),
    partitions: check.whole(1, 10_000),
  })
}

/** Checks a topic's options under `native.rabbitmq`. @throws MessagingError `INVALID_ARGUMENT` */
export function topicOptions(topic: string, native: unknown): RabbitmqTopicOptions {
  return check.options<RabbitmqTopicOptions>(
    `cannot use topic "${topic}" ("native.rabbitmq")`,
    native as RabbitmqTopicOptions | undefined,
    {
      exchange: check.anyText,
      queue: check.text,
      queues: check.texts,
      routingKey: check.anyText,
      declare: check.boolean,
    },
  )
}

/** Checks a consumer's options under `native.rabbitmq`. @throws MessagingError `INVALID_ARGUMENT` */
export function consumerOptions(topic: string, native: unknown): RabbitmqConsumerOptions {
  return check.options<RabbitmqConsumerOptions>(
    `cannot consume "${topic}" ("native.rabbitmq")`,
    native as RabbitmqConsumerOptions | undefined,
    { queue: check.text, priority: check.whole(0, 255) },
  )
}

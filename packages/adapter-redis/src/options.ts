// What an application may say, and the checks of it.

import { access, check, type Source, secrets } from '@posthorn/core/adapter'

/** Transport security. Files are read before each connection, so that they may be replaced; texts in PEM are taken as they are. */
export interface RedisTls {
  /** Certificates of authorities to trust, PEM or the path of a file. @default those of the system */
  readonly ca?: string | undefined
  /** The client's own certificate, PEM or the path of a file. */
  readonly cert?: string | undefined
  /** The key of that certificate, PEM or the path of a file. */
  readonly key?: string | undefined
  /** The name that the server's certificate must carry. @default the host that is connected to */
  readonly serverName?: string | undefined
}

/** Sentinels to ask for the master's address. */
export interface RedisSentinels {
  /** Where they are, as `host:port`. The port is 26379 where it is left out. */
  readonly nodes: readonly string[]
  /** The name of the master that they watch. */
  readonly master: string
  readonly username?: string | undefined
  readonly password?: string | undefined
}

/** Where the server is and how to use it. Everything has a default; unknown names are INVALID_ARGUMENT. */
export interface RedisOptions {
  /** `redis://user:password@host:port/db`, or `rediss://…` with TLS. @default 'redis://127.0.0.1:6379' */
  readonly url?: string | undefined
  /** An ACL user. @default the one of the URL, else the default user */
  readonly username?: string | undefined
  /** Instead of the URL's; a function is asked again before each connection. */
  readonly password?: string | (() => string | Promise<string>) | undefined
  /** The number of the database. @default the one of the URL, else 0 */
  readonly db?: number | undefined
  /** TLS. `true`: with the system's authorities. A function is asked again before each connection. @default on for rediss:// */
  readonly tls?: boolean | RedisTls | (() => RedisTls | Promise<RedisTls>) | undefined
  /** Ask these for the master instead of connecting to the URL's host. */
  readonly sentinels?: RedisSentinels | undefined
  /**
   * How long a member that is not heard of keeps its partitions, in milliseconds; at least 1,000. A dead member's work is
   * elsewhere after this, a stopped one's handlers start nothing any more a tenth before. @default 10_000
   */
  readonly leaseMs?: number | undefined
  /** How long a connection may be silent while an answer is awaited before it counts as dead, in milliseconds. @default 3_500, and half the lease where that is less */
  readonly replyMs?: number | undefined
  /** How long one attempt to connect may take, in milliseconds. @default 5_000 */
  readonly connectMs?: number | undefined
}

/** What a topic may say under `native.redis`. */
export interface RedisTopicOptions {
  /** `finished`: what every group has finished is taken away. `never`: everything stays. @default 'finished' */
  readonly trim?: 'finished' | 'never' | undefined
}

/** What a consumer may say under `native.redis`. */
export interface RedisConsumerOptions {
  /** Messages of one read, at most 500. @default 500 */
  readonly count?: number | undefined
}

/** What a consumer said under `native.redis`. @throws MessagingError INVALID_ARGUMENT */
export function consumerOptions(source: Source): { readonly count: number } {
  const given = check.options<RedisConsumerOptions>(`cannot consume "${source.topic}"`, source.native as RedisConsumerOptions | undefined, {
    count: check.whole(1, 500),
  })
  return { count: given.count ?? 500 }
}

type Tls = ReturnType<typeof access.tlsFiles>['tls']

/** Options with every default filled in. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly username: string | null
  /** Asked before each connection, as certificates are. */
  readonly password: () => string | null | Promise<string | null>
  readonly db: number
  readonly secure: boolean
  readonly tls: Tls
  readonly sentinels: RedisSentinels | null
  readonly leaseMs: number
  readonly marginMs: number
  readonly replyMs: number
  readonly connectMs: number
}

const attempted = 'cannot use Redis'
const rules: { readonly [K in keyof Required<RedisOptions>]: (value: unknown) => string | undefined } = {
  url: check.text,
  username: check.text,
  password: check.either(check.text, check.fn),
  db: check.whole(0, 65_535),
  tls: check.either(check.boolean, check.either(check.object, check.fn)),
  sentinels: check.object,
  leaseMs: check.whole(1000, 3_600_000),
  replyMs: check.whole(100, 3_600_000),
  connectMs: check.whole(100, 3_600_000),
}

/** Checks options and fills in the defaults; every credential is remembered before anything can show it. @throws MessagingError INVALID_ARGUMENT */
export function settingsOf(options: unknown): Settings {
  const loose = options as RedisOptions | undefined
  if (typeof loose?.url === 'string') secrets.rememberUrl(loose.url)
  if (typeof loose?.password === 'string') secrets.remember(loose.password)
  const given = check.options<RedisOptions>(attempted, loose, rules)
  const url = given.url === undefined ? null : parsed(given.url)
  const sentinels = given.sentinels === undefined ? null : sentinelsOf(given.sentinels)
  const leaseMs = given.leaseMs ?? 10_000
  return {
    host: url?.host ?? '127.0.0.1',
    port: url?.port ?? 6379,
    username: given.username ?? url?.username ?? null,
    password: access.secret('cannot connect to Redis', 'password', given.password ?? url?.password ?? null),
    db: given.db ?? url?.db ?? 0,
    ...access.tlsFiles(attempted, given.tls, { scheme: 'rediss', secure: url?.secure ?? false }),
    sentinels,
    leaseMs,
    marginMs: Math.max(100, Math.ceil(leaseMs / 10)),
    replyMs: given.replyMs ?? Math.min(3500, Math.ceil(leaseMs / 2)),
    connectMs: given.connectMs ?? 5_000,
  }
}

function parsed(text: string): ReturnType<typeof access.url> & { readonly db: number | null } {
  const url = access.url(attempted, text, { scheme: 'redis', example: 'redis://user:password@host:6379/0' })
  const { path } = url
  if (path !== '' && !/^\d{1,5}$/.test(path))
    throw check.invalid(attempted, `the database in the URL is a number, as in redis://host/3, not "${secrets.redact(path)}"`)
  return { ...url, db: path === '' ? null : Number(path) }
}

function sentinelsOf(given: RedisSentinels): RedisSentinels {
  if (typeof given.password === 'string') secrets.remember(given.password)
  const sentinels = check.options<RedisSentinels>(`${attempted}: "sentinels"`, given, {
    nodes: check.listOf(check.text),
    master: check.text,
    username: check.text,
    password: check.text,
  })
  if (!Array.isArray(sentinels.nodes) || sentinels.nodes.length === 0)
    throw check.invalid(attempted, '"sentinels" names no nodes. say { nodes: ["host:26379"], master: "name" }')
  if (sentinels.master === undefined) throw check.invalid(attempted, '"sentinels" does not say which master they watch')
  return sentinels
}

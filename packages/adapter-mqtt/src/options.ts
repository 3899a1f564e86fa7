// What an application may say, and the checks of it.

import { readFileSync } from 'node:fs'
import { check, secrets } from '@posthorn/core/adapter'

/** Transport security. Files are read before each connection, so that they may be replaced; texts in PEM are taken as they are. */
export interface MqttTls {
  /** Certificates of authorities to trust, PEM or the path of a file. @default those of the system */
  readonly ca?: string | undefined
  /** The client's own certificate, PEM or the path of a file. */
  readonly cert?: string | undefined
  /** The key of that certificate, PEM or the path of a file. */
  readonly key?: string | undefined
  /** The name that the server's certificate must carry. @default the host that is connected to */
  readonly serverName?: string | undefined
}

/** Where the server is and how to use it. Everything has a default; unknown names are INVALID_ARGUMENT. */
export interface MqttOptions {
  /** `mqtt://user:password@host:port`, or `mqtts://…` with TLS. @default 'mqtt://127.0.0.1:1883' */
  readonly url?: string | undefined
  /** @default the one of the URL, else none */
  readonly username?: string | undefined
  /** Instead of the URL's; a function is asked again before each connection. */
  readonly password?: string | (() => string | Promise<string>) | undefined
  /** TLS. `true`: with the system's authorities. A function is asked again before each connection. @default on for mqtts:// */
  readonly tls?: boolean | MqttTls | (() => MqttTls | Promise<MqttTls>) | undefined
  /** `3.1.1` for servers that do not speak version 5: messages then travel as JSON documents. @default '5' */
  readonly protocol?: '5' | '3.1.1' | undefined
  /**
   * How often a connection says that it lives, in whole seconds as milliseconds, at least 1,000. A member that is silent for one and
   * a half of it and two seconds more has lost its partitions. @default 5_000
   */
  readonly keepAliveMs?: number | undefined
  /** How long one attempt to connect may take, in milliseconds. @default 5_000 */
  readonly connectMs?: number | undefined
  /** Messages on their way to the server at once, at most what the server allows. @default 2_000 */
  readonly window?: number | undefined
}

/** What a topic may say under `native.mqtt`: nothing yet. */
export type MqttTopicOptions = Readonly<Record<string, never>>
/** What a consumer may say under `native.mqtt`: nothing yet. */
export type MqttConsumerOptions = Readonly<Record<string, never>>

/** Certificates and keys as texts, as `node:tls` takes them. */
export interface Tls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

/** Options with every default filled in, and the times that follow from them. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly username: string | null
  /** Asked before each connection, as certificates are. */
  readonly password: () => string | null | Promise<string | null>
  readonly secure: boolean
  readonly tls: () => Tls | Promise<Tls>
  readonly version: 4 | 5
  readonly keepAliveMs: number
  /** How long a lost control connection may come back before the others are told. Version 3.1.1 tells them at once. */
  readonly willMs: number
  /** A view of the members is acted on when it did not change for so long; a lost partition is left alone for so long. */
  readonly viewMs: number
  /** How long ownership is believed from a proof on: the server cuts off after one and a half of `keepAliveMs`, and tells the others after `willMs`. */
  readonly lifeMs: number
  readonly connectMs: number
  readonly window: number
}

const attempted = 'cannot use MQTT'
const rules: { readonly [K in keyof Required<MqttOptions>]: (value: unknown) => string | undefined } = {
  url: check.text,
  username: check.text,
  password: check.either(check.text, check.fn),
  tls: check.either(check.boolean, check.either(check.object, check.fn)),
  protocol: check.oneOf('5', '3.1.1'),
  keepAliveMs: (value) =>
    check.whole(1000, 3_600_000)(value) === undefined && (value as number) % 1000 === 0
      ? undefined
      : 'a multiple of 1000 from 1000 to 3600000',
  connectMs: check.whole(100, 3_600_000),
  window: check.whole(1, 60_000),
}

/** Checks what a topic or a consumer says under `native.mqtt`. @throws MessagingError INVALID_ARGUMENT */
export function checkNative(what: string, native: unknown): void {
  check.options(what, native as Record<string, never> | undefined, {})
}

/** Checks options and fills in the defaults; every credential is remembered before anything can show it. @throws MessagingError INVALID_ARGUMENT */
export function settingsOf(options: unknown): Settings {
  const loose = options as MqttOptions | undefined
  if (typeof loose?.url === 'string') secrets.rememberUrl(loose.url)
  if (typeof loose?.password === 'string') secrets.remember(loose.password)
  const given = check.options<MqttOptions>(attempted, loose, rules)
  const url = given.url === undefined ? null : parsed(given.url)
  const keepAliveMs = given.keepAliveMs ?? 5_000
  const version = given.protocol === '3.1.1' ? 4 : 5
  const viewMs = keepAliveMs / 5
  const willMs = version === 5 ? 2000 : 0
  return {
    host: url?.host ?? '127.0.0.1',
    port: url?.port ?? (url?.secure === true ? 8883 : 1883),
    username: given.username ?? url?.username ?? null,
    password: passwordOf(given.password ?? url?.password ?? null),
    secure: isSecure(given.tls, url?.secure ?? false),
    tls: tlsOf(given.tls),
    version,
    keepAliveMs,
    willMs,
    viewMs,
    lifeMs: keepAliveMs * 1.5 + willMs - viewMs,
    connectMs: given.connectMs ?? 5_000,
    window: given.window ?? 2_000,
  }
}

interface Parsed {
  readonly host: string
  readonly port: number | null
  readonly username: string | null
  readonly password: string | null
  readonly secure: boolean
}

function parsed(text: string): Parsed {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw check.invalid(
      attempted,
      `"${secrets.redact(text)}" is no URL, as mqtt://user:password@host:1883 is. are all its characters percent-encoded?`,
    )
  }
  if (url.protocol !== 'mqtt:' && url.protocol !== 'mqtts:')
    throw check.invalid(attempted, `the URL begins with mqtt:// or mqtts://, not with ${url.protocol}//`)
  if (url.pathname !== '' && url.pathname !== '/')
    throw check.invalid(attempted, `the URL names no topic: "${secrets.redact(url.pathname)}" stands for nothing. write mqtt://host:1883`)
  for (const [name] of url.searchParams)
    throw check.invalid(attempted, `the URL takes no parameter "${name}". options go beside it: connect({ url, mqtt: { … } })`)
  return {
    host: url.hostname === '' ? '127.0.0.1' : url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? null : Number(url.port),
    username: decoded(url.username),
    password: decoded(url.password),
    secure: url.protocol === 'mqtts:',
  }
}

function decoded(text: string): string | null {
  if (text === '') return null
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function passwordOf(given: string | (() => string | Promise<string>) | null): Settings['password'] {
  if (typeof given !== 'function') return () => given
  return async () => {
    const answer = await given()
    if (typeof answer !== 'string') throw check.invalid('cannot connect to MQTT', 'the function "password" gave no text')
    secrets.remember(answer)
    return answer
  }
}

function isSecure(given: MqttOptions['tls'], byUrl: boolean): boolean {
  if (given === false && byUrl) throw check.invalid(attempted, 'mqtts:// is with TLS, and "tls" says false')
  return given === undefined ? byUrl : given !== false
}

function tlsOf(given: MqttOptions['tls']): Settings['tls'] {
  if (given === undefined || typeof given === 'boolean') return () => ({})
  if (typeof given === 'function') return async () => tlsNow(await given())
  // What cannot be read is told now, and not when the first connection is made.
  tlsNow(given)
  return () => tlsNow(given)
}

function tlsNow(given: MqttTls): Tls {
  const tls = check.options<MqttTls>(`${attempted}: "tls"`, given, {
    ca: check.text,
    cert: check.text,
    key: check.text,
    serverName: check.text,
  })
  return {
    ...(tls.ca === undefined ? {} : { ca: pem('ca', tls.ca) }),
    ...(tls.cert === undefined ? {} : { cert: pem('cert', tls.cert) }),
    ...(tls.key === undefined ? {} : { key: pem('key', tls.key) }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  }
}

// What it says is not shown: it may be a key that lost its first line.
function pem(name: string, text: string): string {
  if (text.includes('-----BEGIN')) return text
  try {
    return readFileSync(text, 'utf8')
  } catch {
    throw check.invalid(attempted, `"tls.${name}" is neither a text in PEM nor the path of a file that can be read`)
  }
}

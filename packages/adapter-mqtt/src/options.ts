// What an application may say, and the checks of it.

import { access, check, secrets } from '@posthorn/core/adapter'

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

type AskTls = ReturnType<typeof access.tlsFiles>['tls']
/** Certificates and keys as texts, as `node:tls` takes them. */
export type Tls = Awaited<ReturnType<AskTls>>

/** Options with every default filled in, and the times that follow from them. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly username: string | null
  /** Asked before each connection, as certificates are. */
  readonly password: () => string | null | Promise<string | null>
  readonly secure: boolean
  readonly tls: AskTls
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
    password: access.secret('cannot connect to MQTT', 'password', given.password ?? url?.password ?? null),
    ...access.tlsFiles(attempted, given.tls, { scheme: 'mqtts', secure: url?.secure ?? false }),
    version,
    keepAliveMs,
    willMs,
    viewMs,
    lifeMs: keepAliveMs * 1.5 + willMs - viewMs,
    connectMs: given.connectMs ?? 5_000,
    window: given.window ?? 2_000,
  }
}

function parsed(text: string): ReturnType<typeof access.url> {
  const url = access.url(attempted, text, { scheme: 'mqtt', example: 'mqtt://user:password@host:1883' })
  if (url.path !== '')
    throw check.invalid(attempted, `the URL names no topic: "${secrets.redact(`/${url.path}`)}" stands for nothing. write mqtt://host:1883`)
  return url
}

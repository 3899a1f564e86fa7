import { applicationName } from './application.ts'
import type { Broker, Status } from './broker.ts'
import { createBroker } from './broker-object.ts'
import { checkOptions, either, fn, invalid, listOf, oneOf, type Rule, show, signal, text, unknownKey, whole } from './check.ts'
import { realClock, realRandom } from './clock.ts'
import type { Adapter, Clock } from './contract.ts'
import type { MessagingError } from './errors.ts'
import { adapterNames, adapterProblem, loadAdapter, schemeOf } from './load-adapter.ts'
import type { Log } from './log.ts'
import type { Middleware } from './middleware.ts'
import type { Native } from './native.ts'
import { openSession } from './open-session.ts'
import { createIds } from './random-id.ts'
import { redactText, rememberSecret, rememberSecretsOf } from './redact.ts'
import { createTelemetry } from './telemetry-channels.ts'

/** A URL, a URL with options of its adapter, or an adapter: `connect('redis://…')`, `connect({ url, redis: {…} })`, `connect(redis({…}))`. */
export type Target = string | ({ readonly url: string } & Native<'connect'>) | Adapter

export interface ConnectOptions {
  /** Client id, connection name, CloudEvents `source`. Several processes may share it. @default the name in the application's package.json, else 'posthorn' */
  readonly name?: string | undefined
  readonly middleware?: readonly Middleware[] | undefined
  /** Instead of warnings and errors on stderr; false: silence. */
  readonly log?: Log | false | undefined
  readonly onStatus?: ((status: Status, error?: MessagingError) => void) | undefined
  /** How long to keep trying while the server is not reachable, in milliseconds. @default 10_000 */
  readonly connectTimeoutMs?: number | undefined
  /** Gives up connecting: rejects with CANCELLED. Does nothing to a broker that is connected. */
  readonly signal?: AbortSignal | undefined
}

/** Where time and randomness come from: the seam for simulations, the conformance suite and the test broker. */
export interface Runtime {
  readonly clock: Clock
  /** In [0, 1). */
  readonly random: () => number
}

const name: Rule = (v) =>
  text(v) === undefined && (v as string).length <= 200 && !/[\u0000-\u001f\u007f]/.test(v as string) ? undefined : 'a text of 1 to 200 characters without control characters'
const rules: { readonly [K in keyof Required<ConnectOptions>]: Rule } = {
  name,
  middleware: listOf(fn),
  log: either(oneOf(false), fn),
  onStatus: fn,
  connectTimeoutMs: whole(1),
  signal,
}

/**
 * Connects to the server that the target names, and keeps trying for `connectTimeoutMs` while it is not reachable.
 * Afterwards lost connections are made again by themselves; `broker.status` and `onStatus` say so.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for a bad target or option, before any I/O; `UNAVAILABLE` where the adapter is not
 * installed or the server was not reachable in time; `UNAUTHORIZED` for wrong credentials; `CANCELLED` by `signal`.
 * @example
 * const broker = await connect(process.env.BROKER_URL ?? 'memory:')
 */
export function connect(target: Target, options?: ConnectOptions): Promise<Broker> {
  return connectWith({ clock: realClock, random: realRandom }, target, options)
}

/** `connect` under another clock and other randomness: for simulations, conformance tests and the test broker. */
export async function connectWith(runtime: Runtime, target: Target, options?: ConnectOptions): Promise<Broker> {
  rememberSecretsIn(target)
  const given = checkOptions('cannot connect', options, rules)
  const wanted = checkTarget(target)
  const adapter = wanted.url === undefined ? wanted.adapter : await loadAdapter(wanted.url, wanted.options)
  const brokerName = given.name ?? applicationName()
  const telemetry = createTelemetry({ adapter: adapter.name, name: brokerName, log: given.log, clock: runtime.clock })
  const newId = createIds(runtime.random)
  const { session, link } = await openSession({
    adapter,
    clock: runtime.clock,
    random: runtime.random,
    name: brokerName,
    newId,
    attempted: `cannot connect to ${wanted.url === undefined ? `the adapter "${adapter.name}"` : `"${redactText(wanted.url)}"`}`,
    timeoutMs: given.connectTimeoutMs ?? 10_000,
    signal: given.signal,
    event: (event, detail) => telemetry.emit('adapter', { reason: event, ...detail }),
  })
  if (wanted.url !== undefined && adapter.name === 'memory') {
    telemetry.emit('notice', {
      reason: 'embedded-broker',
      note:
        `embedded broker "${redactText(wanted.url)}": messages live in this process and end with it; other processes see none of them. ` +
        'two services in two terminals need a real one: set BROKER_URL; `npm run broker redis` starts one',
    })
  }
  return createBroker({
    name: brokerName,
    adapter,
    session,
    link,
    clock: runtime.clock,
    random: runtime.random,
    newId,
    middleware: [...(given.middleware ?? [])],
    telemetry,
    onStatus: given.onStatus,
  })
}

type Wanted = { readonly url: string; readonly options: unknown } | { readonly url: undefined; readonly adapter: Adapter }

/**
 * What a target asks for, checked as far as it can be without loading an adapter.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function checkTarget(target: unknown, attempted = 'cannot connect'): Wanted {
  if (typeof target === 'string') {
    if (target === '') throw invalid(attempted, 'the URL is empty. is BROKER_URL set to nothing?')
    schemeOf(target)
    return { url: target, options: undefined }
  }
  if (typeof target !== 'object' || target === null || Array.isArray(target)) {
    throw invalid(attempted, `the target is a URL, { url, … } or an adapter, not ${show(target)}`)
  }
  if ('open' in target || 'explain' in target) {
    const problem = adapterProblem(target)
    if (problem !== undefined) throw invalid(attempted, `the target is ${problem}`)
    return { url: undefined, adapter: target as Adapter }
  }
  const known = ['url', ...adapterNames]
  for (const key of Object.keys(target)) if (!known.includes(key)) throw invalid(attempted, `in the target ${unknownKey(key, known).replace('option ', 'key ')}`)
  const { url, ...rest } = target as { url?: unknown } & Record<string, unknown>
  if (typeof url !== 'string' || url === '') throw invalid(attempted, `"url" of the target must be a text that is not empty, not ${show(url)}`)
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined && (typeof value !== 'object' || value === null)) throw invalid(attempted, `"${key}" of the target must be an object, not ${show(value)}`)
  }
  return { url, options: rest[schemeOf(url).adapter] }
}

const secretName = /password|passwd|passphrase|secret|token|credential|privatekey|^pass$|^key$/i

/** Remembers every credential in a target before anything can show it: in its URL, and in options whose name says what they hold. */
export function rememberSecretsIn(target: unknown, depth = 0): void {
  if (typeof target === 'string') {
    if (target.includes(':')) rememberSecretsOf(target)
    return
  }
  if (typeof target !== 'object' || target === null || depth > 6 || target instanceof Uint8Array) return
  for (const key of Object.keys(target)) {
    const field = Object.getOwnPropertyDescriptor(target, key)
    if (field === undefined || !('value' in field)) continue
    const value: unknown = field.value
    if (typeof value === 'string' && secretName.test(key)) rememberSecret(value)
    else rememberSecretsIn(value, depth + 1)
  }
}

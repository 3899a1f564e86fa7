import { applicationName } from './application.ts'
import type { Broker, Status } from './broker.ts'
import { createBroker } from './broker-object.ts'
import { checkOptions, either, fn, listOf, oneOf, type Rule, signal, text, whole } from './check.ts'
import { realClock, realRandom } from './clock.ts'
import type { Clock } from './contract.ts'
import type { MessagingError } from './errors.ts'
import { loadAdapter } from './load-adapter.ts'
import type { Log } from './log.ts'
import type { Middleware } from './middleware.ts'
import { openSession } from './open-session.ts'
import { createIds } from './random-id.ts'
import { redactText } from './redact.ts'
import { checkTarget, rememberSecretsIn, type Target } from './target.ts'
import { createTelemetry } from './telemetry-channels.ts'

/** What `connect` can be told beside the target. */
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
  /** Decode and check every message again before it is sent, not only the first of its topic. @default false */
  readonly readBackAlways?: boolean | undefined
  /** Make no topic and no group: one that is missing is NOT_FOUND. For tools, which know a topic by its name alone. @default false */
  readonly looksOnly?: boolean | undefined
}

const name: Rule = (v) =>
  text(v) === undefined && (v as string).length <= 200 && !/[\u0000-\u001f\u007f]/.test(v as string)
    ? undefined
    : 'a text of 1 to 200 characters without control characters'
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
    attempted:
      wanted.url === undefined ? `cannot connect with the adapter "${adapter.name}"` : `cannot connect to "${redactText(wanted.url)}"`,
    timeoutMs: given.connectTimeoutMs ?? 10_000,
    signal: given.signal,
    event: (event, detail) => telemetry.emit('adapter', { reason: event, ...detail }),
  })
  if (wanted.url !== undefined && adapter.name === 'memory') {
    telemetry.emit('notice', {
      reason: 'embedded-broker',
      note:
        `embedded broker "${redactText(wanted.url)}": messages live in this process and end with it; other processes see none of them. ` +
        'two services in two terminals need a real one: give both its URL; `npm run broker redis` starts one',
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
    readBackAlways: runtime.readBackAlways,
    looksOnly: runtime.looksOnly,
    middleware: [...(given.middleware ?? [])],
    telemetry,
    onStatus: given.onStatus,
  })
}

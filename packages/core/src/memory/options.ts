// What the embedded broker can be told, and the checks of it. Everything has a default.

import type { Capabilities, Clock } from '../contract.ts'
import type { MemoryProfile } from './capabilities.ts'
import { profiles } from './capabilities.ts'
import { fault } from './explain.ts'
import type { MemoryServer } from './faults.ts'

/** Capabilities to differ from those of the profile; `limits` member by member. */
export interface MemoryCapabilities extends Partial<Omit<Capabilities, 'limits'>> {
  readonly limits?: Partial<Capabilities['limits']> | undefined
}

/** How an embedded server behaves. Unknown names and wrong values are INVALID_ARGUMENT when it is made. */
export interface MemoryServerOptions {
  /** Which server to behave like. Default: `default`, the best of all. */
  readonly profile?: MemoryProfile | undefined
  /** Single capabilities to change. */
  readonly capabilities?: MemoryCapabilities | undefined
  /** Topics without keys have one queue that all members of a group share. Default: only in the profile `rabbitmq`. */
  readonly sharedQueue?: boolean | undefined
  /**
   * `finished`: what all groups finished is removed at once, unless the topic has a retention time; what came before the first
   * group of all stays as long as there is room. `age`: everything stays for the topic's retention time (for ever if it has
   * none), finished or not; what all groups finished makes room when the bound is reached. Default: `age` in the profile
   * `kafka`, else `finished`.
   */
  readonly trim?: 'finished' | 'age' | undefined
  /** Partitions of a keyed topic that does not say. Default: 4. */
  readonly keyedPartitions?: number | undefined
  /** Partitions of a topic without keys that does not say. Default: 16 in the profiles `kafka` and `redis`, else 4. */
  readonly unkeyedPartitions?: number | undefined
  /** How long a member that is not heard of keeps what it owns, in milliseconds. Default: 10,000. */
  readonly leaseMs?: number | undefined
  /** How often both ends of a link are heard of, in milliseconds; silence for two of them ends it. Default: a quarter of the lease. */
  readonly heartbeatMs?: number | undefined
  /** How long a hand-over may take before it is forced, in milliseconds. Default: 10,000. */
  readonly handOverMs?: number | undefined
  /** How long a settlement or another short request waits for its answer, in milliseconds. Default: half the lease. */
  readonly replyMs?: number | undefined
  /** Bytes that one topic keeps before publishes to it wait. Default: 512 MiB. Retries and dead letters are not counted. */
  readonly capacityBytes?: number | undefined
  /** Messages that one topic keeps before publishes to it wait. Default: no bound but the bytes. */
  readonly capacityMessages?: number | undefined
  /** The server's clock. Default: that of the first session. */
  readonly clock?: Clock | undefined
  /** In [0, 1): mixes the order in which partitions are read and how much one read gives. Default: no mixing. */
  readonly random?: (() => number) | undefined
}

/** Which embedded server an adapter uses, and how that server behaves if it is made for it. */
export interface MemoryOptions extends MemoryServerOptions {
  /** Share the server of this name with the whole process. Default: a server of this adapter object's own. */
  readonly name?: string | undefined
  /** Use this server; then no option of a server may be given. */
  readonly server?: MemoryServer | undefined
}

/** Server options with every default filled in. */
export interface Settings {
  readonly capabilities: Capabilities
  readonly sharedQueue: boolean
  readonly trim: 'finished' | 'age'
  readonly keyedPartitions: number
  readonly unkeyedPartitions: number
  readonly leaseMs: number
  /** What `aliveUntil` keeps clear of the end of the lease. */
  readonly marginMs: number
  readonly heartbeatMs: number
  readonly handOverMs: number
  readonly replyMs: number
  readonly capacityBytes: number
  readonly capacityMessages: number
  readonly clock: Clock | null
  readonly random: (() => number) | null
}

const serverKeys = [
  'profile',
  'capabilities',
  'sharedQueue',
  'trim',
  'keyedPartitions',
  'unkeyedPartitions',
  'leaseMs',
  'heartbeatMs',
  'handOverMs',
  'replyMs',
  'capacityBytes',
  'capacityMessages',
  'clock',
  'random',
] as const satisfies readonly (keyof MemoryServerOptions)[]

const words: { readonly [K in Exclude<keyof Capabilities, 'limits'>]: readonly Capabilities[K][] } = {
  settlement: ['each', 'prefix'],
  retention: ['log', 'queue'],
  positions: ['native', 'none'],
  attempts: ['native', 'none'],
  delay: ['native', 'none'],
  replay: ['native', 'none'],
  forward: ['atomic', 'none'],
  unroutable: ['reported', 'silent'],
  headers: ['native', 'envelope'],
}
const limitKeys: readonly (keyof Capabilities['limits'])[] = ['messageBytes', 'batch', 'batches', 'holdMs', 'unsettled', 'delayMs']

const wrong = (text: string): Error => fault('INVALID_ARGUMENT', `embedded broker: ${text}`)
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Letters of `a` that are not in `b` at the same place, roughly: enough to find the name that was meant. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1]?.toLowerCase() === b[j - 1]?.toLowerCase() ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** Throws INVALID_ARGUMENT for a key that is not among `known`, naming the nearest one. */
export function refuseUnknown(given: object, known: readonly string[], what: string): void {
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const nearest = [...known].sort((a, b) => distance(key, a) - distance(key, b))[0]
    const hint = nearest === undefined ? 'it takes none' : `did you mean "${nearest}"?`
    throw wrong(`unknown ${what} "${key}". ${hint}`)
  }
}

function integer(name: string, value: unknown, fallback: number, least: number): number {
  if (value === undefined) return fallback
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least) {
    throw wrong(`${name} must be a whole number of at least ${least}`)
  }
  return value
}

function oneOf<T>(name: string, value: unknown, allowed: readonly T[], fallback: T): T {
  if (value === undefined) return fallback
  const found = allowed.find((word) => word === value)
  if (found === undefined) throw wrong(`${name} must be one of ${allowed.map((word) => JSON.stringify(word)).join(', ')}`)
  return found
}

function capabilitiesOf(profile: MemoryProfile, given: unknown): Capabilities {
  const base = profiles[profile]
  if (given === undefined) return base
  if (!isObject(given)) throw wrong('capabilities must be an object')
  refuseUnknown(given, [...Object.keys(words), 'limits'], 'capability')
  const bounds = given.limits ?? {}
  if (!isObject(bounds)) throw wrong('capabilities.limits must be an object')
  refuseUnknown(bounds, limitKeys, 'limit')
  const limit = (key: Exclude<keyof Capabilities['limits'], 'holdMs'>): number =>
    integer(`capabilities.limits.${key}`, bounds[key], base.limits[key], 1)
  const holdMs = bounds.holdMs
  const pick = <K extends keyof typeof words>(key: K): Capabilities[K] =>
    oneOf<Capabilities[K]>(`capabilities.${key}`, given[key], words[key], base[key])
  return Object.freeze({
    settlement: pick('settlement'),
    retention: pick('retention'),
    positions: pick('positions'),
    attempts: pick('attempts'),
    delay: pick('delay'),
    replay: pick('replay'),
    forward: pick('forward'),
    unroutable: pick('unroutable'),
    headers: pick('headers'),
    limits: Object.freeze({
      messageBytes: limit('messageBytes'),
      batch: limit('batch'),
      batches: limit('batches'),
      holdMs: holdMs === undefined || holdMs === null ? base.limits.holdMs : integer('capabilities.limits.holdMs', holdMs, 1, 1),
      unsettled: limit('unsettled'),
      delayMs: limit('delayMs'),
    }),
  })
}

/** Checks server options and fills in the defaults. Throws INVALID_ARGUMENT naming the option. */
export function settingsOf(options: unknown): Settings {
  if (!isObject(options)) throw wrong('options must be an object')
  refuseUnknown(options, serverKeys, 'option')
  const { clock, random, sharedQueue } = options as MemoryServerOptions
  const profile = oneOf('profile', options.profile, Object.keys(profiles) as MemoryProfile[], 'default')
  if (clock !== undefined && (!isObject(clock) || typeof clock.timer !== 'function')) throw wrong('clock must be a clock')
  if (random !== undefined && typeof random !== 'function') throw wrong('random must be a function')
  if (sharedQueue !== undefined && typeof sharedQueue !== 'boolean') throw wrong('sharedQueue must be true or false')
  const leaseMs = integer('leaseMs', options.leaseMs, 10_000, 100)
  return {
    capabilities: capabilitiesOf(profile, options.capabilities),
    sharedQueue: sharedQueue ?? profile === 'rabbitmq',
    trim: oneOf('trim', options.trim, ['finished', 'age'], profile === 'kafka' ? 'age' : 'finished'),
    keyedPartitions: integer('keyedPartitions', options.keyedPartitions, 4, 1),
    unkeyedPartitions: integer('unkeyedPartitions', options.unkeyedPartitions, profile === 'kafka' || profile === 'redis' ? 16 : 4, 1),
    leaseMs,
    marginMs: Math.ceil(leaseMs / 10),
    heartbeatMs: integer('heartbeatMs', options.heartbeatMs, Math.ceil(leaseMs / 4), 10),
    handOverMs: integer('handOverMs', options.handOverMs, 10_000, 1),
    replyMs: integer('replyMs', options.replyMs, Math.ceil(leaseMs / 2), 1),
    capacityBytes: integer('capacityBytes', options.capacityBytes, 512 * 1_048_576, 1),
    capacityMessages: integer('capacityMessages', options.capacityMessages, Number.MAX_SAFE_INTEGER, 1),
    clock: clock ?? null,
    random: random ?? null,
  }
}

/** Takes the server's own options out of an adapter's. Throws INVALID_ARGUMENT for what belongs to neither. */
export function splitOptions(options: unknown): { server: unknown; name: unknown; rest: MemoryServerOptions } {
  if (options === undefined || options === null) return { server: undefined, name: undefined, rest: {} }
  if (!isObject(options)) throw wrong('options must be an object')
  refuseUnknown(options, [...serverKeys, 'name', 'server'], 'option')
  const { server, name, ...rest } = options
  return { server, name, rest }
}

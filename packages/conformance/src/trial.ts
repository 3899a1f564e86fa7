// What a clause is written with. One `Trial` per run of a clause: fresh names, a fresh broker where it is simulated, one seed.
//
//   {
//     id: 'ACK-1',
//     title: 'Nothing is settled before its handler ends',
//     needs: 'memory',
//     async run(t) {
//       const topic = t.topic('jobs')                                     // keyed, 4 partitions, group 'workers', fresh name
//       const broker = await t.connect()                                  // closed by the trial
//       const gate = t.gate()                                             // blocks handlers until `gate.open()`
//       const seen = t.recorder()                                         // counts every start and end, repeats included
//       await broker.consume(topic, t.consumeOptions(), seen.handler(() => gate.wait()))
//       await t.send(broker, topic, t.orders(8, { keys: 8 }))
//       await t.until('8 handlers run', () => seen.running === 8)          // waits for a condition, never for a time
//       t.equal(await t.auditor.unsettled(topic.name, 'workers'), 8, 'unsettled while the handlers run')
//       await t.pass(2000)                                                // an observation window: only where no fence is possible
//       gate.open()
//       await t.settled(topic)
//     },
//   }
//
// Run what you write, from the root and without a build:
//   node --conditions=@posthorn/source --import tsx packages/conformance/src/main.ts --only 'ACK-*' --profile all --brief
// `src/clauses/ack.ts` and `src/clauses/err.ts` are the models.
//
// Rules for authors
// - Time. Await what you like: on a simulated broker virtual time moves by itself whenever nothing else can, so `await
//   broker.close()` or `await t.sleep(60_000)` cost nothing. On a real broker the same code waits. Take the time from
//   `t.now()` (monotonic, ms), never from Date. `t.until` fails with what it saw; give it `seen`.
// - Absence is proved by a fence: `await t.fence(broker, topic, seen)` sends a marker per partition the same way and waits until
//   they are through; then what has not come is not coming. Recorders hide markers and warm-ups from you.
// - Duplicates. Every start is counted. In a quiet run say `seen.exactly(orders)`. With a fault say
//   `seen.each(orders)` (nothing missing) and bound the rest with `t.atMost(seen.repeats, n, 'repeats')`.
// - Faults. Links of brokers made here: `t.link(broker).cut()`, `.silence('both')`, `.withhold(['publish'])`, `.heal()`. What is
//   killed or frozen is a member: `await t.member({ topic, … })`, `member.kill()`, `.freeze()`, `.thaw()`. A member follows a script,
//   which is plain data, because on a real broker it runs in a child process. Say what was in flight when the fault
//   came: `t.struck('running handlers', seen.running)`; a fault that hit nothing makes the run vacuous, not green.
// - Both branches. `gate: when('delay', 'native')` runs `run` for the word and `other` for any other value; no broker's name anywhere.
// - Numbers: `t.size(1000)` is 1000, or 100 with --quick. Upper bounds may be stretched by `t.slack(ms)`; lower bounds never.
// - Do not catch `t` failures; do not de-duplicate before asserting; do not sleep to get something done.
// - Standing checks run by themselves during every clause: PUB-9 (each send ends once, in time), LIFE-8 (no timer left after
//   close), LIFE-15 (no unhandled rejection), LIFE-16 (silence after close), SEC-1 (`t.canary` is shown nowhere), FID-1 (a body
//   that differs from what was sent).

import type { Broker, ConnectOptions, ConsumeOptions, LogEntry, Message, MessagingError, Producer, Topic } from '@posthorn/core'
import type { Adapter, Capabilities, Place, Session } from '@posthorn/core/adapter'
import type { HarnessAbilities } from './abilities.ts'
import type { Auditor, BrokerProcess, Durability, Link } from './harness.ts'
import type { Member, Script } from './member.ts'
import type { Order, OrderTopic, OrderTopicOptions } from './orders.ts'
import type { ProxyLink } from './proxy/index.ts'
import type { Recorder } from './recorder.ts'

/** The toolbox of a clause; see the top of this file. */
export interface Trial {
  /** The clause's id. */
  readonly clause: string
  readonly seed: number
  /** In [0, 1), from the seed. */
  readonly random: () => number
  /** What the connected server really gives. */
  readonly capabilities: Capabilities
  readonly profile: Durability
  readonly leaseMs: number
  /** From heal to the next handled message. */
  readonly recoverMs: number
  /** Lease + 5 s: a dead member's work is elsewhere by then. */
  readonly takeoverMs: number
  /** What this harness offers beyond what all do. What is missing is not proven, and says so. */
  readonly abilities: HarnessAbilities
  /** Is time virtual? For the rare clause that measures real time. */
  readonly virtual: boolean

  // ── time ──
  /** Monotonic milliseconds. */
  now(): number
  /** Wall clock milliseconds since 1970, as brokers and messages see it. */
  wall(): number
  /** Moves the wall clock only; on a real clock this is not proven. */
  stepWall(ms: number): void
  /** Resolves when the condition holds; fails at the deadline (default 10 s) with what `seen` says. */
  until(what: string, condition: () => boolean | Promise<boolean>, options?: number | UntilOptions): Promise<void>
  /** An observation window, in milliseconds. Where a fence is possible, take the fence. */
  pass(ms: number): Promise<void>
  /** For handlers that take their time: `seen.handler(() => t.sleep(50))`. */
  sleep(ms: number): Promise<void>
  /** An upper bound, stretched on slow machines. */
  slack(ms: number): number
  /** `n`, or a tenth of it (at least 10) with --quick. */
  size(n: number): number
  /** How often to do what has to wait: `n` times in virtual time, `real` times where each wait is a real one. */
  rounds(n: number, real: number): number
  /** Keeps virtual time from moving while something real goes on (a file, a child process). */
  real<T>(work: Promise<T>): Promise<T>

  // ── things under test, closed at the end of the clause ──
  /** A broker object with its own connection, through the public API, as applications have it. */
  connect(options?: TrialConnectOptions): Promise<Broker>
  /** The faults of a broker made by `connect`, or of what `open` opened. */
  link(connection: Broker | Opened): Link
  /** What only a link that carries bytes can suffer: pieces, damage, resets. For clauses that need the network. */
  wire(connection: Broker | Opened): ProxyLink
  /** What core asked of the adapter on that connection, counted: the suite's own count, not a claim of the library. */
  calls(connection: Broker | Opened): Calls
  /** The adapter contract itself, for clauses about sessions and assignments. */
  open(): Promise<Opened>
  /** The adapter, not opened. */
  adapter(): Adapter
  /** A member whose process can die, freeze or lose its link. Resolves when subscribed. */
  member(script: Script): Promise<Member>
  /** `n` members of one script, after each has an assignment and has handled a warm-up message. */
  team(n: number, script: Script): Promise<readonly Member[]>

  // ── messages ──
  /** `base` under this clause's own name. Valid as a topic. */
  name(base: string): string
  /** A topic of orders. Keyed by `order.key`, 4 partitions and one declared group `workers`, unless said otherwise. */
  topic(base: string, options?: OrderTopicOptions): OrderTopic
  /** `n` orders with ids, keys (64, in turn), a counter per key and a hash of their own; 100 bytes of JSON. */
  orders(n: number, options?: OrdersOptions): readonly Order[]
  /** Sends them, un-awaited in between, and resolves when all are stored. The message id is the order's id. */
  send<T extends Order>(broker: Broker, topic: Topic<T, unknown, string>, orders: readonly T[], options?: SendManyOptions): Promise<void>
  /** Sends one every `everyMs` in the background, like a service; `stop` resolves to those that were stored. */
  load(broker: Broker, topic: OrderTopic, options: LoadOptions): Load
  /** Section 2's defaults for a consumer: group `workers`, concurrency 8, `maxUnsettled` 32, 3 attempts, 100 ms with factor 1. */
  consumeOptions<Tx = undefined>(options?: Partial<ConsumeOptions<Tx>>): ConsumeOptions<Tx>
  /** Each send of every broker of this clause, with its one outcome. */
  readonly sends: readonly SendRecord[]
  place(topic: Topic | string, role?: Place['role'], group?: string): Place

  // ── seeing ──
  recorder(name?: string): Recorder
  gate(name?: string): Gate
  /** Markers to every partition, the same way as messages; resolves when each recorder has seen all of them. */
  fence(broker: Broker, topic: OrderTopic, ...recorders: readonly Recorder[]): Promise<void>
  /** Resolves when the auditor finds nothing left for the group, handed out or waiting. */
  settled(topic: Topic, group?: string, withinMs?: number): Promise<void>
  readonly auditor: Auditor
  readonly server: BrokerProcess
  /** Stops the server, as `server.signal`, and says in the history when. */
  crash(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  restart(): Promise<void>
  /** What diagnostics channels said during this clause, oldest first. `t.events('dead-lettered')`. */
  events(name?: string): readonly SeenEvent[]
  /** What `log` was given on all connections of this clause. */
  readonly logs: readonly LogEntry[]
  /** What was written to stderr during this clause. The default log goes there: `t.connect({ log: undefined })`. */
  readonly stderr: readonly string[]
  /** A secret to plant in URLs, options and errors; the suite looks for it everywhere (SEC-1). */
  readonly canary: string
  /** A line in the history that failures print. */
  note(text: string, id?: string): void
  /** A number for the report of faults: `t.fact('recovery ms', t.now() - healedAt)`. The largest is kept. */
  fact(name: string, value: number): void

  // ── verdicts ──
  equal<T>(actual: T, expected: T, what: string): void
  ok(condition: boolean, what: string, ids?: readonly string[]): void
  atMost(actual: number, most: number, what: string): void
  atLeast(actual: number, least: number, what: string): void
  /** The promise rejects with this code; answers the error. `naming`: texts that its message must hold. */
  rejects(
    promise: Promise<unknown>,
    code: string | readonly string[],
    options?: { readonly naming?: readonly string[]; readonly what?: string },
  ): Promise<MessagingError>
  fail(what: string, ids?: readonly string[]): never
  /** Rule 10: what was in flight when the fault came. Nothing: the run is vacuous, and repeated with the next seed at most twice. */
  struck(what: string, inFlight: number | boolean): void
  /** Ends the clause as not proven: something it needs cannot be had here. */
  notProven(reason: string): never
  /** From now on one unhandled rejection whose text holds this is expected (LIFE-19). */
  expectUnhandled(text: string): void
}

/** How long to wait, and what to print when it does not come. */
export interface UntilOptions {
  /** @default 10_000 */
  readonly withinMs?: number
  /** What to print when it does not come: `() => ({ running: seen.running })`. */
  readonly seen?: () => unknown
}
/** Connect options as applications give them, and what the suite adds. */
export interface TrialConnectOptions extends ConnectOptions {
  /** `full` (default): backoff always waits its whole delay, so that gaps are exact. `free`: full jitter, as in production. */
  readonly jitter?: 'full' | 'free'
  /** Runs once the connection's identity is known and before it connects: `(link) => link.refuse(true)`. */
  readonly before?: (link: Link) => void
  /** Options for the harness's adapter. */
  readonly adapter?: Record<string, unknown>
  /** Make no topic and no group, as a tool does. @default false */
  readonly looksOnly?: boolean
  /** Where to connect, from the address of this connection's link: `(address) => hosts([hanging, address])`. */
  readonly at?: (address: string) => string
}
/** A session of the adapter, opened without core. */
export interface Opened {
  readonly session: Session
  readonly instance: string
  /** What the adapter said through its context, oldest first. */
  readonly said: readonly { readonly at: number; readonly name: string; readonly detail: unknown }[]
  close(): Promise<void>
}
/** Calls of one connection at the contract, begun so far, and those open now. */
export interface Calls {
  readonly declare: number
  readonly publish: number
  readonly published: number
  readonly settle: number
  readonly settled: number
  readonly read: number
  readonly handedOut: number
  readonly subscribe: number
  readonly release: number
  readonly openPublishes: number
  readonly openSettles: number
  /** Assignments that are neither released nor lost. */
  readonly assignments: readonly {
    readonly topic: string
    readonly role: string
    readonly partition: number | null
    readonly since: number
  }[]
  /** Most publishes that were open at once. */
  readonly mostPublishes: number
  readonly lastCallAt: number
}
/** Which keys and what size orders have. */
export interface OrdersOptions {
  /** How many keys take turns. @default 64 */
  readonly keys?: number
  /** These keys instead; none: no key, for topics without keys. */
  readonly keyNames?: readonly string[]
  /** Bytes of JSON, about. @default 100 */
  readonly bytes?: number
}
/** How `t.send` sends. */
export interface SendManyOptions {
  /** One after the other. @default false */
  readonly awaited?: boolean
  /** By `sendBatch`. */
  readonly batch?: boolean
  readonly delayMs?: number
  readonly expiresAt?: Date
  readonly headers?: Readonly<Record<string, string>>
  /** Instead of the default producer: `t.producer`'s options. */
  readonly producer?: Producer<never>
}
/** How fast `t.load` sends, and how much. */
export interface LoadOptions {
  readonly everyMs: number
  readonly keys?: number
  readonly most?: number
}
/** Sending that goes on in the background. */
export interface Load {
  readonly sent: readonly Order[]
  /** Ends it, and resolves to the orders whose send resolved. Sends that reject are in `t.sends`. */
  stop(): Promise<readonly Order[]>
}
/** One send and its one outcome, as the suite saw it. */
export interface SendRecord {
  readonly topic: string
  /** Given, or learnt from the receipt or the error. */
  readonly id: string | undefined
  readonly value: unknown
  readonly at: number
  readonly endedAt: number | undefined
  readonly outcome: 'open' | 'stored' | 'failed' | 'unknown' | 'refused'
  readonly error: MessagingError | undefined
  readonly position: string | null | undefined
  readonly timeoutMs: number
}
/** Something handlers wait for until it is opened; once open it stays open. */
export interface Gate {
  readonly name: string
  /** Resolves when the gate is open. */
  wait(): Promise<void>
  open(): void
  readonly waiting: number
}
/** One event of the diagnostics channels. */
export interface SeenEvent {
  readonly name: string
  readonly at: number
  readonly event: Readonly<Record<string, unknown>>
}
export type { Member, Message, Order, OrderTopic, OrderTopicOptions, Recorder, Script }

// What the author of an adapter supplies: four members. Everything else (clauses, members, faults, fences, reports) comes with
// the suite. An operation that a harness cannot offer throws `unsupported(reason)`: the clauses that need it are then listed as
// not proven, which is neither a pass nor a skip.

import type { Adapter, Clock, Place } from '@posthorn/core/adapter'
import type { AuditorAbilities, HarnessAbilities } from './abilities.ts'
import type { Need } from './clause.ts'
import type { WireModule } from './wires/wire.ts'

/** A module with one default export of this shape. It must be importable from a child process: members that are killed are started by path. */
export interface Harness extends HarnessAbilities {
  /** The adapter under test, connected through `address` (the suite passes the proxy's, never the broker's own), with the shortest lease it accepts (at most 6 s). */
  adapter(address: string, options?: Record<string, unknown>): Adapter
  /** Fresh names for one clause, and removal of everything made under them. */
  isolate(clause: string): Promise<Isolation>
  /** The independent client. It may not use the adapter's client library or any of its code. */
  auditor(address: string): Promise<Auditor>
  /**
   * The broker as a process. Real brokers answer the same one each time. A broker that carries a `simulation` is made anew
   * for every clause, from `seed`, so that a clause repeats exactly.
   */
  broker(seed: number): Promise<BrokerProcess>
  /**
   * What clauses may need here. @default 'memory' on a simulated broker; else 'memory' and 'process', and 'network' where the
   * broker names its `wire`
   */
  readonly offers?: readonly Need[] | undefined
  /**
   * Clauses that this adapter is known not to meet every time, by id, each with what is missing. They are listed as not proven
   * with that reason, and run where `only` names them. An adapter that is done has none.
   */
  readonly unmet?: Readonly<Record<string, string>> | undefined
}

/** Names of one clause: nobody else uses them. */
export interface Isolation {
  /** The name to use for `base`: the same for equal bases, different from those of all other clauses. A valid topic name if `base` is one. */
  name(base: string): string
  dispose(): Promise<void>
}

/** What survives: `durable` a `kill -9`, `graceful` a clean restart only, `volatile` nothing for sure. */
export type Durability = 'durable' | 'graceful' | 'volatile'
/** What can be sent to the broker as a process. */
export type ProcessSignal = 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'

/** The broker as a process that the suite starts, kills and freezes. */
export interface BrokerProcess {
  /** For reports: name and version. */
  readonly title: string
  readonly address: string
  readonly profile: Durability
  /** From heal to the next handled message, in milliseconds. */
  readonly recoverMs: number
  /** The lease that the harness gives its adapter, in milliseconds. A dead member's work is elsewhere within this and 5 s. */
  readonly leaseMs: number
  /** Connections of one more consumer of a topic with four partitions, at most, where the protocol knows no other way than some for each. @default 0: consumers share those of their broker object */
  readonly connectionsPerConsumer?: number | undefined
  /**
   * The server is known to send more than the window that it was asked for, once something of a backlog was settled: what it sent then
   * lies in a socket unread and is no measure of what a client fetched, which is counted at the adapter instead. @default false
   */
  readonly overrunsWindow?: boolean | undefined
  /** Runs again with what was stored. While it runs, does nothing. */
  start(options?: { readonly advertise?: string | undefined }): Promise<void>
  signal(signal: ProcessSignal): Promise<void>
  /** Everything stored is gone. */
  wipe(): Promise<void>
  /** How the fault proxy tells the frames of this protocol apart; without it only whole connections can be disturbed. */
  readonly wire?: WireModule | undefined
  /** Ends it and removes what it stored. Missing where others own the broker. */
  stop?(): Promise<void>
  /** Present where broker and links are played inside this process on a virtual clock. */
  readonly simulation?: Simulation | undefined
}

/** A clock that stands still until `step`. */
export interface SteppedClock extends Clock {
  readonly pending: () => number
  readonly nextDue: () => number | null
  /** Moves to the earliest timer and runs what was due then; false when none is set. */
  readonly step: () => boolean
  /** Moves only the wall clock. */
  readonly stepWall: (ms: number) => void
}

/** A broker and its links, played in this process. */
export interface Simulation {
  readonly clock: SteppedClock
  /** The link of the client whose context has this `instance`. */
  link(instance: string): SimulatedLink
}

/** What a client asks of the server, as links withhold it and the auditor denies it. */
export type Operation =
  | 'connect'
  | 'declare'
  | 'publish'
  | 'subscribe'
  | 'read'
  | 'settle'
  | 'release'
  | 'leave'
  | 'renew'
  | 'browse'
  | 'remove'
  | 'inspect'

/** Faults on one client's connection. They outlive reconnects until `heal`. */
export interface Link {
  /** Is a connection open, as the server sees it? */
  readonly connected: boolean
  /** Requests that wait for their answer, of one operation or of all. */
  open(operation?: Operation): number
  /** Ends the connection at once; the client reconnects by itself. What was on its way may or may not arrive. */
  cut(): void
  /** While true, each attempt to connect is refused. */
  refuse(on: boolean): void
  /** What goes this way from now on vanishes without notice; the connection still looks open. */
  silence(direction: 'up' | 'down' | 'both'): void
  /** Each way takes this long, in milliseconds; the order is kept. */
  delay(latencyMs: number, jitterMs?: number): void
  /** Bytes a second each way; null: no bound. */
  throttle(bytesPerSecond: number | null): void
  /** The server does what these operations ask, but its answers vanish. Empty: none. */
  withhold(operations: readonly Operation[]): void
  /** Answers withheld so far. */
  readonly withheld: number
  /** Ends silence, delay, throttle, refusal and withholding. What vanished stays vanished. */
  heal(): void
  /** Monotonic times of the attempts to connect. */
  connects(): readonly number[]
}
/** A played client can also stop and die. A real one is a child process and gets signals instead. */
export interface SimulatedLink extends Link {
  freeze(): void
  thaw(): void
  kill(): void
}

/** A message as a client of another kind writes it: everything but the body may be missing. */
export interface RawMessage {
  readonly id?: string | null
  readonly key?: string | null
  readonly body: Uint8Array | null
  readonly time?: number | null
  readonly expiresAt?: number | null
  /** CloudEvents names without prefix. */
  readonly attributes?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>> | null
  readonly transport?: Readonly<Record<string, string>> | null
  /** Why no adapter can turn it into content; its headers then are `rawHeaders`. */
  readonly undecodable?: string
  readonly rawHeaders?: Readonly<Record<string, Uint8Array>> | null
  readonly partition?: number
}

/** A message as it lies on the server. */
export interface StoredMessage {
  readonly partition: number
  /** As receipts and messages show it, where the adapter has positions. */
  readonly position: string
  readonly id: string | null
  readonly key: string | null
  readonly body: Uint8Array | null
  readonly time: number | null
  readonly expiresAt: number | null
  readonly attributes: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>> | null
  readonly transport: Readonly<Record<string, string>> | null
  readonly undecodable: string | null
  /** Wall clock milliseconds at which it may be handled, where that is still to come; else null. */
  readonly dueAt: number | null
}

/** How often a group settled, as the server counts. */
export interface SettleCounts {
  readonly settled: number
  /** Settlements that touched nothing, because their assignment was over or the message was settled. */
  readonly stale: number
  /** Deliveries handed out, repeats included. */
  readonly handedOut: number
  readonly repeated: number
}

/** What to take away behind everybody's back. */
export type Removal =
  | { readonly topic: string }
  | { readonly topic: string; readonly group: string }
  | { readonly topic: string; readonly partition: number }

/** The independent client: the broker's own tools or another client library, no code of the adapter. */
export interface Auditor extends AuditorAbilities {
  /** Writes as a plain client would; the topic must exist. Answers the position, '' where the broker has none. */
  write(topic: string, message: RawMessage): Promise<string>
  /** All that is kept, in stored order per partition. */
  read(place: Place): Promise<readonly StoredMessage[]>
  /** Handed out to members of the group and not settled; where the broker cannot tell, what is not settled. */
  unsettled(topic: string, group: string): Promise<number>
  /** Not settled, handed out or not. */
  remaining(topic: string, group: string): Promise<number>
  /** Per partition: the first message that is not settled, counted from 0. */
  positions(topic: string, group: string): Promise<readonly number[]>
  /** Partition to the member that owns it. */
  owners(topic: string, group: string): Promise<ReadonlyMap<number, string>>
  members(topic: string, group: string): Promise<readonly string[]>
  settles(topic: string, group: string): Promise<SettleCounts>
  /** Is there such a topic? */
  exists(topic: string): Promise<boolean>
  /** Withdraws a right, on one topic or on all (null). */
  deny(operation: Operation, topic: string | null): Promise<void>
  /** Gives all rights back. */
  allow(): Promise<void>
  remove(what: Removal): Promise<void>
  /** Cuts off everything that a partition holds, whoever still needs it. */
  trim(topic: string, partition: number): Promise<void>
  /** Ends the memberships of a client, as an administrator does. */
  expel(instance: string): Promise<void>
  /** Connections open now, requests that reached the server so far, messages it dropped for want of a group. */
  counters(): Promise<{
    readonly connections: number
    readonly requests: Readonly<Partial<Record<Operation, number>>>
    readonly dropped: number
  }>
  close(): Promise<void>
}

export { commandLineAt } from './command-line.ts'

const mark = 'posthorn.conformance.unsupported'

/** What a harness throws for an operation that its broker cannot offer; the clause is then printed as not proven, with this reason. */
export function unsupported(reason: string): Error {
  return Object.assign(new Error(reason), { code: 'UNSUPPORTED', [mark]: true })
}

/** The reason of an error made by `unsupported`, else undefined. */
export function unsupportedReason(error: unknown): string | undefined {
  return error instanceof Error && mark in error ? error.message : undefined
}

// What a test can do to the embedded broker: play the server's process, each client's link, an independent client that
// looks at everything, and an administrator. Types only; the server and its links implement them.

import type { Capabilities, Place } from '../contract.ts'

/** What a client asks of the server, as links withhold it and administrators deny it. */
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

/** Which way: `up` is from the client to the server. */
export type LinkDirection = 'up' | 'down' | 'both'

/**
 * One client's connection, by its `context.instance`. It outlives reconnects, so a fault can be set before the client
 * connects and stays until it is healed.
 */
export interface MemoryLink {
  readonly instance: string
  /** A connection is open, as the server sees it. */
  readonly connected: boolean
  readonly frozen: boolean
  readonly killed: boolean
  /** Requests without an answer, of one operation or of all. */
  open(operation?: Operation): number
  /** Ends the connection, seen at both ends at once. What is on its way to the server arrives up to a random point. The client reconnects by itself. */
  cut(): void
  /** While true each attempt to connect is refused. */
  refuse(on: boolean): void
  /**
   * Nothing that goes this way arrives, without notice: the connection still looks open. What is healed in time arrives late
   * and in order, as TCP sends it again; if the connection ends first, it is gone.
   */
  silence(direction: LinkDirection): void
  /** Each way takes `latencyMs`, give or take `jitterMs`; the order is kept. */
  delay(latencyMs: number, jitterMs?: number): void
  /** Bytes per second each way; null: no bound. */
  throttle(bytesPerSecond: number | null): void
  /** The server does what these operations ask, but its answers vanish, until `heal`. Empty: none. */
  withhold(operations: readonly Operation[]): void
  /** Answers that were withheld since the link was made: a test proves by it that its fault struck. */
  readonly withheld: number
  /** The client's process stops: nothing goes in or out, its own timers in the adapter wait. The server's clock goes on. */
  freeze(): void
  /** The client's process continues: first what its timers missed, then what the network kept for it, in order. */
  thaw(): void
  /** The client's process is gone: the server sees the connection end, the client never hears anything again. For good. */
  kill(): void
  /** Ends silence, delay, throttle, refusal and withholding. Withheld answers do not come back. A frozen client stays frozen. */
  heal(): void
  /** Monotonic times of the attempts to connect, on the server's clock, refused and hanging ones included. */
  connects(): readonly number[]
}

/** A message as a client of another kind writes it: everything but the body may be missing. */
export interface RawMessage {
  readonly id?: string | null
  readonly key?: string | null
  readonly body: Uint8Array | null
  readonly time?: number | null
  readonly expiresAt?: number | null
  readonly attributes?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>> | null
  readonly transport?: Readonly<Record<string, string>> | null
  /** Why the adapter cannot turn it into content; its headers then are `rawHeaders`. */
  readonly undecodable?: string
  readonly rawHeaders?: Readonly<Record<string, Uint8Array>> | null
  /** Default: by a hash of the key that is not core's, else the next one. */
  readonly partition?: number
}

/** A message as it lies on the server. Copies: changing one changes nothing there. */
export interface StoredMessage {
  readonly partition: number
  readonly offset: number
  /** As `Delivery.position()` and `PublishReport.position()` give it where positions are native. */
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
  readonly slot: string | null
  /** Wall time at which the server stored it. */
  readonly storedAt: number
  /** Wall time at which a natively delayed message enters its place; null once it is there. */
  readonly dueAt: number | null
}

/** How often a group settled, counted by message at the server. */
export interface SettleCounts {
  readonly settled: number
  /** Tokens of an assignment that was over, or settled already: they touched nothing. */
  readonly stale: number
  /** Deliveries handed out, repeats included. */
  readonly handedOut: number
  /** Of those, deliveries that had been handed out before. */
  readonly repeated: number
}

/** What a server keeps and has seen, at the moment of asking. */
export interface MemoryStats {
  readonly topics: number
  /** Messages kept, all places, delayed ones included. */
  readonly messages: number
  /** Their bytes as the bound counts them: body, names, headers and a fixed share each. */
  readonly bytes: number
  /** Requests that reached the server, by operation, since it was made. */
  readonly requests: Readonly<Partial<Record<Operation, number>>>
  /** Connections that are open now. */
  readonly connections: number
  /** Every attempt to connect: whose, and when on the server's monotonic clock. */
  readonly connects: readonly { readonly instance: string; readonly at: number }[]
  /** Publishes that wait for room. */
  readonly blocked: number
  /** Messages that reached no group and were dropped without a word (`retention: 'queue'`, `unroutable: 'silent'`). */
  readonly dropped: number
}

/** What to take away behind everybody's back. */
export type Removal =
  | { readonly topic: string }
  | { readonly topic: string; readonly group: string }
  | { readonly topic: string; readonly partition: number }

/** The embedded broker's server, as a test holds it. Applications need none of this: `memory()` makes its own. */
export interface MemoryServer {
  readonly capabilities: Capabilities
  /** `stopped` is SIGSTOP: alive, and answering nothing. */
  readonly state: 'running' | 'stopped' | 'down'
  /**
   * `SIGTERM` and `SIGKILL` end all links, and the leases of all clients that are not frozen; what was stored stays. Of what was on its way with `SIGKILL`, a random
   * first part is stored. `SIGSTOP` answers nothing until `SIGCONT`, which first ends the leases that ran out meanwhile.
   */
  signal(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void
  /** Runs again after `SIGTERM` or `SIGKILL`, with what was stored. */
  start(): void
  /** Everything stored is gone: topics, groups, positions. Members of a running server are told. */
  wipe(): void
  /** The link of a client, made if it is not known yet. */
  link(instance: string): MemoryLink
  links(): readonly MemoryLink[]

  /** Writes as a client of another kind would; the topic must exist. Answers the position. Ignores bounds and rights. */
  write(topic: string, message: RawMessage): string
  /** Everything that is still kept, by partition and in stored order; natively delayed messages come last, by due time. */
  read(place: Place): readonly StoredMessage[]
  /** Handed out to the group's members and not settled, its retries included. */
  unsettled(topic: string, group: string): number
  /** Not settled, handed out or not, its retries included. */
  remaining(topic: string, group: string): number
  /** Per partition the offset of the first message that is not settled. */
  position(topic: string, group: string): readonly number[]
  /** Partition to instance, of the partitions that somebody owns. Empty for a shared queue. */
  owners(topic: string, group: string): ReadonlyMap<number, string>
  /** Instances, in the order they joined; one that joined twice is there twice. */
  members(topic: string, group: string): readonly string[]
  settles(topic: string, group: string): SettleCounts
  /** Withdraws a right, on one topic or on all (null). A member that reads or settles is expelled with `UNAUTHORIZED`. */
  deny(operation: Operation, topic: string | null): void
  /** Gives all rights back. */
  allow(): void
  /** Deletes a topic, a group, or what one partition holds. Members are told, as a broker tells them. */
  remove(what: Removal): void
  /** Cuts the log of a partition below an offset (default: its end), whoever still needs it. */
  trim(topic: string, partition: number, before?: number): void
  /** Ends the leases of a client's members. */
  expel(instance: string): void
  stats(): MemoryStats
}

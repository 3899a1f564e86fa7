// The adapter contract: what core asks of a broker, and nothing else. Every member says who calls it, how often, how
// concurrently, what to do on failure, and what must not be kept. Seven methods on a session, three on an assignment, none
// optional: what brokers do differently is data (`Capabilities`), never a missing method, never a test for a name.
//
// An adapter package exports a factory for people (`kafka(options)`) and `adapter(url, options)`, which `connect` calls for
// its URL schemes. Adapters never retry a publish, count attempts, delay, park, dead-letter or decode: core does. They
// reconnect by themselves (exponential, jittered, at most 2 tries a second), re-declare and re-subscribe, and report it.

/** A broker's way in. One object may be opened many times; it holds no connection itself. */
export interface Adapter {
  /** One word, as in `broker.adapter` and under `native`. */
  readonly name: string
  /** The most this adapter can give, for the docs; what a connected server really gives is `session.capabilities`. */
  readonly best: Capabilities
  /**
   * Connects. Called once per `connect`, and again, with a fresh context, only after it rejected with a retryable UNAVAILABLE.
   * Rejects with the client's own error, which `explain` classifies; an aborted `signal` means give up and drop what was opened.
   * Opens no socket before it is called.
   */
  open(context: AdapterContext, signal: AbortSignal): Promise<Session>
  /** Classifies any error this adapter threw or reported. Pure, total, never throws; the only place that may match text. */
  explain(error: unknown): Fault
}

/** What core lends an adapter: time, randomness, an identity, and two ways to speak. */
export interface AdapterContext {
  readonly clock: Clock
  /** In [0, 1). */
  readonly random: () => number
  /** Random per `connect`: use it in member names. It is never reused after a restart. */
  readonly instance: string
  /** The `name` of the broker object: client id, connection name. Two processes may share it. */
  readonly name: string
  /** The link's state changed. `failed` is for good: core closes what depends on it. */
  report(status: 'connected' | 'recovering' | 'failed', error?: unknown): void
  /** Something happened that no call returns. Core logs and counts it; the adapter goes on by itself. */
  event(name: AdapterEvent, detail: EventDetail): void
}
export type AdapterEvent =
  | 'session-lost'
  | 'position-lost'
  | 'lease-lost'
  | 'blocked'
  | 'fenced'
  | 'partitions-changed'
  | 'broker-dropped'
  /** The server's settings let it lose what it has acknowledged. Told once, after connecting. */
  | 'not-durable'
  /** An option says that nobody looks at the server's certificate. Told once, after connecting. */
  | 'not-verified'
export interface EventDetail {
  readonly topic?: string
  readonly group?: string
  readonly partition?: number
  readonly count?: number
  /** For people: what happened and what the adapter did about it. No credential. */
  readonly note?: string
}

/** All time comes from here, so that a simulation and the test broker can move it. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. For due times and expiry only. */
  now(): number
  /** Milliseconds that only grow. For deadlines, leases and backoff. */
  monotonic(): number
  /** Runs `run` once after `ms` (0: soon, after what is queued now); returns what cancels it. */
  timer(ms: number, run: () => void): () => void
}

/** What an error means for the caller: `Adapter.explain` gives it for everything the adapter threw or reported. */
export interface Fault {
  readonly code: FaultCode
  /** May the same call work later without a change by people? */
  readonly retryable: boolean
  /** Of a publish: `failed` only from the closed list of definite failures; whatever is not on it is `unknown`. */
  readonly outcome: 'failed' | 'unknown' | 'none'
}
export type FaultCode =
  | 'UNAVAILABLE'
  | 'TIMED_OUT'
  | 'CANCELLED'
  | 'CLOSED'
  | 'UNAUTHORIZED'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'TOO_LARGE'
  | 'INVALID_MESSAGE'
  | 'INVALID_ARGUMENT'
  | 'UNSUPPORTED'
  | 'UNDECODABLE'
  | 'INTERNAL'

/** Plain, frozen and the same from `open` to `close`. It claims nothing that `best` does not. */
export interface Capabilities {
  /** `each`: every token by itself. `prefix`: tokens come in delivery order and mean "everything up to here". */
  readonly settlement: 'each' | 'prefix'
  /** `log` keeps what no group reads yet; `queue` has nowhere to put a message that no group would get. */
  readonly retention: 'log' | 'queue'
  /** `none`: `Delivery.position()` is null. */
  readonly positions: 'native' | 'none'
  /** Does the server count hand-overs (`Delivery.deliveries`)? For the opt-in crash guard only. */
  readonly attempts: 'native' | 'none'
  /** `native`: `Outgoing.delayMs` is honoured. `none`: core keeps delay lanes and publishes into their partitions. */
  readonly delay: 'native' | 'none'
  /** May a group start at a time in the past? */
  readonly replay: 'native' | 'none'
  /** `atomic`: `settle` takes outputs and does both or neither. */
  readonly forward: 'atomic' | 'none'
  /** Does the server say that a message reached no group? */
  readonly unroutable: 'reported' | 'silent'
  /** `envelope`: the wire has no headers, so core sends structured CloudEvents JSON as the body. */
  readonly headers: 'native' | 'envelope'
  readonly limits: {
    /** Bytes of one message, body and headers. */
    readonly messageBytes: number
    /** Messages of one `publish`. */
    readonly batch: number
    /** `publish` calls open at once. */
    readonly batches: number
    /** How long a delivery may be held, in milliseconds; null: for ever. */
    readonly holdMs: number | null
    /** The highest `Source.maxUnsettled`. */
    readonly unsettled: number
    /** The longest delay, in milliseconds. */
    readonly delayMs: number
  }
}

/** Where messages live: the topic itself, one group's retries or dead letters, or the topic's delay lanes. */
export interface Place {
  readonly topic: string
  readonly role: 'main' | 'delay' | 'retry' | 'dead'
  /** Of `retry` and `dead`; null for the others. */
  readonly group: string | null
}

/** What `declare` is to make, or to look at. */
export interface Topology {
  readonly topics: readonly TopicPlan[]
}
/** One topic as it shall be: its partitions, its groups and where they start, its delay lanes. */
export interface TopicPlan {
  readonly name: string
  readonly keyed: boolean
  /** null: the server's count where the topic exists, else the adapter's default. Another count than the server's is CONFLICT. */
  readonly partitions: number | null
  readonly retentionMs: number | null
  /** Groups to have. One that exists keeps its position: `start` is applied once, when the group is made. */
  readonly groups: readonly { readonly name: string; readonly start: Start }[]
  /** Steps of the delay lanes in milliseconds, ascending; empty where `delay` is native. Lane n is partition n of its place. */
  readonly delays: readonly number[]
  /** false: only look; a missing topic or group is NOT_FOUND and nothing is made. */
  readonly create: boolean
  /** The topic's own `native` options for this adapter, validated by it. */
  readonly native: unknown
}
/** What the server has after `declare`; core routes keys and judges missing groups by it. */
export interface TopicState {
  readonly name: string
  /** 1 where an unkeyed topic is one shared queue. */
  readonly partitions: number
  /** At least the plan's; all there are where `unroutable` is silent. */
  readonly groups: readonly string[]
  /** Groups that this call made: they started where the plan said. */
  readonly created: readonly string[]
}
/** Applied once, by `declare`, never by a client's reset policy. */
export type Start = 'earliest' | 'latest' | { readonly at: number }

/** A message without its destination. Objects and buffers are shared: whoever wants to change one copies it first. */
export interface Content {
  readonly id: string
  /** null: no key. The empty string is a key. */
  readonly key: string | null
  /** null is not the same as empty. The adapter writes the mark that carries it where the wire has no null; of an envelope, core does. */
  readonly body: Uint8Array | null
  /** CloudEvents `time` in milliseconds since 1970. */
  readonly time: number | null
  /** CloudEvents `expirytime`, the same unit. Core drops what is expired. */
  readonly expiresAt: number | null
  /** CloudEvents names without prefix, `source`, `type` and `datacontenttype` among them. Frozen and shared by many messages: cache its encoding by identity. */
  readonly attributes: Readonly<Record<string, string>>
  /** The application's, of this message only. */
  readonly headers: Readonly<Record<string, string>> | null
  /** `traceparent`, `tracestate`, `baggage`, `ph-*`. */
  readonly transport: Readonly<Record<string, string>> | null
}
/** A message on its way to the server: what it is, where it goes, and when it may be handled there. */
export interface Outgoing extends Content {
  readonly place: Place
  /** Chosen by core for every keyed message (with native delay: where it returns to) and every lane (its step); null: one shared queue, or a place where the adapter decides. Core spreads messages without a key, and repeats one where its first copy may be. */
  readonly partition: number | null
  /** 0: now. Above 0 only where `delay` is native. */
  readonly delayMs: number
  /** Dead letters: hash of source and id, by core. The adapter stores one entry per slot; a second one replaces it. */
  readonly slot: string | null
}
/** How one `publish` ended, message by message. */
export interface PublishReport {
  /** Empty: all stored. */
  readonly failures: readonly PublishFailure[]
  /** Made only when asked for; null where the server has none. May be called long after. */
  position(index: number): string | null
}
export interface PublishFailure {
  readonly index: number
  readonly outcome: 'failed' | 'unknown'
  readonly error: unknown
}

/** What a subscription wants: which messages, as whom, and how much of them at a time. */
export interface Source {
  /** One; core merges several. */
  readonly topic: string
  /** `group`: a group's messages and its due retries. `broadcast`: from now, nothing remembered. `forwarder`: the topic's delay lanes, only where `delay` is none. */
  readonly kind: 'group' | 'broadcast' | 'forwarder'
  /** null for a forwarder. Of a broadcast it is only a name. */
  readonly group: string | null
  readonly keyed: boolean
  /** At-most-once: drop, and count as `broker-dropped`, only what may have been answered `settled` before and comes again all the same (an acknowledgement that the server never confirms). What is merely unsettled never started. */
  readonly settleFirst: boolean
  /** `settle` will be given outputs: fence before an assignment is yielded. Only where `forward` is atomic. */
  readonly atomic: boolean
  /** How long core may take from `leaving` to `release()`, in milliseconds; wait that long, within the adapter's own limit, then abort `lost`. */
  readonly handOverMs: number
  /** Per assignment: fixed before the first delivery (a prefetch, a receive maximum). */
  readonly maxUnsettled: number
  /** What the adapter may buffer ahead of `read`, per assignment; one message always passes. */
  readonly maxBytes: number
  /** The consumer's own `native` options for this adapter, validated by it. */
  readonly native: unknown
}

/** A live connection. Everything may be called at any time until `close`; while the link is away calls wait or fail, never hang for ever. */
export interface Session {
  readonly capabilities: Capabilities
  /** The client's own object, for `broker.native()`. Core never calls it. */
  readonly client: unknown
  /**
   * Makes or looks at topics and groups; idempotent and free of races between processes; a group exists for all
   * partitions or not at all, and a half-made one is completed. Moves no position and no assignment. Core declares a topic
   * in a session before any other call about it, one topic per call, so an adapter may remember the plan.
   */
  declare(topology: Topology, signal: AbortSignal): Promise<readonly TopicState[]>
  /**
   * Stores a batch of at most `limits.batch`. Resolves always: failures are listed by index; an abort of `signal` turns
   * what is open into `unknown` at once. Messages of one place and partition are stored in batch order. `stored` means the
   * server's durable acknowledgement for that very message. Never repeats by itself. At most `limits.batches` are open.
   */
  publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport>
  /**
   * Resolves when accepted as a member (a spare member owns nothing and is healthy), rejects when refused. Yields each
   * assignment once, when it begins, for as long as it takes; throws only terminal faults, after aborting every `lost`.
   * A broadcast is accepted once its start is fixed: all that is stored afterwards arrives.
   *
   * Aborting `signal` leaves politely: no assignment is yielded any more, `leaving` of every open one is aborted, proofs of
   * ownership go on until each is released (core does so within its drain time), then the member leaves and the iteration ends.
   */
  subscribe(source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>>
  /** Reads a place without taking anything out: dead letters, oldest first, one page after the other. `after` is the `next` of the page before; tokens serve `remove` until the next page is read. */
  browse(place: Place, after: string | null, max: number, signal: AbortSignal): Promise<Page>
  /**
   * Removes entries that `browse` gave, and only those: one that a newer entry replaced in its slot meanwhile is gone, and the
   * newer one stays. So the token says which entry was seen, and the server compares it. `stale`: some were gone already.
   */
  remove(place: Place, entries: readonly Delivery[], signal: AbortSignal): Promise<SettleResult>
  inspect(topic: string, group: string, signal: AbortSignal): Promise<Inspection>
  /** Ends everything. Core has released its assignments before; an abort means: drop the sockets now. Resolves always; twice is fine. */
  close(signal: AbortSignal): Promise<void>
}

/** How a settlement ended: done for good, not ours any more, or not known because the reply was lost. */
export type SettleResult = 'settled' | 'stale' | 'unknown'

/** What a subscription owns now: a partition, or a share of an unordered queue. */
export interface Assignment {
  readonly topic: string
  /** Which of its topic's places it reads. A `retry` or `delay` assignment of a server without native delay is a lane: first in, first out, its partition is the step. With native delay a `retry` assignment is an ordinary one. */
  readonly role: 'main' | 'retry' | 'delay'
  /** null: a share of an unordered queue. */
  readonly partition: number | null
  /** Asked to hand over: core starts nothing new, finishes, settles, calls `release()`. */
  readonly leaving: AbortSignal
  /** Over: tokens are stale. Aborted before the adapter yields a successor of the partition, in this process too. */
  readonly lost: AbortSignal
  /** Monotonic milliseconds: send time of the last answered proof of ownership plus its life, minus a margin. Core starts no handler at or after it, and goes on only if it moves. `Infinity` where ownership cannot end unnoticed. */
  readonly aliveUntil: number
  /**
   * The next deliveries, at least one, in order. One call open at a time; no open call is backpressure for this partition
   * alone, however long: ownership is kept alive meanwhile. An open call resolves with `[]` when `leaving` or `lost` is aborted
   * or `release` is called; later ones do so at once. An entry is handed out once per assignment, unless its `settle`
   * answered `unknown`: then it comes again if the server still has it. Never rejects.
   */
  read(max: number): Promise<readonly Delivery[]>
  /**
   * Settles. With `outputs` only where `forward` is atomic: both or neither. `settled` needs an answer, or a later round trip
   * on the same connection; `unknown`: the reply was lost; `stale`: not ours any more, nothing was touched. Where only prefixes
   * are settled core gives every token, contiguous, in delivery order, each once. Several calls may be open, but with outputs
   * and prefixes one; there an answer but `settled` ends the assignment, since what follows would settle it too, without its
   * outputs: abort `lost`, and the next one begins at the position. Never rejects.
   */
  settle(tokens: readonly unknown[], outputs?: readonly Outgoing[]): Promise<SettleResult>
  /** After the last settle: one round trip that makes it durable, gives unsettled deliveries back at once, in order, and ends the assignment (`lost` is aborted). Core drains all assignments side by side and awaits none before the others. Twice is fine; never rejects. */
  release(): Promise<void>
}

/** One message handed to one member: what it is, and the token that settles it. */
export interface Delivery {
  /** Opaque, the adapter's; settled at most once. */
  readonly token: unknown
  readonly content: Received | Undecodable
  /** Came from the group's retry place: its attempt is in `transport['ph-attempt']`. */
  readonly parked: boolean
  /** The server's count of hand-overs, this one included, for the opt-in crash guard; null where it has none. */
  readonly deliveries: number | null
  /** For people and for derived ids; null where the server has none. Stable over repeats. */
  position(): string | null
}
/** Normal is everything: a message without id, key or attributes is a message. */
export interface Received extends Omit<Content, 'id'> {
  readonly id: string | null
}
/** What the adapter could not even turn into content. The bytes travel to the dead letters as they are. */
export interface Undecodable {
  readonly undecodable: string
  readonly body: Uint8Array | null
  readonly headers: Readonly<Record<string, Uint8Array>> | null
}
/** Some entries of a place, and where the next ones begin; null: that was all. */
export interface Page {
  readonly entries: readonly Delivery[]
  readonly next: string | null
}
export interface Inspection {
  /** Messages the group has not been given yet. */
  readonly backlog: number | null
  /** Given and not settled. */
  readonly unsettled: number | null
  readonly members: number | null
}

import type { Adapter, Capabilities, Clock, Content, Outgoing, Place, PublishReport, Session, Start, TopicState } from './contract.ts'
import type { MessagingError, MessagingErrorDetail, Receipt } from './errors.ts'
import type { Middleware } from './middleware.ts'
import type { Telemetry } from './telemetry.ts'
import type { TopicDefinition } from './topic.ts'

/** What the engines of one broker object share. Made by `connect`, never seen by applications. */
export interface BrokerContext {
  /** CloudEvents `source` of what is sent, client id, connection name. */
  readonly name: string
  readonly adapter: Adapter
  readonly session: Session
  readonly capabilities: Capabilities
  readonly clock: Clock
  readonly random: () => number
  readonly middleware: readonly Middleware[]
  readonly telemetry: Telemetry
  readonly catalog: Catalog
  readonly sender: Sender
  /** Decode and check every message again before it leaves, not only the first of its topic. @default false */
  readonly readBackAlways?: boolean | undefined
  /** Topics and groups are looked at and never made. @default false */
  readonly looksOnly?: boolean | undefined
  /** Aborts when the broker starts to close: nothing new begins. */
  readonly closing: AbortSignal
  /** A random UUID from the context's randomness. */
  newId(): string
  /** Wraps an error of the adapter: its classification, our words, no credential. */
  wrap(error: unknown, attempted: string, detail?: MessagingErrorDetail): MessagingError
}

/** What the server has of each topic, declared once per broker object. */
export interface Catalog {
  /**
   * Declares the topic with its own groups and these, unless that was done; concurrent calls share one declare.
   * @throws MessagingError CONFLICT, NOT_FOUND, UNAUTHORIZED, UNSUPPORTED, UNAVAILABLE, TIMED_OUT, CANCELLED
   */
  ensure(topic: TopicDefinition, attempted: string, options?: EnsureOptions): Promise<TopicState>
  /** What `ensure` learned, if it ran. */
  state(topic: string): TopicState | undefined
  /** Was this group declared here by name (`broker.declare`, or the topic's own groups)? */
  knows(topic: TopicDefinition, group: string): boolean
  /** Forgets what is known, so that the next `ensure` asks the server again. */
  refresh(topic: string): void
  /** Gives up what is being declared: the session is about to be closed, and is asked for nothing any more. */
  close(): void
}
export interface EnsureOptions {
  /** Beside the topic's own, which start at 'earliest'. */
  readonly groups?: readonly { readonly name: string; readonly start: Start }[] | undefined
  readonly signal?: AbortSignal | undefined
  /** Monotonic milliseconds. @default in 30 s */
  readonly deadline?: number | undefined
  /** Go on while the broker closes, until `deadline` or `signal`: for messages that were accepted before. @default false */
  readonly finish?: boolean | undefined
}

/** Sends contents to places: the window, the batches, the repeats and the deadlines are here. */
export interface Sender {
  /**
   * Resolves when stored, rejects when failed, unknown or out of time. Requests of one place and partition leave in the order of the calls;
   * for keyed places at most one publish per place and partition is open.
   */
  send(request: SendRequest): Promise<Receipt>
  /** Resolves when all requests so far have their outcome. */
  flush(): Promise<void>
  /** Waits for what is open and for who is enlisted; ends the rest at `deadline` (monotonic), as failed or unknown. Later sends reject with CLOSED. */
  close(deadline: number): Promise<void>
  /** For who has accepted messages that are not handed to the engine yet; returns what takes it off the list. */
  enlist(feeder: Feeder): () => void
  readonly stats: { readonly buffered: number; readonly open: number }
}
/** Has messages on their way to the engine. */
export interface Feeder {
  /** Resolves when all it has accepted so far has its outcome. */
  flush(): Promise<void>
  /** The engine has closed: what is left gets its outcome now. */
  end(): void
}
export interface SendRequest {
  readonly place: Place
  /** null: by the content's key where it has one and the place is a topic, else spread. Dead letters have one partition. */
  readonly partition: number | null
  readonly content: Content
  /** The same content in the adapter's form, where the caller has it: not delayed, not a copy, headers native. */
  readonly outgoing?: Outgoing | undefined
  /** Wall clock milliseconds before which it must not be handled; 0: now. Core's lanes are used where delay is not native. */
  readonly due: number
  readonly slot: string | null
  /** Monotonic milliseconds by which the promise must settle. */
  readonly deadline: number
  readonly retryUnknown: boolean
  readonly signal?: AbortSignal | undefined
  /** Asked before each publish; false: do not let it leave, reject with CANCELLED (the assignment it belongs to is over). */
  readonly allowed?: (() => boolean) | undefined
  /** In error texts: `cannot send to "orders.placed"`. */
  readonly attempted: string
  /** It was counted when it was first stored: telemetry does not count it as sent again. */
  readonly copy?: boolean | undefined
  /** Told the outcome once, just before the promise settles; a receipt or an error that it returns is the outcome instead. Must not throw. */
  readonly onEnd?: ((request: SendRequest, error: MessagingError | undefined) => Receipt | MessagingError | undefined) | undefined
}

export type { Outgoing, PublishReport }

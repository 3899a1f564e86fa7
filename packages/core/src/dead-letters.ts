/** One message that was set aside, as it was sent, with why and when. */
export interface DeadLetter {
  readonly id: string
  readonly key: string | undefined
  /** Decoded by the topic's codec; undefined where it does not decode. */
  readonly value: unknown
  /** The original body. Empty where the server would not take a copy of that size: `error` then says so, and `position` where it lies. */
  readonly bytes: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly type: string
  readonly source: string | undefined
  readonly time: Date | undefined
  /** `failed`, `invalid`, `undecodable`, `too-large`, `crash-loop`, `no-id`, or what `deadLetter(reason)` said. */
  readonly reason: string
  readonly attempts: number
  /** Capped at 2 KiB and redacted. */
  readonly error: string | undefined
  /** Where it came from. */
  readonly topic: string
  readonly group: string
  readonly position: string | undefined
  readonly firstFailedAt: Date
  readonly lastFailedAt: Date
}
/** Which ones; never "all" by leaving something out. */
export type DeadLetterChoice =
  | { readonly all: true }
  | { readonly ids: readonly string[] }
  | { readonly where: (letter: DeadLetter) => boolean }
/** The messages that one group could not handle: look at them, hand them out again, or remove them. */
export interface DeadLetters {
  /** Oldest first; removes nothing. There is no count beside it, since it could only be made by looking at each: count what it gives. */
  list(options?: ListOptions): AsyncIterable<DeadLetter>
  /**
   * Hands the messages to this group again, and to no other; same id, attempt 1, confirmed before the entry is removed.
   * An entry whose body was too large to copy stays.
   */
  replay(choice: DeadLetterChoice, options?: ReplayOptions): Promise<{ readonly replayed: number; readonly left: number }>
  purge(choice: DeadLetterChoice, options?: PurgeOptions): Promise<{ readonly purged: number }>
}
/** What `list` gives; everything, where nothing is said. */
export interface ListOptions {
  readonly where?: ((letter: DeadLetter) => boolean) | undefined
  readonly limit?: number | undefined
  readonly signal?: AbortSignal | undefined
}
/** How fast and how many. */
export interface ReplayOptions {
  readonly ratePerSecond?: number | undefined
  readonly limit?: number | undefined
  /**
   * Ends it with CANCELLED once what is on its way (at most 100 messages) is over: `onProgress` has told all that were moved. A server that
   * does not answer is not waited for longer than 800 ms; what it has taken then may come twice, under its id.
   */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((replayed: number) => void) | undefined
}
/** How a purge is watched and given up. */
export interface PurgeOptions {
  /** Ends it with CANCELLED once what is on its way (at most 100 entries) is over, within 800 ms: `onProgress` has told all that are gone. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((purged: number) => void) | undefined
}

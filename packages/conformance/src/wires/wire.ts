// What the fault proxy knows of a protocol: where its frames end, what a request asks for, and which request an answer answers.

import type { Operation } from '../harness.ts'

/** One whole frame of a stream, or several that only make sense together. */
export interface Frame {
  /** Its bytes as they came; empty where the wire only has something to say about earlier requests. */
  readonly bytes: Uint8Array
  /** Upwards what it asks for, downwards what it answers or brings. */
  readonly operation: Operation | undefined
  /** Upwards: answers that it waits for from now on. Downwards: requests of `operation` that are answered by it. */
  readonly requests: number
  /** Downwards: it must not arrive; so many answers vanish with it. */
  readonly lost?: number | undefined
}

/** Reads one TCP connection. Keeps what is left of an unfinished frame; throws when the bytes are none of its protocol. */
export interface WireReader {
  /**
   * Answers carry no name and are told apart by their order alone. When one vanishes, all that would follow it must vanish as well,
   * for the client would take it for the answer to something else.
   */
  readonly ordered: boolean
  up(chunk: Uint8Array): readonly Frame[]
  /** `withholds` says whose answers are to vanish now. */
  down(chunk: Uint8Array, withholds: (operation: Operation) => boolean): readonly Frame[]
}

/** Where the proxy's process finds a wire: it cannot be handed a function. */
export interface WireModule {
  /** URL or absolute path of a module that exports `createReader(options: unknown): WireReader`. */
  readonly module: string
  /** What the reader is made with. Plain data: it travels between processes. */
  readonly options?: unknown
}

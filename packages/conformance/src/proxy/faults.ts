import type { Operation } from '../harness.ts'

/** From the client, or to it. */
export type Direction = 'up' | 'down'

/** What is set on a link now. All its connections look here. */
export interface Faults {
  readonly silent: Record<Direction, boolean>
  latencyMs: number
  jitterMs: number
  bytesPerSecond: number | null
  /** Bytes that are written at once; null: as many as there are. */
  sliceBytes: number | null
  /** Bytes that are waited for before any is written; null: none. */
  lumpBytes: number | null
  refused: boolean
  /** Their answers vanish, and with them what must not be misread. */
  withheld: ReadonlySet<Operation>
  /** Their answers vanish and nothing else. */
  dropped: ReadonlySet<Operation>
  /** The next request of this operation is the last thing that gets through, less its last `short` bytes. */
  cutAfter: { readonly operation: Operation; readonly short: number } | null
  /** So many of the next bytes from the server arrive damaged. */
  corrupt: number
  /** Own clock's time at which the throttled line is free again. */
  readonly lineFree: Record<Direction, number>
}

/** Everything passes. */
export const noFaults = (): Faults => ({
  silent: { up: false, down: false },
  latencyMs: 0,
  jitterMs: 0,
  bytesPerSecond: null,
  sliceBytes: null,
  lumpBytes: null,
  refused: false,
  withheld: new Set(),
  dropped: new Set(),
  cutAfter: null,
  corrupt: 0,
  lineFree: { up: 0, down: 0 },
})

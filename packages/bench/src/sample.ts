import type { Faults } from './ledger.ts'

/** What one run does. */
export interface Job {
  readonly messages: number
  /** Bytes of one body. */
  readonly bytes: number
  readonly keyed: boolean
  /** Keys that there are. */
  readonly lanes: number
  /** A run in which nothing moved for so long is over, whatever is missing. Milliseconds. */
  readonly stallMs: number
}
/** What one run took. */
export interface Sample {
  readonly wallMs: number
  readonly processorMs: number
  readonly faults: Faults
}

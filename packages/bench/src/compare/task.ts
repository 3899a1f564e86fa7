import type { Faults } from '../ledger.ts'
import type { ClientName } from './client.ts'

/** What one process of one client is asked to do. Plain data: it travels between processes. */
export type Task = Common & (ThroughputTask | SlowTask | LatencyTask)

interface Common {
  readonly broker: string
  readonly client: ClientName
  readonly url: string
  readonly bytes: number
  readonly keyed: boolean
  /** Messages that are sent and handled before anything is measured. */
  readonly warmUp: number
}
/** Produce, then consume what is queued, then both at once. */
export interface ThroughputTask {
  readonly kind: 'throughput'
  readonly messages: number
}
/** Handlers that take a while. */
export interface SlowTask {
  readonly kind: 'slow'
  readonly messages: number
  readonly handlerMs: number
  readonly lanes: number
}
/** So many a second, whatever comes back. */
export interface LatencyTask {
  readonly kind: 'latency'
  readonly perSecond: number
  readonly seconds: number
}

/** What one measurement gave. */
export interface Measured {
  readonly messages: number
  readonly wallMs: number
  /** Processor time of the client's process, all threads. */
  readonly processorMs: number
  /** Milliseconds from the intended send to the handler, and from the actual one; of a latency task only. */
  readonly latency?: Latency
  readonly faults: Faults
  /** Messages that the server still had for the group when the consumer had closed. */
  readonly unsettled: number
}
export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  /** Median from the moment in which the client was really called: without the lateness of the timers that call it. */
  readonly p50OfCall: number
  readonly worst: number
}

/** The measurements of a task, by name: `produce`, `consume`, `end to end`, `slow` or `latency`. */
export interface Outcome {
  readonly measured: Readonly<Record<string, Measured>>
  readonly notes: readonly string[]
}

/** What a process answers. */
export type Answer = { readonly outcome: Outcome } | { readonly failed: string }

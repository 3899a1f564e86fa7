import type { Faults } from '../ledger.ts'
import type { Usage } from './server-usage.ts'

/** What one process of one client is asked to do. Plain data: it travels between processes. */
export type Task = Common & Work

/** What is measured. */
export type Work = ThroughputTask | SlowTask | LatencyTask | SaturationTask | FanOutTask

interface Common {
  readonly broker: string
  readonly client: string
  readonly url: string
  /** The server's process group, where its use of the machine can be seen. */
  readonly serverPid: number | undefined
  readonly keyed: boolean
}
/** Produce, then consume what is queued, then both at once. */
export interface ThroughputTask {
  readonly kind: 'throughput'
  readonly bytes: number
  readonly messages: number
  /** Messages that are sent and handled before anything is measured. */
  readonly warmUp: number
}
/** Handlers that take a while. */
export interface SlowTask {
  readonly kind: 'slow'
  readonly bytes: number
  readonly messages: number
  readonly warmUp: number
  readonly handlerMs: number
  readonly lanes: number
}
/** So many a second, whatever comes back, at each of these rates in turn. */
export interface LatencyTask {
  readonly kind: 'latency'
  readonly bytes: number
  readonly rates: readonly number[]
  readonly seconds: number
  readonly warmUp: number
}
/** The highest rate that an open loop keeps up with, then its latency at shares of that rate. */
export interface SaturationTask {
  readonly kind: 'saturation'
  readonly bytes: number
  /** Messages of the closed loop from whose rate the search begins. */
  readonly warmUp: number
  readonly steps: number
  readonly stepSeconds: number
  /** Shares of the highest rate at which latency is measured. */
  readonly shares: readonly number[]
}
/** Every message to each of several groups. */
export interface FanOutTask {
  readonly kind: 'fan-out'
  readonly bytes: number
  readonly messages: number
  readonly warmUp: number
  readonly groups: number
}

/** What one measurement gave. */
export interface Measured {
  /** Messages that should have been handled: of a fan-out those of all groups. */
  readonly messages: number
  readonly sent: number
  readonly confirmed: number
  /** Handled, repeats too. */
  readonly received: number
  readonly wallMs: number
  /** Processor time of the client's process, all threads. */
  readonly processorMs: number
  /** The most memory that the client's process had resident until then. */
  readonly rssBytes: number
  /** The same of the server, where it can be seen: processor time of this measurement, resident memory at its end. */
  readonly server?: Usage
  /** Of an open loop only. */
  readonly latency?: Latency
  /** Of a run in which something was killed. */
  readonly fault?: Fault
  /** Messages a second that were asked for, of an open loop. */
  readonly perSecond?: number
  readonly faults: Faults
  /** Messages that the server still had for the groups when the consumers had closed. */
  readonly unsettled: number
}
/** What a fault cost, in milliseconds. */
export interface Fault {
  /** From the fault until messages arrive in time again, and stay so; undefined: not within the time that the run had. */
  readonly backMs?: number
  /** How long the server itself was away, of a restart. */
  readonly awayMs?: number
  /** The longest that a message was on its way. */
  readonly worstMs: number
}
/** Milliseconds from the intended send to the start of the handler. */
export interface Latency {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly worst: number
  /** Median from the moment in which the client was really called: without the lateness of the timers that call it. */
  readonly p50OfCall: number
  /** Messages that arrived before they should have been sent: none, or the clock is wrong. */
  readonly negative: number
  /** Upper bound in milliseconds and count of each class that is not empty. */
  readonly histogram: readonly (readonly [upTo: number, count: number])[]
}

/** The measurements of a task, by name. */
export interface Outcome {
  readonly measured: Readonly<Record<string, Measured>>
  readonly notes: readonly string[]
}

/** What a process answers. */
export type Answer = { readonly outcome: Outcome } | { readonly failed: string }

import type { MessagingError } from './errors.ts'

/** What happened, by name; each is a `node:diagnostics_channel` called `posthorn:<name>`. */
export type TelemetryName =
  | 'sent'
  | 'send-failed'
  | 'send-unknown'
  | 'send-repeated'
  | 'start'
  | 'done'
  | 'failed'
  | 'waiting'
  | 'parked'
  | 'postponed'
  | 'dead-lettered'
  | 'dead-letter-failed'
  | 'dropped'
  | 'expired'
  | 'invalid'
  | 'repeat'
  | 'finished-again'
  | 'forwarded'
  | 'replayed'
  | 'abandoned'
  | 'timed-out'
  | 'settled'
  | 'behind-waiting'
  | 'settle-unknown'
  | 'settle-stale'
  | 'assigned'
  | 'leaving'
  | 'released'
  | 'lost'
  | 'consumer-started'
  | 'consumer-recovering'
  | 'consumer-failed'
  | 'consumer-closed'
  | 'stalled'
  | 'adapter'
  | 'status'
  | 'notice'

/** What an event says; fields that do not apply are missing. */
export interface TelemetryEvent {
  readonly topic?: string | undefined
  readonly group?: string | undefined
  readonly partition?: number | null | undefined
  readonly id?: string | undefined
  readonly ids?: readonly string[] | undefined
  readonly key?: string | undefined
  readonly attempt?: number | undefined
  readonly count?: number | undefined
  /** One stable word: why a message was set aside, which adapter event, which status, what a notice is about. */
  readonly reason?: string | undefined
  readonly delayMs?: number | undefined
  /** For people: one line, lower case, no credential. Log lines are made from it. */
  readonly note?: string | undefined
  readonly error?: MessagingError | undefined
}
/** What a subscriber of the channel `posthorn:<name>` gets: the event, and which broker object it is about. */
export interface TelemetryMessage extends TelemetryEvent {
  readonly event: TelemetryName
  /** The adapter's name: `memory`, `kafka`, … */
  readonly adapter: string
  /** The broker object's `name`. */
  readonly broker: string
}
/** Where the engines say what happened: diagnostics channels, and log lines for what people should see. Never throws. */
export interface Telemetry {
  emit(name: TelemetryName, event: TelemetryEvent): void
  /** Would `emit` do anything? Ask before building an event for every message. */
  wants(name: TelemetryName): boolean
}

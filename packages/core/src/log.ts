import type { MessagingError } from './errors.ts'

/** One thing that people may want to know. */
export interface LogEntry {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** A stable word, as `handler-failed`. */
  readonly event: string
  /** For people: one line, lower case, no credential. */
  readonly message: string
  readonly topic?: string
  readonly group?: string
  readonly error?: MessagingError
}
/** Takes every entry; the default prints warnings and errors on stderr, one line each, at most 2 a second per cause. */
export type Log = (entry: LogEntry) => void

import { textOf } from './errors.ts'
import type { LogEntry } from './log.ts'
import type { TelemetryEvent, TelemetryName } from './telemetry.ts'

/** How an event reads in the log, and whether the default log prints it. */
export interface LogLine {
  readonly level: LogEntry['level']
  readonly event: string
  readonly message: string
  readonly printed: boolean
}

/** The log line of an event; undefined for what belongs on the channels only. */
export function logLine(name: TelemetryName, event: TelemetryEvent, adapter: string): LogLine | undefined {
  const make = lines[name]
  if (make === undefined) return undefined
  const line = make(event, adapter)
  return { ...line, printed: line.printed ?? (line.level === 'warn' || line.level === 'error') }
}

type Make = (event: TelemetryEvent, adapter: string) => Omit<LogLine, 'printed'> & { readonly printed?: boolean }

const say = (level: LogEntry['level'], event: string, build: (event: TelemetryEvent) => string): Make => {
  return (given) => ({ level, event, message: build(given) })
}
// The engine's own words, else the error's, else the stable word.
const because = (event: TelemetryEvent): string => {
  const cause = event.note ?? (event.error === undefined ? event.reason : textOf(event.error))
  return cause === undefined || cause === '' ? '' : `: ${cause}`
}
const where = (event: TelemetryEvent): string => {
  const topic = event.topic === undefined ? '' : `"${event.topic}"`
  const partition = typeof event.partition === 'number' ? ` partition ${event.partition}` : ''
  const group = event.group === undefined ? '' : `${topic === '' ? '' : ' '}as group "${event.group}"`
  return `${topic}${partition}${group}` || 'this broker'
}
const which = (event: TelemetryEvent): string => {
  if (event.id !== undefined) return `message ${event.id}`
  const count = event.count ?? event.ids?.length
  return count === undefined ? 'a message' : count === 1 ? '1 message' : `${count} messages`
}
const inMs = (event: TelemetryEvent): string => (event.delayMs === undefined ? '' : ` in ${Math.round(event.delayMs)} ms`)
const listed = (ids: readonly string[] | undefined): string =>
  ids === undefined || ids.length === 0 ? '' : ` (${ids.slice(0, 10).join(', ')}${ids.length > 10 ? `, and ${ids.length - 10} more` : ''})`

const lines: { readonly [Name in TelemetryName]?: Make } = {
  // A rejected send reports itself: the caller's promise is the one channel of that failure.
  'send-failed': say('debug', 'send-failed', (e) => `a send to ${where(e)} failed${because(e)}`),
  'send-unknown': say('debug', 'send-unknown', (e) => `the outcome of a send to ${where(e)} is unknown${because(e)}`),
  'send-repeated': say('debug', 'send-repeated', (e) => `sending ${which(e)} to ${where(e)} again under the same id${because(e)}`),
  failed: say('warn', 'handler-failed', (e) => {
    const next = e.delayMs === undefined ? '' : `. next attempt${inMs(e)}`
    return `the handler of ${where(e)} failed on ${which(e)}${e.attempt === undefined ? '' : `, attempt ${e.attempt}`}${because(e)}${next}`
  }),
  waiting: say('debug', 'waiting', (e) => `${which(e)} of ${where(e)} waits for its next attempt${inMs(e)}`),
  parked: say('debug', 'parked', (e) => `${which(e)} of ${where(e)} is parked for its next attempt${inMs(e)}`),
  postponed: say('debug', 'postponed', (e) => `${which(e)} of ${where(e)} is postponed; it comes again${inMs(e)}`),
  'dead-lettered': say('warn', 'dead-lettered', (e) => {
    const attempts = e.attempt === undefined ? '' : ` after ${e.attempt} ${e.attempt === 1 ? 'attempt' : 'attempts'}`
    const reason = e.reason === undefined || (e.error === undefined && e.note === undefined) ? '' : ` (${e.reason})`
    return `${which(e)} of ${where(e)} went to the dead letters${attempts}${reason}${because(e)}`
  }),
  'dead-letter-failed': say(
    'error',
    'dead-letter-failed',
    (e) => `cannot write a dead letter of ${where(e)}${because(e)}. ${which(e)} stays unsettled and will be tried again`,
  ),
  dropped: say('warn', 'dropped', (e) => `${which(e)} of ${where(e)} was dropped${because(e)}`),
  expired: say('info', 'expired', (e) => `${which(e)} of ${where(e)} had expired and was not handled`),
  invalid: say('debug', 'invalid', (e) => `${which(e)} of ${where(e)} is not what the topic declares${because(e)}`),
  repeat: say('info', 'repeat', (e) => `${which(e)} of ${where(e)} is a repeat and was skipped`),
  'finished-again': say(
    'debug',
    'finished-again',
    (e) => `${which(e)} of ${where(e)} had finished here before; it was settled without running again`,
  ),
  replayed: say('info', 'replayed', (e) => `${which(e)} of ${where(e)} handed out again from the dead letters`),
  abandoned: say('warn', 'abandoned', (e) => {
    return `${which(e)} of ${where(e)} still running when the time to drain was over${listed(e.ids)}; left unsettled, to be delivered again`
  }),
  'timed-out': say('warn', 'handler-timed-out', (e) => `the handler of ${where(e)} ran out of time on ${which(e)}${because(e)}`),
  'behind-waiting': say(
    'debug',
    'behind-waiting',
    (e) => `${which(e)} of ${where(e)} finished behind one that still waits; elsewhere it is handed out again`,
  ),
  'settle-unknown': say(
    'warn',
    'settle-unknown',
    (e) => `the settlement of ${which(e)} of ${where(e)} is not confirmed${because(e)}; repeats are settled without running again`,
  ),
  'settle-stale': say('debug', 'settle-stale', (e) => `${which(e)} of ${where(e)} had moved to another member before it was settled`),
  assigned: say('debug', 'assigned', (e) => `${where(e)} was assigned to this member`),
  leaving: say('debug', 'leaving', (e) => `${where(e)} is being handed over`),
  released: say('debug', 'released', (e) => `${where(e)} was released`),
  lost: say('info', 'lost', (e) => `${where(e)} was lost to another member${because(e)}`),
  'consumer-started': say('info', 'consumer-started', (e) => `consuming ${where(e)}`),
  'consumer-recovering': say('warn', 'consumer-recovering', (e) => `the consumer of ${where(e)} is recovering${because(e)}`),
  'consumer-failed': say('error', 'consumer-failed', (e) => `the consumer of ${where(e)} failed and is closed${because(e)}`),
  'consumer-closed': say('debug', 'consumer-closed', (e) => `the consumer of ${where(e)} is closed`),
  stalled: say('warn', 'stalled', (e) => `${where(e)} does not move${because(e)}`),
  adapter: (e, adapter) => ({
    level: 'warn',
    event: e.reason ?? 'adapter',
    message: `${adapter} reports ${e.reason ?? 'an event'}${e.topic === undefined && e.group === undefined ? '' : ` for ${where(e)}`}${e.count === undefined ? '' : `, ${which(e)}`}${e.note === undefined ? '' : `: ${e.note}`}`,
  }),
  status: (e, adapter) => statusLine(e, adapter),
  notice: (e) => ({
    level: e.error !== undefined || warnings.has(e.reason ?? '') ? 'warn' : 'info',
    event: e.reason ?? 'notice',
    message: e.note ?? 'something to know',
    printed: true,
  }),
}

const warnings: ReadonlySet<string> = new Set(['embedded-broker', 'once-window'])

function statusLine(e: TelemetryEvent, adapter: string): ReturnType<Make> {
  switch (e.reason) {
    case 'recovering':
      return {
        level: 'warn',
        event: 'recovering',
        message: `the connection to ${adapter} is lost${because({ ...e, reason: undefined })}. connecting again`,
      }
    case 'recovered':
      return { level: 'info', event: 'recovered', message: `the connection to ${adapter} is back`, printed: true }
    case 'failed':
      return {
        level: 'error',
        event: 'failed',
        message: `the connection to ${adapter} failed for good${because({ ...e, reason: undefined })}`,
      }
    default:
      return { level: 'debug', event: e.reason ?? 'status', message: e.note ?? `${adapter}: ${e.reason ?? 'status changed'}` }
  }
}

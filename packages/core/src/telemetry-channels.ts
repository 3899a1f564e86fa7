import { type Channel, channel } from 'node:diagnostics_channel'
import type { Clock } from './contract.ts'
import { createDefaultLog, type DefaultLog } from './default-log.ts'
import { capText, textOf } from './errors.ts'
import type { Log, LogEntry } from './log.ts'
import { logLine } from './log-lines.ts'
import { redactText } from './redact.ts'
import type { Telemetry, TelemetryEvent, TelemetryMessage, TelemetryName } from './telemetry.ts'

/** Every channel, so that a list can be printed and each is made once: asking one for subscribers is then a field access. */
export const telemetryNames: readonly TelemetryName[] = Object.freeze([
  'sent',
  'send-failed',
  'send-unknown',
  'send-repeated',
  'start',
  'done',
  'failed',
  'waiting',
  'parked',
  'postponed',
  'dead-lettered',
  'dead-letter-failed',
  'dropped',
  'expired',
  'invalid',
  'repeat',
  'finished-again',
  'forwarded',
  'replayed',
  'abandoned',
  'timed-out',
  'settled',
  'behind-waiting',
  'settle-unknown',
  'settle-stale',
  'assigned',
  'leaving',
  'released',
  'lost',
  'consumer-started',
  'consumer-recovering',
  'consumer-failed',
  'consumer-closed',
  'stalled',
  'adapter',
  'status',
  'notice',
] satisfies TelemetryName[])

const channels = new Map<TelemetryName, Channel>(telemetryNames.map((name) => [name, channel(`posthorn:${name}`)]))

// What happens to every message when all is well: on the channels only, so that a log costs nothing there.
const channelOnly: ReadonlySet<TelemetryName> = new Set(['sent', 'start', 'done', 'forwarded', 'settled'])

export interface TelemetrySetup {
  /** The adapter's name. */
  readonly adapter: string
  /** The broker object's name. */
  readonly name: string
  /** Takes every entry instead of stderr; false: silence. */
  readonly log: Log | false | undefined
  readonly clock: Clock
  /** Where the default log writes. @default stderr */
  readonly write?: ((line: string) => void) | undefined
}

/**
 * The telemetry of one broker object: each event goes to its diagnostics channel, and the ones people should see become
 * log entries. A subscriber or log that throws stops nothing: what the log throws is ignored, what a subscriber throws
 * Node itself raises as an uncaught exception, outside the message's path. No text leaves without redaction.
 */
export function createTelemetry(setup: TelemetrySetup): Telemetry {
  const { adapter, name: broker, log } = setup
  const fallback: DefaultLog | undefined = log === undefined ? createDefaultLog(setup.clock, setup.write) : undefined

  function enter(name: TelemetryName, event: TelemetryEvent): void {
    const line = logLine(name, event, adapter)
    if (line === undefined) return
    const entry: LogEntry = Object.freeze({
      level: line.level,
      event: line.event,
      message: redactText(line.message),
      ...(event.topic === undefined ? {} : { topic: event.topic }),
      ...(event.group === undefined ? {} : { group: event.group }),
      ...(event.error === undefined ? {} : { error: event.error }),
    })
    if (fallback === undefined) (log as Log)(entry)
    else if (line.printed) fallback.print(entry)
  }

  return {
    emit(name, given) {
      try {
        const event = bounded(given)
        const found = channels.get(name)
        if (found?.hasSubscribers === true) found.publish(messageOf(name, event, adapter, broker))
        if (log !== false && !channelOnly.has(name)) enter(name, event)
        if (name === 'status' && event.reason === 'closed') fallback?.end()
      } catch {
        // telling must never break what is told
      }
    },
    wants(name) {
      return channels.get(name)?.hasSubscribers === true || (log !== false && !channelOnly.has(name))
    },
  }
}

// Messages from elsewhere may have an id or a key of any size; what is longer than ours can be is cut.
const mostId = 1024
const mostKey = 4096

function bounded(event: TelemetryEvent): TelemetryEvent {
  const { id, ids, key } = event
  const fits =
    (id?.length ?? 0) <= mostId && (key?.length ?? 0) <= mostKey && (ids === undefined || ids.every((each) => each.length <= mostId))
  if (fits) return event
  return {
    ...event,
    ...(id === undefined ? {} : { id: capText(id, mostId) }),
    ...(ids === undefined ? {} : { ids: ids.map((each) => capText(each, mostId)) }),
    ...(key === undefined ? {} : { key: capText(key, mostKey) }),
  }
}

function messageOf(name: TelemetryName, event: TelemetryEvent, adapter: string, broker: string): TelemetryMessage {
  const { note, reason } = event
  return Object.freeze({
    ...event,
    ...(note === undefined ? {} : { note: redactText(note) }),
    ...(reason === undefined ? {} : { reason: textOf(reason, 200) }),
    event: name,
    adapter,
    broker,
  })
}

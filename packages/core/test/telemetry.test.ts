import diagnostics_channel from 'node:diagnostics_channel'
import type { LogEntry, TelemetryMessage } from '@posthorn/core'
import { afterEach, describe, expect, it } from 'vitest'
import { MessagingError } from '../src/errors.ts'
import { rememberSecret } from '../src/redact.ts'
import { createTelemetry, telemetryNames } from '../src/telemetry-channels.ts'
import { virtualClock } from '../src/virtual-clock.ts'

const undo: (() => void)[] = []
afterEach(() => {
  for (const each of undo.splice(0)) each()
})
function heard(name: string): TelemetryMessage[] {
  const events: TelemetryMessage[] = []
  const listen = (event: unknown): void => void events.push(event as TelemetryMessage)
  diagnostics_channel.subscribe(`posthorn:${name}`, listen)
  undo.push(() => diagnostics_channel.unsubscribe(`posthorn:${name}`, listen))
  return events
}
const clock = virtualClock()

describe('telemetry', () => {
  it('has one channel for each event, with the broker and the adapter it is about', () => {
    const telemetry = createTelemetry({ adapter: 'memory', name: 'shop', log: false, clock })
    for (const name of telemetryNames) {
      const events = heard(name)
      telemetry.emit(name, { topic: 'orders.placed', group: 'email', id: '17', attempt: 2 })
      expect(events).toEqual([
        { event: name, adapter: 'memory', broker: 'shop', topic: 'orders.placed', group: 'email', id: '17', attempt: 2 },
      ])
      expect(Object.isFrozen(events[0])).toBe(true)
    }
  })

  it('says beforehand whether anybody listens', () => {
    const silent = createTelemetry({ adapter: 'memory', name: 'shop', log: false, clock })
    expect(silent.wants('sent')).toBe(false)
    expect(silent.wants('failed')).toBe(false)
    heard('sent')
    expect(silent.wants('sent')).toBe(true)
    const logging = createTelemetry({ adapter: 'memory', name: 'shop', log: () => undefined, clock })
    expect(logging.wants('failed')).toBe(true)
    expect(logging.wants('done')).toBe(false)
  })

  it('holds no credential, whoever put it there', () => {
    rememberSecret('canary-telemetry')
    const events = heard('dead-lettered')
    const entries: LogEntry[] = []
    const telemetry = createTelemetry({ adapter: 'memory', name: 'shop', log: (entry) => entries.push(entry), clock })
    telemetry.emit('dead-lettered', {
      topic: 'orders.placed',
      group: 'email',
      id: '17',
      reason: 'failed: canary-telemetry',
      note: 'redis://:canary-telemetry@db refused',
      error: new MessagingError('INTERNAL', 'canary-telemetry'),
    })
    expect(JSON.stringify([events, entries])).not.toContain('canary-telemetry')
    expect(entries).toHaveLength(1)
  })

  it('never throws, whatever the log does and whatever it is told', () => {
    const telemetry = createTelemetry({
      adapter: 'memory',
      name: 'shop',
      clock,
      log: () => {
        throw new Error('disk full')
      },
    })
    expect(() => telemetry.emit('failed', {})).not.toThrow()
    expect(() =>
      telemetry.emit('failed', {
        get note(): string {
          throw new Error('no')
        },
      }),
    ).not.toThrow()
    expect(() => telemetry.emit('unheard-of' as never, {})).not.toThrow()
  })
})

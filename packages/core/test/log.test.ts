import type { LogEntry } from '@posthorn/core'
import { describe, expect, it, vi } from 'vitest'
import { MessagingError } from '../src/errors.ts'
import type { TelemetryEvent, TelemetryName } from '../src/telemetry.ts'
import { createTelemetry, telemetryNames } from '../src/telemetry-channels.ts'
import { type VirtualClock, virtualClock } from '../src/virtual-clock.ts'

function printing(): { emit: (name: TelemetryName, event: TelemetryEvent) => void; lines: string[]; clock: VirtualClock } {
  const lines: string[] = []
  const clock = virtualClock()
  const telemetry = createTelemetry({ adapter: 'redis', name: 'shop', log: undefined, clock, write: (line) => lines.push(line) })
  return { emit: telemetry.emit, lines, clock }
}
function pass(clock: VirtualClock, ms: number): void {
  clock.timer(ms, () => undefined)
  clock.step()
}
const about = { topic: 'orders.placed', group: 'email', id: '17' }

describe('the default log', () => {
  it.each<readonly [TelemetryName, TelemetryEvent, string]>([
    [
      'failed',
      { ...about, attempt: 2, note: 'smtp is down', delayMs: 400 },
      'posthorn warn: the handler of "orders.placed" as group "email" failed on message 17, attempt 2: smtp is down. next attempt in 400 ms\n',
    ],
    [
      'dead-lettered',
      { ...about, attempt: 5, reason: 'failed', note: 'smtp is down' },
      'posthorn warn: message 17 of "orders.placed" as group "email" went to the dead letters after 5 attempts (failed): smtp is down\n',
    ],
    [
      'dead-lettered',
      { ...about, attempt: 1, reason: 'bad address' },
      'posthorn warn: message 17 of "orders.placed" as group "email" went to the dead letters after 1 attempt: bad address\n',
    ],
    ['dropped', { ...about, reason: 'too old' }, 'posthorn warn: message 17 of "orders.placed" as group "email" was dropped: too old\n'],
    [
      'settle-unknown',
      { topic: 'orders.placed', group: 'email', count: 3 },
      'posthorn warn: the settlement of 3 messages of "orders.placed" as group "email" is not confirmed; repeats are settled without running again\n',
    ],
    [
      'abandoned',
      { topic: 'orders.placed', group: 'email', partition: 2, ids: ['1', '2'], count: 2 },
      'posthorn warn: 2 messages of "orders.placed" partition 2 as group "email" still running when the time to drain was over (1, 2); left unsettled, to be delivered again\n',
    ],
    [
      'consumer-failed',
      { topic: 'orders.placed', group: 'email', error: new MessagingError('UNAUTHORIZED', 'no right to read') },
      'posthorn error: the consumer of "orders.placed" as group "email" failed and is closed: no right to read\n',
    ],
    [
      'status',
      { reason: 'recovering', note: 'ECONNRESET' },
      'posthorn warn: the connection to redis is lost: ECONNRESET. connecting again\n',
    ],
    ['status', { reason: 'recovered' }, 'posthorn info: the connection to redis is back\n'],
    [
      'status',
      { reason: 'failed', note: 'password changed' },
      'posthorn error: the connection to redis failed for good: password changed\n',
    ],
    [
      'adapter',
      { reason: 'position-lost', topic: 'orders.placed', group: 'email', note: 'going on from the earliest' },
      'posthorn warn: redis reports position-lost for "orders.placed" as group "email": going on from the earliest\n',
    ],
    [
      'notice',
      {
        reason: 'backlog',
        note: 'the new group "email" of "orders.placed" starts with 12 stored messages',
        topic: 'orders.placed',
        group: 'email',
      },
      'posthorn info: the new group "email" of "orders.placed" starts with 12 stored messages\n',
    ],
  ])('prints one line for %s', (name, event, line) => {
    const { emit, lines } = printing()
    emit(name, event)
    expect(lines).toEqual([line])
  })

  it('prints nothing while all is well', () => {
    const { emit, lines } = printing()
    const troubles: readonly TelemetryName[] = [
      'failed',
      'dead-lettered',
      'dead-letter-failed',
      'dropped',
      'abandoned',
      'timed-out',
      'settle-unknown',
      'consumer-recovering',
      'consumer-failed',
      'stalled',
      'adapter',
      'notice',
    ]
    for (const name of telemetryNames) if (!troubles.includes(name)) emit(name, about)
    expect(lines).toEqual([])
  })

  it('prints at most two lines a second per cause, and says how many it held back', () => {
    const { emit, lines, clock } = printing()
    for (let n = 1; n <= 10; n++) emit('failed', { ...about, id: String(n), note: 'boom' })
    emit('failed', { ...about, group: 'push', note: 'boom' })
    emit('dropped', { ...about, reason: 'old' })
    expect(lines).toHaveLength(4)
    pass(clock, 1_000)
    for (let n = 11; n <= 20; n++) emit('failed', { ...about, id: String(n), note: 'boom' })
    expect(lines).toHaveLength(6)
    expect(lines[4]).toContain('message 11')
    expect(lines[4]).toContain('(and 8 more like this since the last line)')
    expect(lines[5]).not.toContain('more like this')
  })

  it('says at the end what it still holds back', () => {
    const { emit, lines } = printing()
    for (let n = 1; n <= 5; n++) emit('failed', { ...about, note: 'boom' })
    emit('status', { reason: 'closed' })
    expect(lines).toHaveLength(3)
    expect(lines[2]).toContain('3 more lines like this were held back')
  })

  it('prints one line, whatever the text holds', () => {
    const { emit, lines } = printing()
    emit('failed', { ...about, note: 'first\nposthorn error: forged\r\u001b[31mred\u2028' })
    expect(lines).toHaveLength(1)
    expect(lines[0]?.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u2028]/)
    emit('dropped', { ...about, note: 'x'.repeat(100_000) })
    expect(lines[1]?.length).toBeLessThan(1_100)
  })

  it('says once in a process that the embedded broker lives in it', () => {
    const first = printing()
    const second = printing()
    for (const { emit } of [first, second, first])
      emit('notice', { reason: 'embedded-broker', note: 'embedded broker "memory:": messages live in this process' })
    expect(first.lines).toEqual(['posthorn warn: embedded broker "memory:": messages live in this process\n'])
    expect(second.lines).toEqual([])
  })

  it('writes to stderr, never to stdout, and survives a stderr that is gone', () => {
    const err = vi.spyOn(process.stderr, 'write').mockImplementation(() => {
      throw new Error('EPIPE')
    })
    const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const telemetry = createTelemetry({ adapter: 'redis', name: 'shop', log: undefined, clock: virtualClock() })
    expect(() => telemetry.emit('failed', { ...about, note: 'boom' })).not.toThrow()
    expect(err).toHaveBeenCalledTimes(1)
    expect(out).not.toHaveBeenCalled()
    err.mockRestore()
    out.mockRestore()
  })

  it('holds a bounded memory of causes', () => {
    const { emit, lines } = printing()
    for (let n = 0; n < 5_000; n++) emit('failed', { ...about, topic: `t${n}`, note: 'boom' })
    expect(lines).toHaveLength(5_000)
  })
})

describe('a log of your own', () => {
  it('takes every entry, unthrottled, and replaces the lines', () => {
    const entries: LogEntry[] = []
    const lines: string[] = []
    const telemetry = createTelemetry({
      adapter: 'redis',
      name: 'shop',
      log: (entry) => entries.push(entry),
      clock: virtualClock(),
      write: (line) => lines.push(line),
    })
    const error = new MessagingError('INTERNAL', 'boom')
    for (let n = 0; n < 10; n++) telemetry.emit('failed', { ...about, error })
    telemetry.emit('assigned', { topic: 'orders.placed', partition: 3 })
    telemetry.emit('repeat', about)
    expect(entries).toHaveLength(12)
    expect(entries[0]).toEqual({
      level: 'warn',
      event: 'handler-failed',
      message: expect.stringContaining('boom'),
      topic: 'orders.placed',
      group: 'email',
      error,
    })
    expect(entries.slice(10).map((entry) => entry.level)).toEqual(['debug', 'info'])
    expect(lines).toEqual([])
  })
})

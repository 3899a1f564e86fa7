import * as entry from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'

describe('@posthorn/core/adapter', () => {
  it('exports the kit and nothing else', () => {
    expect(Object.keys(entry).sort()).toEqual([
      'MessagingError',
      'access',
      'check',
      'connectWith',
      'createAssignmentQueue',
      'createSettledPrefix',
      'faults',
      'naming',
      'reconnectDelay',
      'secrets',
      'wire',
    ])
  })

  it('refuses an unknown option of an adapter with the nearest known one', () => {
    const read = (options: object) =>
      entry.check.options('cannot use redis(…)', options as { blockMs?: number }, { blockMs: entry.check.milliseconds })
    expect(read({ blockMs: 5 })).toEqual({ blockMs: 5 })
    expect(() => read({ blokMs: 5 })).toThrow('did you mean "blockMs"?')
  })

  it('names places and groups the same way for every adapter', () => {
    const place = { topic: 'orders.placed', role: 'dead', group: 'email' } as const
    expect(entry.naming.place(place)).toBe('orders.placed__email__dead')
    expect(entry.naming.parse('orders.placed__email__dead')).toEqual(place)
    expect(entry.naming.group('orders.placed', 'email')).toBe('orders.placed__email')
  })

  it('cuts a remembered secret out of any text', () => {
    entry.secrets.rememberUrl('kafka://ada:opensesame-kit@host')
    expect(entry.secrets.redact('login with opensesame-kit failed')).toBe('login with [redacted] failed')
  })
})

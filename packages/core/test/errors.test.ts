import { inspect } from 'node:util'
import { isMessagingError } from '@posthorn/core'
import { describe, expect, it } from 'vitest'
import { capText, fromFault, MessagingError, textOf } from '../src/errors.ts'

describe('MessagingError', () => {
  it('says what the caller can rely on', () => {
    const error = new MessagingError('TIMED_OUT', 'cannot send to "orders.placed": no answer', { outcome: 'unknown', messageId: '17' })
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'MessagingError',
      code: 'TIMED_OUT',
      retryable: true,
      outcome: 'unknown',
      messageId: '17',
      issues: [],
      outcomes: [],
    })
  })

  it('is retryable by default only where waiting can help', () => {
    const codes = ['UNAVAILABLE', 'TIMED_OUT', 'CANCELLED', 'CLOSED', 'UNAUTHORIZED', 'NOT_FOUND', 'INVALID_ARGUMENT', 'INTERNAL'] as const
    expect(codes.filter((code) => new MessagingError(code, 'x').retryable)).toEqual(['UNAVAILABLE', 'TIMED_OUT'])
  })

  it('has no cause where none was given', () => {
    expect('cause' in new MessagingError('CLOSED', 'x')).toBe(false)
  })

  it('cuts credentials out of its text and of its causes', () => {
    const client = Object.assign(new Error('connect failed: amqp://ada:correct-horse-1@mq:5672'), {
      command: { args: ['AUTH', 'correct-horse-1'] },
    })
    const error = new MessagingError('UNAVAILABLE', `cannot connect to amqp://ada:correct-horse-1@mq:5672`, { cause: client })
    expect(error.message).toBe('cannot connect to amqp://[redacted]@mq:5672')
    expect(inspect(error, { depth: 10 })).not.toContain('correct-horse-1')
    expect(JSON.stringify(error)).not.toContain('correct-horse-1')
    expect(error.stack).not.toContain('correct-horse-1')
  })
})

describe('isMessagingError', () => {
  it('recognises errors of another installed copy by name and code', () => {
    expect(isMessagingError({ name: 'MessagingError', code: 'CLOSED', message: 'x' })).toBe(true)
    expect(isMessagingError(new MessagingError('CLOSED', 'x'), 'CLOSED')).toBe(true)
    expect(isMessagingError(new MessagingError('CLOSED', 'x'), 'TIMED_OUT')).toBe(false)
  })

  it.each([undefined, null, 'MessagingError', new Error('x'), { name: 'MessagingError' }, { code: 'CLOSED' }])(
    'is false for %j',
    (value) => {
      expect(isMessagingError(value)).toBe(false)
    },
  )
})

describe('fromFault', () => {
  it('wraps what a client threw with our words, its classification and a cause', () => {
    const cause = new Error('NOAUTH')
    const error = fromFault({ code: 'UNAUTHORIZED', retryable: false, outcome: 'failed' }, cause, 'cannot send to "ticks"')
    expect(error).toMatchObject({
      code: 'UNAUTHORIZED',
      retryable: false,
      outcome: 'failed',
      message: 'cannot send to "ticks": NOAUTH',
      cause,
    })
  })

  it('passes an error that is ours already', () => {
    const ours = new MessagingError('CONFLICT', 'x')
    expect(fromFault({ code: 'INTERNAL', retryable: false, outcome: 'none' }, ours, 'cannot consume')).toBe(ours)
  })
})

describe('textOf', () => {
  const circular: { self?: unknown; message?: string } = {}
  circular.self = circular
  const throwing = Object.defineProperty({}, 'message', {
    get() {
      throw new Error('gotcha')
    },
  })
  it.each([
    [undefined, 'undefined'],
    ['a text', 'a text'],
    [new TypeError('bad'), 'bad'],
    [new TypeError(''), 'TypeError'],
    [Object.freeze({ message: 'frozen' }), 'frozen'],
    [circular, '[object Object]'],
    [throwing, 'an error whose text cannot be read'],
    [Symbol('s'), 'Symbol(s)'],
  ])('has a text for anything that is thrown', (thrown, text) => {
    expect(textOf(thrown)).toBe(text)
  })

  it('is bounded and redacted, however large the error', () => {
    const text = textOf(new Error(`redis://:hidden-secret-2@host ${'ü'.repeat(10_000_000)}`))
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(2048)
    expect(text).toContain('redis://[redacted]@host')
    expect(text).not.toContain('hidden-secret-2')
  })
})

describe('capText', () => {
  it('cuts at a character, not inside one', () => {
    expect(capText('héé', 100)).toBe('héé')
    const cut = capText('ü'.repeat(50), 20)
    expect(cut).toMatch(/^ü+…$/)
    expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(20)
  })
})

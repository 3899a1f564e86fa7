import { inspect } from 'node:util'
import { secrets } from '@posthorn/core/adapter'
import { ErrorWithReasonCode } from 'mqtt'
import { describe, expect, it } from 'vitest'
import { cleaned, ended, explain, fault, refusal } from '../src/explain.ts'

const socket = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:1883`), { code })

describe('what the server says is definite', () => {
  it.each([
    [0x04, 'UNAUTHORIZED', false],
    [0x05, 'UNAUTHORIZED', false],
    [0x10, 'NOT_FOUND', false],
    [0x84, 'UNSUPPORTED', false],
    [0x85, 'INVALID_ARGUMENT', false],
    [0x86, 'UNAUTHORIZED', false],
    [0x87, 'UNAUTHORIZED', false],
    [0x88, 'UNAVAILABLE', true],
    [0x89, 'UNAVAILABLE', true],
    [0x90, 'INVALID_ARGUMENT', false],
    [0x95, 'TOO_LARGE', false],
    [0x97, 'UNAVAILABLE', true],
  ])('reason %i', (reason, code, retryable) => {
    expect(explain(refusal('cannot publish to "t"', reason))).toEqual({ code, retryable, outcome: 'failed' })
    expect(explain(new ErrorWithReasonCode('Connection refused', reason)).code).toBe(code)
  })
})

describe('a lost answer is not known', () => {
  it('of what was on its way when the server ended the connection, whatever its reason', () => {
    expect(explain(ended(0x89))).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' })
    expect(explain(ended(0x87)).outcome).toBe('unknown')
  })

  it('of a reason that is none of a refusal', () => {
    expect(explain(refusal('cannot publish to "t"', 0x11)).outcome).toBe('unknown')
    expect(explain(refusal('cannot publish to "t"', 0x80)).outcome).toBe('failed')
  })

  it.each([
    socket('ECONNRESET'),
    socket('EPIPE'),
    socket('ETIMEDOUT'),
    socket('ECONNREFUSED'),
    new Error('connack timeout'),
    new Error('Keepalive timeout'),
  ])('%s', (error) => {
    expect(explain(error)).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' })
  })

  it.each([undefined, null, 'text', 5, {}, new Error('anything'), new TypeError('x is not a function')])(
    'whatever else it is given: %s',
    (error) => {
      expect(explain(error)).toEqual({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })
    },
  )

  it('never throws, whatever it is given', () => {
    const wild = new Proxy(new Error('x'), {
      get() {
        throw new Error('no')
      },
    })
    expect(explain(wild).code).toBe('INTERNAL')
  })
})

describe('an error that is shown', () => {
  it('holds no credential and none of what the client added', () => {
    secrets.remember('canary-secret')
    const error = Object.assign(new Error('refused for ada:canary-secret'), { code: 'ECONNRESET', password: 'canary-secret' })
    const clean = cleaned(error, 'mqtt: ')
    expect(inspect(clean, { showHidden: true, depth: 5 })).not.toContain('canary-secret')
    expect(explain(clean)).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' })
  })

  it('says what to do about a wrong port or a wrong version', () => {
    expect(cleaned(new Error('wrong version number')).message).toContain('mqtts:// with it')
    expect(refusal('cannot connect', 0x84).message).toContain('protocol: "3.1.1"')
  })

  it('is left as it is when it is ours', () => {
    const ours = fault('TOO_LARGE', 'too large', 'failed')
    expect(cleaned(ours)).toBe(ours)
  })
})

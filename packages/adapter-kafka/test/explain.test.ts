import { describe, expect, it } from 'vitest'
import { cleaned, explain, fault, produceFault, serverFault } from '../src/explain.ts'

describe('what errors mean', () => {
  it('is failed only where the server says that it wrote nothing', () => {
    expect(explain(serverFault(10, 'sending'))).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed', retryable: false })
    expect(explain(serverFault(19, 'sending'))).toMatchObject({ code: 'UNAVAILABLE', outcome: 'failed', retryable: true })
    for (const code of [7, 13, 20, 9999]) expect(explain(serverFault(code, 'sending')).outcome).toBe('unknown')
  })

  it('is a missing right for the three kinds of it', () => {
    for (const code of [29, 30, 31, 53]) expect(explain(serverFault(code, 'x'))).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
  })

  it('names what was refused when a right to send is missing', () => {
    const error = produceFault(29, 'sending to "orders"')
    expect(explain(error)).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed', retryable: false })
    expect(error.message).toMatch(/"orders".*publish/)
  })

  it('of sockets and the client is read from their names', () => {
    expect(explain(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))).toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'unknown',
    })
    expect(explain(Object.assign(new Error('bad'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })).code).toBe('UNAUTHORIZED')
    expect(explain(Object.assign(new Error('SASL PLAIN authentication failed: no'), { name: 'KafkaJSSASLAuthenticationError' })).code).toBe(
      'UNAUTHORIZED',
    )
    expect(explain(Object.assign(new Error('Connection timeout'), { name: 'KafkaJSConnectionError' })).retryable).toBe(true)
  })

  it('is INTERNAL and unknown for what nobody knows, and never throws', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('trap')
      },
    })
    for (const error of [undefined, 'text', new Error('?'), hostile])
      expect(explain(error)).toMatchObject({ code: 'INTERNAL', outcome: 'unknown' })
  })

  it('keeps what was said already', () => {
    const known = fault('CONFLICT', 'kafka: x', 'failed')
    expect(cleaned(known)).toBe(known)
    expect(cleaned(Object.assign(new Error('wrong version number'), { code: 'EPROTO' })).message).toContain('one end speaks TLS')
  })
})

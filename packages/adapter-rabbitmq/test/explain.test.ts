import { MessagingError } from '@posthorn/core/adapter'
import { IllegalOperationError } from 'amqplib'
import { describe, expect, it } from 'vitest'
import { explain, fault, refused } from '../src/explain.ts'

const reply = (code: number, text: string): Error => Object.assign(new Error(text), { code })
const socket = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:5672`), { code })

describe('what an error means', () => {
  it.each([
    ['a refused connection', socket('ECONNREFUSED'), 'UNAVAILABLE', true],
    ['a reset', socket('ECONNRESET'), 'UNAVAILABLE', true],
    ['a name that does not resolve', socket('ENOTFOUND'), 'UNAVAILABLE', true],
    [
      'a wrong password',
      new Error('Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused"'),
      'UNAUTHORIZED',
      false,
    ],
    ['a virtual host that is refused', new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>'), 'UNAUTHORIZED', false],
    [
      'a missing right',
      reply(403, 'Channel closed by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - write access to exchange"'),
      'UNAUTHORIZED',
      false,
    ],
    [
      'a missing exchange',
      reply(404, 'Channel closed by server: 404 (NOT-FOUND) with message "NOT_FOUND - no exchange"'),
      'NOT_FOUND',
      false,
    ],
    ['a locked queue', reply(405, 'Operation failed: QueueDeclare; 405 (RESOURCE-LOCKED)'), 'CONFLICT', false],
    [
      'other arguments',
      reply(406, 'Channel closed by server: 406 (PRECONDITION-FAILED) with message "PRECONDITION_FAILED - inequivalent arg \'type\'"'),
      'CONFLICT',
      false,
    ],
    [
      'a message over the limit',
      reply(406, 'PRECONDITION_FAILED - message size 200 is larger than configured max size 100'),
      'TOO_LARGE',
      false,
    ],
    [
      'a server that shuts down',
      reply(320, 'Connection closed: 320 (CONNECTION-FORCED) with message "CONNECTION_FORCED - broker forced connection closure"'),
      'UNAVAILABLE',
      true,
    ],
    ['a channel that ended', new Error('channel closed'), 'UNAVAILABLE', true],
    ['a call on an ended channel', new IllegalOperationError('Channel closed', ''), 'UNAVAILABLE', true],
    ['silence', new Error('Heartbeat timeout'), 'UNAVAILABLE', true],
    [
      'a certificate that does not verify',
      Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }),
      'UNAUTHORIZED',
      false,
    ],
  ])('%s', (_, error, code, retryable) => {
    expect(explain(error)).toEqual({ code, retryable, outcome: 'unknown' })
  })

  it('an own error says what it is', () => {
    expect(explain(fault('NOT_FOUND', 'no queue', 'failed'))).toEqual({ code: 'NOT_FOUND', retryable: false, outcome: 'failed' })
    expect(explain(new MessagingError('INVALID_ARGUMENT', 'wrong', { outcome: 'failed' }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'failed',
    })
  })

  it('what is refused before it could be stored keeps its meaning and is definite', () => {
    expect(explain(refused(reply(403, 'Channel closed by server: 403 (ACCESS-REFUSED)')))).toEqual({
      code: 'UNAUTHORIZED',
      retryable: false,
      outcome: 'failed',
    })
    expect(explain(refused(new Error('channel closed')))).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'failed' })
  })

  it('of anything else nobody knows, and nothing makes it throw', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('trap')
      },
    })
    for (const error of [undefined, null, 17, 'text', {}, new Error('strange'), hostile])
      expect(explain(error)).toEqual({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })
  })
})

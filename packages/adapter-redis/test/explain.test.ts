import { inspect } from 'node:util'
import { secrets } from '@posthorn/core/adapter'
import { redis } from '@posthorn/redis'
import { describe, expect, it } from 'vitest'
import { cleaned, explain, fault } from '../src/explain.ts'

function reply(text: string): Error {
  const error = new Error(text)
  error.name = 'ReplyError'
  return error
}
const socket = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:6379`), { code })

describe('what the server says is definite', () => {
  it.each([
    ['NOAUTH Authentication required.', 'UNAUTHORIZED', false],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'UNAUTHORIZED', false],
    ["NOPERM User joe has no permissions to run the 'xadd' command", 'UNAUTHORIZED', false],
    ["ERR The user executing the script can't access at least one of the keys mentioned in the command arguments", 'UNAUTHORIZED', false],
    ['ERR ACL failure in script: whatever', 'UNAUTHORIZED', false],
    ["OOM command not allowed when used memory > 'maxmemory'.", 'UNAVAILABLE', true],
    ['MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.', 'UNAVAILABLE', true],
    ["READONLY You can't write against a read only replica.", 'UNAVAILABLE', true],
    ['LOADING Redis is loading the dataset in memory', 'UNAVAILABLE', true],
    ['BUSY Redis is busy running a script.', 'UNAVAILABLE', true],
    ['NOREPLICAS Not enough good replicas to write.', 'UNAVAILABLE', true],
    ['ERR max number of clients reached', 'UNAVAILABLE', true],
    ['NOGROUP No such key', 'NOT_FOUND', false],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', 'CONFLICT', false],
    ['MOVED 1234 127.0.0.1:7001', 'UNSUPPORTED', false],
    ["CROSSSLOT Keys in request don't hash to the same slot", 'UNSUPPORTED', false],
    ["ERR unknown command 'XADD'", 'UNSUPPORTED', false],
    ['ERR Protocol error: invalid bulk length', 'TOO_LARGE', false],
  ])('%s', (text, code, retryable) => {
    expect(explain(reply(text))).toEqual({ code, retryable, outcome: 'failed' })
  })
})

describe('a lost answer is not known', () => {
  it.each([socket('ECONNRESET'), socket('EPIPE'), socket('ETIMEDOUT'), socket('ECONNREFUSED'), new Error('Connection is closed.')])(
    '%s',
    (error) => {
      expect(explain(error)).toEqual({ code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' })
    },
  )

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
    expect(redis().explain(wild).code).toBe('INTERNAL')
  })
})

describe('TLS', () => {
  it.each(['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED'])(
    'a certificate that is not believed is final: %s',
    (code) => {
      expect(explain(Object.assign(new Error('self-signed certificate'), { code }))).toMatchObject({
        code: 'UNAUTHORIZED',
        retryable: false,
      })
    },
  )

  it('a server without TLS says what to do', () => {
    const error = cleaned(Object.assign(new Error('write EPROTO: wrong version number'), { code: 'EPROTO' }))
    expect(explain(error)).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false })
    expect(error.message).toContain('rediss://')
  })
})

describe('S24: errors of the client carry the command with its password', () => {
  it('nothing of it is left in what leaves the package', () => {
    secrets.remember('canary-8472')
    const bad = Object.assign(reply('WRONGPASS invalid pair canary-8472'), { command: { name: 'auth', args: ['joe', 'canary-8472'] } })
    const clean = cleaned(bad, 'redis: ')
    expect(inspect(clean, { depth: 9, showHidden: true })).not.toContain('canary-8472')
    expect(explain(clean).code).toBe('UNAUTHORIZED')
  })
})

it('an error of our own says by itself what it means', () => {
  expect(explain(fault('NOT_FOUND', 'x', 'failed'))).toEqual({ code: 'NOT_FOUND', retryable: false, outcome: 'failed' })
  expect(explain(cleaned(fault('TIMED_OUT', 'x')))).toEqual({ code: 'TIMED_OUT', retryable: true, outcome: 'none' })
})

describe('options', () => {
  it.each([
    [{ urll: 'redis://x' }, 'did you mean "url"'],
    [{ leaseMs: 5 }, '"leaseMs"'],
    [{ url: 'http://x' }, 'redis://'],
    [{ url: 'redis://x/abc' }, 'number'],
    [{ url: 'redis://x/1?leaseMs=5' }, 'leaseMs'],
    [{ url: 'rediss://x', tls: false }, 'rediss'],
    [{ sentinels: { nodes: [], master: 'm' } }, 'nodes'],
    [{ sentinels: { nodes: ['a'] } }, 'master'],
    [{ tls: { ca: '/nowhere/ca.pem' } }, '"tls.ca"'],
  ])('%o is refused at once', (options, words) => {
    expect(() => redis(options as never)).toThrow(words)
  })

  it('a password in a URL is never shown', () => {
    expect(() => redis({ url: 'redis://joe:canary-1199@x/abc' })).toThrow(/^(?!.*canary-1199)/)
  })
})

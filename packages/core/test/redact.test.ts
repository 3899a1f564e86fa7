import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { redactCause, redactText, rememberSecret, rememberSecretsOf } from '../src/redact.ts'

describe('redactText', () => {
  it.each([
    ['redis://localhost:6379/0', 'redis://localhost:6379/0'],
    ['redis://ada:hunter22@localhost', 'redis://[redacted]@localhost'],
    ['amqps://ada:p%40ss@a,b,c/vhost?heartbeat=5', 'amqps://[redacted]@a,b,c/vhost?heartbeat=5'],
    ['kafka://a,b?sasl.password=hunter22&clientId=shop', 'kafka://a,b?sasl.password=[redacted]&clientId=shop'],
    ['mqtt://token@host', 'mqtt://[redacted]@host'],
    ['tried amqp://u:one@a and amqp://u:two@b', 'tried amqp://[redacted]@a and amqp://[redacted]@b'],
    ['write to ada@example.org', 'write to ada@example.org'],
    ['no secret here', 'no secret here'],
  ])('of %s', (text, clean) => {
    expect(redactText(text)).toBe(clean)
  })

  it('cuts a secret that was given, also without a URL around it and percent-encoded', () => {
    rememberSecret('pä$$word/1')
    expect(redactText('AUTH pä$$word/1 failed')).toBe('AUTH [redacted] failed')
    expect(redactText(`AUTH ${encodeURIComponent('pä$$word/1')} failed`)).toBe('AUTH [redacted] failed')
  })

  it('knows the decoded password of a URL', () => {
    rememberSecretsOf('amqp://ada:quite%20secret%21@host')
    expect(redactText('login refused for ada / quite secret!')).toBe('login refused for ada / [redacted]')
  })

  it('knows passwords that make the URL unparsable', () => {
    const url = 'amqp://ada:sl/ash#and?more@host:notaport/v'
    rememberSecretsOf(url)
    expect(redactText(`cannot parse ${url}`)).not.toContain('ash#and')
    rememberSecretsOf('redis://[broken:qwerty-at@sign@@host')
    expect(redactText('qwerty-at@sign@')).not.toContain('qwerty')
  })

  it('does not remember what is too short to be told from a word', () => {
    rememberSecret('abc')
    rememberSecret(undefined)
    expect(redactText('the alphabet begins with abc')).toBe('the alphabet begins with abc')
  })
})

describe('redactCause', () => {
  it('keeps a cause that holds no secret', () => {
    const cause = new Error('ECONNREFUSED 127.0.0.1:6379')
    expect(redactCause(cause)).toBe(cause)
  })

  it('replaces a cause whose fields, stack or own causes hold a secret', () => {
    rememberSecret('canary-7f3a')
    const causes = [
      Object.assign(new Error('refused'), { command: { args: ['canary-7f3a'] } }),
      new Error('refused', { cause: new Error('deep canary-7f3a') }),
      { password: 'canary-7f3a' },
      'text with canary-7f3a',
    ]
    for (const cause of causes) {
      const clean = redactCause(cause)
      expect(clean).not.toBe(cause)
      expect(clean).toBeInstanceOf(Error)
      expect(inspect(clean, { depth: 10, showHidden: true })).not.toContain('canary-7f3a')
    }
  })

  it('survives a cause that cannot be looked at', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('no')
      },
      ownKeys() {
        throw new Error('no')
      },
    })
    expect(() => redactCause(hostile)).not.toThrow()
  })
})

import { type AdapterContext, access, secrets } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'

describe('a secret', () => {
  it('is the same text, or what its function answers then, and is cut out of every text', async () => {
    const text = access.secret('cannot connect', 'password', 'text-of-a-password')
    expect(text()).toBe('text-of-a-password')
    let asked = 0
    const answers = access.secret('cannot connect', 'password', () => `answer-of-a-function-${++asked}`)
    expect([await answers(), await answers()]).toEqual(['answer-of-a-function-1', 'answer-of-a-function-2'])
    expect(secrets.redact('text-of-a-password answer-of-a-function-2')).toBe('[redacted] [redacted]')
    expect(access.secret('cannot connect', 'password', null)()).toBe(null)
  })

  it('that is no text is refused with the name of its option', async () => {
    await expect(access.secret('cannot connect', 'token', () => 7 as never)()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'cannot connect: the function "token" gave no text',
    })
  })
})

describe('TLS', () => {
  const events: string[] = []
  const context: Pick<AdapterContext, 'event'> = { event: (name) => void events.push(name) }

  it('in the form of node:tls keeps what it was given, asks functions again, and remembers the passphrase', async () => {
    const ca = [Buffer.from('one')]
    const given = access.tls('cannot make it', { ca, passphrase: 'phrase-of-a-key' })
    expect(await given()).toEqual({ ca, passphrase: 'phrase-of-a-key' })
    expect(secrets.redact('phrase-of-a-key')).toBe('[redacted]')
    let asked = 0
    const answers = access.tls('cannot make it', async () => ({ servername: `name-${++asked}` }))
    expect([await answers(), await answers()]).toEqual([{ servername: 'name-1' }, { servername: 'name-2' }])
    expect(() => access.tls('cannot make it', { serverName: 'x' } as object)).toThrow(
      'cannot make it ("tls"): there is no option "serverName". did you mean "servername"?',
    )
  })

  it('that nobody verifies is told once', () => {
    const securing = access.watchVerifying(context)
    securing(null)
    securing({})
    securing({ rejectUnauthorized: true })
    expect(events).toEqual([])
    securing({ rejectUnauthorized: false })
    securing({ rejectUnauthorized: false })
    expect(events).toEqual(['not-verified'])
  })

  it('of texts or files is on by the URL or by the option, and they may not contradict each other', async () => {
    const url = (secure: boolean): { scheme: string; secure: boolean } => ({ scheme: 'rediss', secure })
    expect(access.tlsFiles('cannot use it', undefined, url(true)).secure).toBe(true)
    expect(access.tlsFiles('cannot use it', undefined, url(false)).secure).toBe(false)
    expect(access.tlsFiles('cannot use it', true, url(false)).secure).toBe(true)
    expect(() => access.tlsFiles('cannot use it', false, url(true))).toThrow('cannot use it: rediss:// is with TLS, and "tls" says false')
    const answers = access.tlsFiles('cannot use it', () => ({ ca: 'no-such-file' }), url(true))
    await expect(answers.tls()).rejects.toThrow('"tls.ca" is neither a text in PEM nor the path of a file that can be read')
  })
})

import { kafka } from '@posthorn/kafka'
import { describe, expect, it } from 'vitest'
import { settingsOf } from '../src/options.ts'

describe('options', () => {
  it('come from a URL with several hosts, a user and parameters', async () => {
    const settings = settingsOf({
      url: 'kafka://shop:s%40cret@one:9093,[::1]:9094,three?mechanism=scram-sha-512&tls=true&sessionTimeoutMs=6000',
    })
    expect(settings.seeds).toEqual([
      { host: 'one', port: 9093 },
      { host: '::1', port: 9094 },
      { host: 'three', port: 9092 },
    ])
    expect(await settings.login()).toEqual({ mechanism: 'scram-sha-512', username: 'shop', password: 's@cret' })
    expect([await settings.tls(), settings.sessionTimeoutMs]).toEqual([{}, 6000])
  })

  it('ask functions again, and never show what they gave', async () => {
    let asked = 0
    const settings = settingsOf({ username: 'shop', password: () => `secret-${++asked}` })
    await settings.login()
    expect(await settings.login()).toMatchObject({ mechanism: 'plain', password: 'secret-2' })
  })

  it.each([
    [{ urll: 'kafka://a' }, /did you mean "url"/],
    [{ url: 'kafka://a', brokers: ['b'] }, /not both/],
    [{ brokers: ['a:b:c'] }, /host:port/],
    [{ url: 'kafka://user:secret-word@a:99999' }, /host:port/],
    [{ username: 'shop' }, /no password/],
    [{ username: 'shop', password: 'x', token: () => 'y' }, /not both/],
    [{ sessionTimeoutMs: 1 }, /1000/],
    [{ url: 'kafka://a?sessionTimeout=5' }, /did you mean "sessionTimeoutMs"/],
  ])('%j are refused at once', (options, words) => {
    expect(() => kafka(options as object)).toThrow(words)
    try {
      kafka(options as object)
    } catch (error) {
      expect(String(error)).not.toContain('secret-word')
    }
  })
})

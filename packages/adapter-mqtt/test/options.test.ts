import { adapter, mqtt } from '@posthorn/mqtt'
import { describe, expect, it } from 'vitest'
import { settingsOf } from '../src/options.ts'

describe('the URL', () => {
  it('names user, password, host and port', async () => {
    const settings = settingsOf({ url: 'mqtt://ada:p%40ss@one:1884' })
    expect(settings).toMatchObject({ host: 'one', port: 1884, username: 'ada', secure: false })
    expect(await settings.password()).toBe('p@ss')
    expect(settingsOf({ url: 'mqtts://[::1]' })).toMatchObject({ host: '::1', port: 8883, secure: true })
    expect(settingsOf({})).toMatchObject({ host: '127.0.0.1', port: 1883, version: 5 })
  })

  it.each(['http://host', 'mqtt://host/topic', 'mqtt://host?qos=1', 'mqtt://a b'])('%s is refused', (url) => {
    expect(() => settingsOf({ url })).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  it('shows no password in what it refuses', () => {
    expect(() => settingsOf({ url: 'mqtt://ada:canary-secret@host:x' })).toThrow(
      expect.not.stringContaining('canary-secret') as unknown as Error,
    )
  })

  it('is given once', () => {
    expect(() => adapter('mqtt://host', { url: 'mqtt://other' })).toThrow(/leave "url" out/)
  })
})

describe('options', () => {
  it.each([
    [{ keepAliveMs: 1500 }, /multiple of 1000/],
    [{ keepAliveMs: '60s' }, /multiple of 1000/],
    [{ keepaliveMs: 1000 }, /did you mean "keepAliveMs"/],
    [{ protocol: '4' }, /"5", "3.1.1"/],
    [{ window: 0 }, /whole number/],
    [{ tls: { caa: 'x' } }, /did you mean "ca"/],
    [{ url: 'mqtts://host', tls: false }, /with TLS/],
  ])('%j is refused', (options, text) => {
    expect(() => mqtt(options as never)).toThrow(text)
  })

  it('are asked for again where they may be replaced', async () => {
    let n = 0
    const certificate = '-----BEGIN CERTIFICATE-----'
    const settings = settingsOf({ password: () => `secret ${++n}`, tls: () => ({ ca: `${certificate} ${++n}` }) })
    expect([await settings.password(), await settings.password()]).toEqual(['secret 1', 'secret 2'])
    expect([await settings.tls(), settings.secure]).toEqual([{ ca: `${certificate} 3` }, true])
    await expect(settingsOf({ password: () => 7 as never }).password()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('never show what may be a key', () => {
    const key = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj'
    const attempt = (): unknown => mqtt({ url: 'mqtts://host', tls: { key } })
    expect(attempt).toThrow(/"tls\.key"/)
    expect(attempt).not.toThrow(new RegExp(key))
  })

  it('give times that follow from one another', () => {
    const { keepAliveMs, viewMs, lifeMs, willMs } = settingsOf({ keepAliveMs: 5000 })
    expect([keepAliveMs, viewMs, lifeMs, willMs]).toEqual([5000, 1000, 8500, 2000])
    // The server cuts a silent client off after one and a half, and tells the others after the delay of the will; our belief ends before.
    expect(lifeMs).toBeLessThan(keepAliveMs * 1.5 + willMs)
    expect(settingsOf({ keepAliveMs: 5000, protocol: '3.1.1' }).lifeMs).toBe(6500)
  })
})

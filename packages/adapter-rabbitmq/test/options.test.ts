import { describe, expect, it } from 'vitest'
import { consumerOptions, settingsOf, topicOptions } from '../src/options.ts'

describe('the URL', () => {
  it('names user, password, hosts and virtual host', async () => {
    const settings = settingsOf({ url: 'amqp://ada:p%40ss@one:5673,two/shop%2Feu?heartbeatMs=3000' })
    expect(settings).toMatchObject({ secure: false, username: 'ada', vhost: 'shop/eu', heartbeatMs: 3000 })
    expect(settings.hosts).toEqual([
      { hostname: 'one', port: 5673 },
      { hostname: 'two', port: 5672 },
    ])
    expect(await settings.password()).toBe('p@ss')
  })

  it('may leave out everything but its scheme', async () => {
    const settings = settingsOf({ url: 'amqps://' })
    expect(settings).toMatchObject({ secure: true, username: 'guest', vhost: '/', hosts: [{ hostname: 'localhost', port: 5671 }] })
    expect(settingsOf({ url: 'amqp://[::1]:5672/' })).toMatchObject({ vhost: '/', hosts: [{ hostname: '::1', port: 5672 }] })
  })

  it.each(['amqp://host:0', 'amqp://host:99999', 'amqp://a b:x', 'http://host', 'amqp://h/a/b', 'amqp://u:%zz@host'])(
    '%s is refused',
    (url) => {
      expect(() => settingsOf({ url })).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    },
  )

  it('refuses parameters it does not know, and names the nearest', () => {
    expect(() => settingsOf({ url: 'amqp://host?heartbeatMS=3000' })).toThrow(/did you mean "heartbeatMs"/)
  })

  it('shows no password in what it refuses', () => {
    let text = ''
    try {
      settingsOf({ url: 'amqp://ada:canary-secret@host:0' })
    } catch (error) {
      text = String(error)
    }
    expect(text).toContain('is not written as')
    expect(text).not.toContain('canary-secret')
  })
})

describe('options', () => {
  it.each([
    [{ heartbeatMs: 1500 }, /whole seconds/],
    [{ heartbeatMs: '60s' }, /whole seconds/],
    [{ partitions: 0 }, /whole number/],
    [{ heartbeatMS: 1000 }, /did you mean "heartbeatMs"/],
    [{ tls: { caa: 'x' } }, /amqps/],
  ])('%j is refused', (options, text) => {
    expect(() => settingsOf(options as never)).toThrow(text)
  })

  it('a password may be asked for again', async () => {
    let asked = 0
    const settings = settingsOf({ url: 'amqp://ada@host', password: () => `secret-${++asked}` })
    expect([await settings.password(), await settings.password()]).toEqual(['secret-1', 'secret-2'])
  })

  it('of topics and consumers are checked as well', () => {
    expect(topicOptions('t', { exchange: '', queue: 'q', declare: false })).toEqual({ exchange: '', queue: 'q', declare: false })
    expect(() => topicOptions('t', { declared: false })).toThrow(/did you mean "declare"/)
    expect(() => consumerOptions('t', { queue: '' })).toThrow(/"queue"/)
    expect(consumerOptions('t', undefined)).toEqual({})
  })
})

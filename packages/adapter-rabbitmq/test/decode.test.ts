import type { Received } from '@posthorn/core/adapter'
import type { Message } from 'amqplib'
import { describe, expect, it } from 'vitest'
import { decode, deliveriesOf } from '../src/decode.ts'

/** A message as the server hands it over. */
function delivered(properties: Record<string, unknown>, content: Uint8Array = Buffer.from('x'), routingKey = '1'): Message {
  return {
    content: Buffer.from(content),
    fields: { deliveryTag: 1, redelivered: false, exchange: 'orders.placed', routingKey, consumerTag: 'c' },
    properties,
  } as unknown as Message
}

function received(message: Message, keyed = true): Received {
  const content = decode(message, keyed)
  if ('undecodable' in content) throw new Error(content.undecodable)
  return content
}

describe("other clients' messages", () => {
  it('without any header a message is a message', () => {
    expect(received(delivered({}), true)).toMatchObject({ id: null, key: null, time: null, headers: null, transport: null })
  })

  it("AMQP's own properties stand in for attributes that are not there", () => {
    const back = received(delivered({ messageId: 'm', type: 't', contentType: 'text/plain', timestamp: 1_793_613_600 }))
    expect(back).toMatchObject({ id: 'm', time: 1_793_613_600_000 })
    expect({ ...back.attributes }).toEqual({ type: 't', datacontenttype: 'text/plain' })
  })

  it('a routing key that is no partition is the key, on keyed topics', () => {
    expect(received(delivered({}, Buffer.from('x'), 'customer-7')).key).toBe('customer-7')
    expect(received(delivered({}, Buffer.from('x'), '3')).key).toBeNull()
    expect(received(delivered({}, Buffer.from('x'), 'customer-7'), false).key).toBeNull()
  })

  it.each(['cloudEvents_', 'cloudEvents:', 'ce-', 'ce_'])('attributes may be written as %s', (prefix) => {
    const back = received(delivered({ headers: { [`${prefix}id`]: '1', [`${prefix}source`]: '/s', [`${prefix}specversion`]: '1.0' } }))
    expect(back.id).toBe('1')
    expect({ ...back.attributes }).toEqual({ source: '/s' })
  })

  it('R21 and W5 headers of any AMQP type are text, and what the server wrote about earlier deaths is left out', () => {
    const headers = {
      text: 'a',
      number: 42,
      yes: true,
      none: null,
      bytes: Buffer.from('ä'),
      list: [1, 'two', Buffer.from('3')],
      table: { deep: { er: 1 } },
      at: { '!': 'timestamp', value: 1_793_613_600 },
      price: { '!': 'decimal', value: { digits: 1299, places: 2 } },
      'x-death': [{ queue: 'q', reason: 'expired', count: 1 }],
      'x-first-death-queue': 'q',
      'x-delivery-count': 3,
    }
    expect({ ...received(delivered({ headers })).headers }).toEqual({
      text: 'a',
      number: '42',
      yes: 'true',
      bytes: 'ä',
      list: '[1,"two","Mw=="]'.replace('"Mw=="', JSON.stringify(JSON.parse(JSON.stringify(Buffer.from('3'))))),
      table: '{"deep":{"er":1}}',
      at: '2026-11-02T10:00:00.000Z',
      price: '12.99',
    })
  })

  it('W9 bytes that are no text make it undecodable, with body and headers as they are', () => {
    const content = decode(delivered({ headers: { good: 'a', bad: Buffer.from([0xff, 0xfe]) } }, Buffer.from('body')), true)
    if (!('undecodable' in content)) throw new Error('it was read')
    expect(content.undecodable).toContain('bad')
    expect(Buffer.from(content.body ?? []).toString()).toBe('body')
    expect(Buffer.from(content.headers?.bad ?? []).equals(Buffer.from([0xff, 0xfe]))).toBe(true)
    expect(Buffer.from(content.headers?.good ?? []).toString()).toBe('a')
  })

  it('a CloudEvent of another version is not guessed at', () => {
    expect(decode(delivered({ headers: { ce_specversion: '0.3', ce_id: '1' } }), true)).toMatchObject({
      undecodable: expect.stringContaining('0.3'),
    })
  })

  it('what a message before it said is not taken for its own, however its attributes are spelled', () => {
    const read = (properties: Record<string, unknown>): Record<string, string> => ({ ...received(delivered(properties)).attributes })
    const whole = { contentType: 'a/b', type: 't', headers: { cloudEvents_source: '/s', cloudEvents_type: 't' } }
    const attributes = { source: '/s', type: 't', datacontenttype: 'a/b' }
    expect(read(whole)).toEqual(attributes)
    expect(read({ contentType: 'a/b', headers: { cloudEvents_source: '/s', 'ce-source': '/s' } })).toEqual({
      source: '/s',
      datacontenttype: 'a/b',
    })
    expect(read(whole)).toEqual(attributes)
    expect(read({ ...whole, headers: { ...whole.headers, cloudEvents_time: 'noon' } })).toEqual({ ...attributes, time: 'noon' })
    expect(read({ ...whole, contentType: undefined })).toEqual({ source: '/s', type: 't' })
    expect(read({ contentType: 'a/b', headers: { cloudEvents_source: '/s' } })).toEqual({ source: '/s', datacontenttype: 'a/b' })
    expect(read({ contentType: 'a/b', type: 't', headers: { cloudEvents_source: '/s' } })).toEqual(attributes)
    expect(read({})).toEqual({})
  })

  it('hostile names stay names', () => {
    const headers = JSON.parse('{"__proto__": "p", "constructor": "c", "toString": "t"}') as Record<string, string>
    const back = received(delivered({ headers }))
    expect(back.headers?.constructor).toBe('c')
    expect(Object.getPrototypeOf(back.headers)).toBeNull()
    expect({}.toString).toBe(Object.prototype.toString)
  })

  it('R15 and R16 redelivered is no count: only x-delivery-count is', () => {
    const first = delivered({})
    ;(first.fields as { redelivered: boolean }).redelivered = true
    expect(deliveriesOf(first)).toBe(1)
    expect(deliveriesOf(delivered({ headers: { 'x-delivery-count': 4 } }))).toBe(5)
    expect(deliveriesOf(delivered({ headers: { 'x-delivery-count': 'many' } }))).toBe(1)
  })
})

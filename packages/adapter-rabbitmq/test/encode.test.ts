import type { Outgoing, Received } from '@posthorn/core/adapter'
import type { Message } from 'amqplib'
import { describe, expect, it } from 'vitest'
import { decode, deliveriesOf, encode } from '../src/encode.ts'

const attributes = Object.freeze({ source: '/orders', type: 'order.created', datacontenttype: 'application/json', subject: 'o-17' })

function outgoing(changes: Partial<Outgoing> = {}): Outgoing {
  return {
    id: 'id-1',
    key: 'ada',
    body: Buffer.from('{"orderId":17}'),
    time: Date.UTC(2026, 10, 2, 10, 0, 0, 123),
    expiresAt: null,
    attributes,
    headers: { tenant: 'north' },
    transport: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
    place: { topic: 'orders.placed', role: 'main', group: null },
    partition: 1,
    delayMs: 0,
    slot: null,
    ...changes,
  }
}

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

/** What was written, read back. */
function carried(message: Outgoing): Received {
  const { body, options } = encode(message)
  return received(delivered(options as unknown as Record<string, unknown>, body))
}

describe('writing', () => {
  it('a message is a CloudEvent in headers, and fills the properties that AMQP has for it', () => {
    const { body, options } = encode(outgoing())
    expect(options).toEqual({
      persistent: true,
      mandatory: true,
      messageId: 'id-1',
      contentType: 'application/json',
      type: 'order.created',
      timestamp: Date.UTC(2026, 10, 2, 10) / 1000,
      headers: {
        cloudEvents_specversion: '1.0',
        cloudEvents_id: 'id-1',
        cloudEvents_source: '/orders',
        cloudEvents_type: 'order.created',
        cloudEvents_subject: 'o-17',
        cloudEvents_time: '2026-11-02T10:00:00.123Z',
        cloudEvents_partitionkey: 'ada',
        tenant: 'north',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      },
    })
    expect(body.toString()).toBe('{"orderId":17}')
  })

  it('R27 a copy is as persistent and as mandatory as its original', () => {
    for (const role of ['dead', 'retry'] as const) {
      const { options } = encode(outgoing({ place: { topic: 'orders.placed', role, group: 'email' } }))
      expect(options).toMatchObject({ persistent: true, mandatory: true })
    }
    expect(encode(outgoing({ place: { topic: 'orders.placed', role: 'delay', group: null } })).options).toMatchObject({
      persistent: true,
      mandatory: true,
    })
  })

  it('texts over 255 bytes travel in headers, where AMQP has short texts only', () => {
    const long = 'ä'.repeat(200)
    const back = carried(outgoing({ id: long, attributes: { ...attributes, type: long, datacontenttype: long } }))
    expect(encode(outgoing({ id: long })).options.messageId).toBeUndefined()
    expect(back.id).toBe(long)
    expect(back.attributes.type).toBe(long)
    expect(back.attributes.datacontenttype).toBe(long)
  })

  it('application headers that mean something to the server are put aside, and come back under their names', () => {
    const headers = { CC: 'a', BCC: 'b', 'x-death': 'c', 'x-delivery-count': '5', traceparent: 'mine', 'x-request-id': 'r' }
    const { options } = encode(outgoing({ headers, transport: null }))
    expect(Object.keys(options.headers)).not.toContain('CC')
    expect(Object.keys(options.headers)).not.toContain('x-death')
    expect(options.headers['x-request-id']).toBe('r')
    expect({ ...carried(outgoing({ headers, transport: null })).headers }).toEqual(headers)
  })
})

describe('there and back', () => {
  it('everything of a message comes back', () => {
    const message = outgoing({ expiresAt: Date.UTC(2030, 0, 1), transport: { 'ph-attempt': '3', tracestate: 'a=b' } })
    const back = carried(message)
    expect(back).toMatchObject({ id: message.id, key: message.key, time: message.time, expiresAt: message.expiresAt })
    expect({ ...back.attributes }).toEqual({ ...attributes })
    expect({ ...back.headers }).toEqual(message.headers)
    expect({ ...back.transport }).toEqual(message.transport)
    expect(Buffer.from(back.body ?? []).equals(Buffer.from(message.body ?? []))).toBe(true)
  })

  it('no key, the empty key and a key are three things', () => {
    expect(carried(outgoing({ key: null })).key).toBeNull()
    expect(carried(outgoing({ key: '' })).key).toBe('')
    expect(carried(outgoing({ key: '7' })).key).toBe('7')
  })

  it('W4 a null body, an empty one, and the byte that stands for one in a dead letter are three things', () => {
    expect(carried(outgoing({ body: null })).body).toBeNull()
    expect(carried(outgoing({ body: Buffer.alloc(0) })).body).toHaveLength(0)
    const dead = carried(outgoing({ body: Buffer.from([0]), transport: { 'ph-body': 'null' } }))
    expect([...(dead.body ?? [])]).toEqual([0])
    expect({ ...dead.transport }).toEqual({ 'ph-body': 'null' })
  })

  it('any bytes come back as they were', () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
    expect(Buffer.from(carried(outgoing({ body: bytes })).body ?? []).equals(bytes)).toBe(true)
  })

  it('W7 time has milliseconds, whatever the timestamp property can hold', () => {
    expect(carried(outgoing()).time).toBe(Date.UTC(2026, 10, 2, 10, 0, 0, 123))
  })

  it('W8 and W11 the trace of creation and the trace of this hop are two things', () => {
    const back = carried(outgoing({ attributes: { ...attributes, traceparent: 'created' }, transport: { traceparent: 'hop' } }))
    expect(back.attributes.traceparent).toBe('created')
    expect(back.transport?.traceparent).toBe('hop')
  })

  it('messages of one sender in a row share their attributes', () => {
    expect(carried(outgoing()).attributes).toBe(carried(outgoing({ id: 'other', key: null })).attributes)
    expect(carried(outgoing({ attributes: { source: '/other' } })).attributes).toEqual({ source: '/other' })
  })
})

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

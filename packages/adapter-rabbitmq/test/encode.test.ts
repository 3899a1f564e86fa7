import type { Outgoing, Received } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { decode } from '../src/decode.ts'
import { written } from './written.ts'

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

/** What was written, read back. */
function carried(message: Outgoing): Received {
  const content = decode(written(message).message, true)
  if ('undecodable' in content) throw new Error(content.undecodable)
  return content
}

const headersOf = (message: Outgoing): Readonly<Record<string, string>> =>
  written(message).properties.headers as Readonly<Record<string, string>>

describe('writing', () => {
  it('a message is a CloudEvent in headers, and fills the properties that AMQP has for it', () => {
    const { message, properties } = written(outgoing())
    expect(properties).toEqual({
      deliveryMode: 2,
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
    expect(message.content.toString()).toBe('{"orderId":17}')
  })

  it('R27 a copy is as persistent and as mandatory as its original', () => {
    for (const role of ['main', 'dead', 'retry', 'delay'] as const) {
      const { properties } = written(outgoing({ place: { topic: 'orders.placed', role, group: role === 'main' ? null : 'email' } }))
      expect(properties).toMatchObject({ deliveryMode: 2, mandatory: true })
    }
  })

  it('texts over 255 bytes travel in headers, where AMQP has short texts only', () => {
    const long = 'ä'.repeat(200)
    const back = carried(outgoing({ id: long, attributes: { ...attributes, type: long, datacontenttype: long } }))
    expect(written(outgoing({ id: long })).properties.messageId).toBeUndefined()
    expect(back.id).toBe(long)
    expect(back.attributes.type).toBe(long)
    expect(back.attributes.datacontenttype).toBe(long)
  })

  it('application headers that mean something to the server are put aside, and come back under their names', () => {
    const headers = { CC: 'a', BCC: 'b', 'x-death': 'c', 'x-delivery-count': '5', traceparent: 'mine', 'x-request-id': 'r' }
    const names = Object.keys(headersOf(outgoing({ headers, transport: null })))
    expect(names).not.toContain('CC')
    expect(names).not.toContain('x-death')
    expect(names).toContain('x-request-id')
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

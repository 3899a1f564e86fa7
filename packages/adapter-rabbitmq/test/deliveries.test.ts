import type { Outgoing, Received } from '@posthorn/core/adapter'
import type { Message } from 'amqplib'
import { describe, expect, it } from 'vitest'
import { decode } from '../src/decode.ts'
import { clientOn, delivery, type Handed } from './written.ts'

function outgoing(changes: Partial<Outgoing> = {}): Outgoing {
  return {
    id: 'id-1',
    key: 'ada',
    body: Buffer.from('{"orderId":17}'),
    time: 1_793_613_600_123,
    expiresAt: null,
    attributes: Object.freeze({ source: '/orders', type: 'order.created', datacontenttype: 'application/json' }),
    headers: null,
    transport: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
    place: { topic: 'orders.placed', role: 'main', group: null },
    partition: 1,
    delayMs: 0,
    slot: null,
    ...changes,
  }
}

/** What a message is, as plain data: who read it makes no difference. */
function plain(content: ReturnType<typeof decode>): unknown {
  if ('undecodable' in content) return { ...content, body: Buffer.from(content.body ?? []).toString('hex') }
  const { attributes, headers, transport, body } = content
  const texts = (all: Received['headers']): unknown => (all === null ? null : { ...all })
  return {
    ...content,
    body: body === null ? null : Buffer.from(body).toString('hex'),
    attributes: { ...attributes },
    headers: texts(headers),
    transport: texts(transport),
  }
}

const byTheClient = ({ tag, message }: Handed): unknown => ({ tag, content: plain(decode(message as Message, true)) })
const whoeverReadIt = (handed: Handed): unknown =>
  handed.content === undefined ? byTheClient(handed) : { tag: handed.tag, content: plain(handed.content) }

/** Bytes in pieces of these lengths, again and again. */
function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}

const ours: readonly [string, Partial<Outgoing>][] = [
  ['as usual', {}],
  ['the next of the same sender', { id: 'id-2', key: 'bob' }],
  ['of another type', { attributes: Object.freeze({ source: '/orders', type: 'order.paid', datacontenttype: 'application/json' }) }],
  [
    'with an attribute more',
    { attributes: Object.freeze({ source: '/orders', type: 'order.paid', subject: 's', datacontenttype: 'text/plain' }) },
  ],
  ['without a key', { key: null }],
  ['without a trace', { transport: null }],
  ['with headers', { headers: { tenant: 'nörth', constructor: 'c', CC: 'x', '7': 'seven' }, expiresAt: 1_900_000_000_000 }],
  ['with a trace of many parts', { transport: { traceparent: 'tp', tracestate: 'a=b', baggage: 'x=y', 'ph-attempt': '3' } }],
  ['with characters of all lengths', { id: 'ä-€-𝄞', key: '鍵', headers: { name: '𝄞'.repeat(50) } }],
  ['with the empty key', { key: '' }],
  ['with long texts', { key: 'k'.repeat(300), headers: { long: 'x'.repeat(5000) } }],
]
const theClients: readonly [string, Partial<Outgoing>][] = [
  ['with an empty body', { body: Buffer.alloc(0) }],
  ['with null', { body: null }],
  ['with a slot', { slot: 's' }],
  ['without a time', { time: null }],
  ['without attributes', { attributes: Object.freeze({}) }],
]

describe('deliveries', () => {
  it.each(ours)('a message of ours is read where it lies, and is what the client makes of it: %s', (_, changes) => {
    const bytes = delivery(1, 5, outgoing(changes))
    const [one] = clientOn([bytes], [1])
    expect(one?.content).toBeDefined()
    expect(whoeverReadIt(one as Handed)).toEqual(byTheClient(clientOn([bytes], [])[0] as Handed))
  })

  it.each(theClients)('what may mean something else is the client’s to read: %s', (_, changes) => {
    const bytes = delivery(1, 5, outgoing(changes))
    expect(clientOn([bytes], [1]).map(whoeverReadIt)).toEqual(clientOn([bytes], []).map(byTheClient))
  })

  it.each<[string, Record<string, unknown>]>([
    ['nothing at all', {}],
    ['no headers', { contentType: 'text/plain', messageId: 'm', type: 't', timestamp: 1_793_613_600 }],
    ['only an id', { headers: { cloudEvents_id: 'x' } }],
    ['an id, and a time of AMQP', { headers: { cloudEvents_id: 'x' }, timestamp: 1_793_613_600 }],
    ['another version', { headers: { cloudEvents_specversion: '0.3', cloudEvents_id: 'x' } }],
    ['another spelling', { headers: { 'ce-id': '1', ce_source: '/s', 'cloudEvents:type': 't' } }],
    ['both spellings', { headers: { cloudEvents_source: '/s', 'ce-source': '/t', cloudEvents_id: 'x' } }],
    ['an attribute behind the id', { headers: { cloudEvents_id: 'x', cloudEvents_source: '/s' } }],
    ['the type in AMQP alone', { type: 't', headers: { cloudEvents_source: '/s', cloudEvents_id: 'x' } }],
    ['a time that is none', { headers: { cloudEvents_id: 'x', cloudEvents_time: 'noon' } }],
    ['an end that is none', { headers: { cloudEvents_id: 'x', cloudEvents_expirytime: 'never' } }],
    ['a count of deliveries', { headers: { cloudEvents_id: 'x', 'x-delivery-count': 3 } }],
    ['what the server wrote', { headers: { cloudEvents_id: 'x', 'x-first-death-queue': 'q' } }],
    ['headers of other types', { headers: { cloudEvents_id: 'x', n: 1, list: ['a', 2], table: { a: 1 }, none: null, yes: true } }],
    ['bytes that are no text', { headers: { cloudEvents_id: 'x', bad: Buffer.from([0xff]) } }],
    ['a content type twice', { contentType: 'a/b', headers: { cloudEvents_datacontenttype: 'c/d', cloudEvents_id: 'x' } }],
    ['properties that we never write', { correlationId: 'c', replyTo: 'r', priority: 3, headers: { cloudEvents_id: 'x' } }],
    ['an address in its headers', { headers: { cloudEvents_id: 'x', 'ph-slot': 's', 'ph-body': 'null' } }],
    ['an aside name', { headers: { cloudEvents_id: 'x', 'ph-header-CC': 'y' } }],
  ])("another client's message is what it was: %s", (_, properties) => {
    // Before and behind one of ours: what is remembered of a neighbour is not taken for its own.
    const bytes = Buffer.concat([
      delivery(1, 1, outgoing()),
      delivery(1, 2, { properties, body: Buffer.from('x') }),
      delivery(1, 3, outgoing()),
    ])
    const handed = clientOn([bytes], [1])
    expect(handed.map(({ content }) => content !== undefined).filter(Boolean).length).toBeGreaterThanOrEqual(2)
    expect(handed.map(whoeverReadIt)).toEqual(clientOn([bytes], []).map(byTheClient))
  })

  it('what comes again is the client’s to read: its headers may say how often', () => {
    const properties = { headers: { cloudEvents_id: 'x' } }
    const bytes = [false, true].map((redelivered, n) => delivery(1, n + 1, { properties, body: Buffer.from('x'), redelivered }))
    expect(clientOn(bytes, [1]).map(({ content }) => content !== undefined)).toEqual([true, false])
  })

  it('a routing key that is no partition is the client’s to look at, and is the key only where there is none', () => {
    const bytes = Buffer.concat([delivery(1, 1, outgoing({ key: null }), 'customer-7'), delivery(1, 2, outgoing(), 'customer-7')])
    const handed = clientOn([bytes], [1])
    expect(handed.map(whoeverReadIt)).toEqual(clientOn([bytes], []).map(byTheClient))
    expect(handed.map(({ content }) => content?.key)).toEqual([undefined, 'ada'])
  })

  it.each([[[1]], [[7, 3]], [[64]], [[400, 11]], [[65_536]]])(
    'however the socket cuts them, in pieces of %j, all come once and in order',
    (lengths) => {
      const bytes = Buffer.concat(
        Array.from({ length: 60 }, (_, n) => {
          const all = [...ours, ...theClients]
          return delivery((n % 3) + 1, n + 1, outgoing(all[n % all.length]?.[1]))
        }),
      )
      const expected = clientOn([bytes], []).map(byTheClient)
      expect(clientOn(cut(bytes, lengths), [1, 3]).map(whoeverReadIt)).toEqual(expected)
      expect(expected).toHaveLength(60)
    },
  )

  it('a body of several frames, or with frames of other channels between, is put together by the client', () => {
    const large = outgoing({ body: Buffer.alloc(9000, 'x') })
    const [method, rest] = delivery(1, 1, outgoing(), '1', 'apart')
    const bytes = Buffer.concat([
      delivery(1, 1, large, '1', 4096),
      method as Buffer,
      delivery(2, 1, outgoing({ id: 'between' })),
      rest as Buffer,
      delivery(1, 3, outgoing()),
    ])
    for (const pieces of [[bytes], cut(bytes, [13])]) {
      const handed = clientOn(pieces, [1, 2])
      expect(handed.map(whoeverReadIt)).toEqual(clientOn([bytes], []).map(byTheClient))
      expect(handed).toHaveLength(4)
    }
  })

  it('a length that no frame can have is not waited for', () => {
    for (const at of [3, delivery(1, 1, outgoing(), '1', 'apart')[0].length + 3]) {
      const spoilt = Buffer.from(delivery(1, 1, outgoing()))
      spoilt.writeUInt32BE(0x7fffffff, at)
      expect(() => clientOn([spoilt], [1])).toThrow(/exceeds/i)
    }
  })

  it('what cannot be a frame ends the connection, as the client says', () => {
    const spoilt = Buffer.from(delivery(1, 1, outgoing()))
    spoilt[spoilt.length - 1] = 0
    expect(() => clientOn([spoilt], [1])).toThrow(/invalid frame/i)
  })

  it('a sign of life is counted by the client, whoever read it', () => {
    expect(clientOn([delivery(1, 1, outgoing())], [1]).alive).toBe(true)
  })
})

import type { Outgoing } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { writeFrames } from '../src/frames.ts'
import { byClient, framesIn, piecesOf, written } from './written.ts'

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

describe('frames', () => {
  it.each<[string, Partial<Outgoing>]>([
    ['as usual', {}],
    ['without anything', { key: null, body: null, time: null, transport: null, attributes: Object.freeze({}) }],
    [
      'with every header there is',
      { headers: { tenant: 'nörth', CC: 'x' }, slot: 's', expiresAt: 1_900_000_000_000, transport: { 'ph-due': '1' } },
    ],
    ['with characters of all lengths', { id: 'ä-€-𝄞', key: '鍵', headers: { name: '𝄞'.repeat(50) } }],
    ['before 1970', { time: -5000 }],
    ['with a long body', { body: Buffer.alloc(100_000, 'x') }],
  ])('are byte by byte what the client itself writes: %s', (_, changes) => {
    const message = outgoing(changes)
    const { properties } = written(message)
    expect(Buffer.concat(piecesOf([message])).equals(byClient(message, properties))).toBe(true)
  })

  it('many messages leave in one piece, as many pieces as it takes, each of whole messages', () => {
    expect(piecesOf(Array.from({ length: 50 }, () => outgoing()))).toHaveLength(1)
    const pieces = piecesOf(Array.from({ length: 500 }, (_, n) => outgoing({ id: `id-${n}`, body: Buffer.alloc((n % 7) * 30_000, 'x') })))
    expect(pieces.length).toBeLessThan(450)
    expect(pieces.flatMap((piece) => framesIn(piece, 131_072)).filter(({ size }) => size !== undefined)).toHaveLength(500)
  })

  it('a piece that left is never written to again', () => {
    const pieces: Buffer[] = []
    const frames = writeFrames(1, 131_072, (bytes) => pieces.push(bytes))
    frames.add('e', '1', outgoing())
    frames.flush()
    const before = Buffer.from(pieces[0] as Buffer)
    for (let n = 0; n < 1000; n++) {
      frames.add('e', '1', outgoing({ id: `id-${n}`, body: Buffer.alloc(n, 'y') }))
      frames.flush()
    }
    expect((pieces[0] as Buffer).equals(before)).toBe(true)
    expect(pieces.every((piece) => framesIn(piece, 131_072).length >= 2)).toBe(true)
  })

  it('a body larger than a frame is cut into frames, and comes back whole', () => {
    const body = Buffer.from(Array.from({ length: 20_000 }, (_, n) => n % 251))
    const frames = framesIn(Buffer.concat(piecesOf([outgoing({ body })], 4096)), 4096)
    expect(Buffer.concat(frames.flatMap(({ content }) => (content === undefined ? [] : [content]))).equals(body)).toBe(true)
    expect(frames.filter(({ content }) => content !== undefined)).toHaveLength(5)
  })

  it.each<[string, Partial<Outgoing>]>([
    ['headers over 64 KiB', { key: 'k'.repeat(70_000) }],
    ['a header name over 255 bytes', { headers: { ['n'.repeat(256)]: 'x' } }],
  ])('%s are refused, and their neighbours leave untouched', (_, changes) => {
    const pieces: Buffer[] = []
    const frames = writeFrames(7, 131_072, (bytes) => pieces.push(bytes))
    frames.add('orders.placed', '1', outgoing())
    expect(() => frames.add('orders.placed', '1', outgoing(changes))).toThrow(RangeError)
    frames.add('orders.placed', '1', outgoing())
    frames.flush()
    expect(Buffer.concat(pieces).equals(Buffer.concat(piecesOf([outgoing(), outgoing()])))).toBe(true)
  })
})

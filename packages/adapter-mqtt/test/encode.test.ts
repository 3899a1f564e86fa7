// What is written is read again, by us and by the client's own parser.

import { createServer, type Socket } from 'node:net'
import type { Content, Received } from '@posthorn/core/adapter'
import { connect, type IPublishPacket } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Bytes } from '../src/bytes.ts'
import { decode } from '../src/decode.ts'
import { topicBytes, writePlain, writePublish } from '../src/encode.ts'

// A server of a few lines: lets a client in, and sends it what it is told to, so that the client's own parser reads our bytes.
let server: ReturnType<typeof createServer>
let socket: Socket
const came: IPublishPacket[] = []
let client: ReturnType<typeof connect>

beforeAll(async () => {
  server = createServer((one) => {
    socket = one
    one.once('data', () => one.write(Buffer.from([0x20, 3, 0, 0, 0])))
    one.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  client = connect({
    host: '127.0.0.1',
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    protocolVersion: 5,
    reconnectPeriod: 0,
  })
  client.on('error', () => {})
  client.handleMessage = (packet, next) => {
    came.push(packet)
    next(new Error('held'))
  }
  await new Promise<void>((resolve) => client.once('connect', () => resolve()))
})
afterAll(async () => {
  client.end(true)
  socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})

async function through(bytes: Bytes): Promise<IPublishPacket> {
  const before = came.length
  socket.write(bytes.taken())
  for (let tries = 0; came.length === before && tries < 1000; tries++) await new Promise((resolve) => setImmediate(resolve))
  return came.at(-1) as IPublishPacket
}

const content = (over: Partial<Content> = {}): Content => ({
  id: 'id-1',
  key: null,
  body: Buffer.from('body'),
  time: null,
  expiresAt: null,
  attributes: Object.freeze({ source: '/test', type: 'tested', datacontenttype: 'application/json' }),
  headers: null,
  transport: null,
  ...over,
})

async function roundTrip(given: Content, retain = false): Promise<{ readonly packet: IPublishPacket; readonly read: Received }> {
  const bytes = new Bytes(64)
  writePublish(bytes, 5, topicBytes('orders/@0'), 7, given, retain)
  const packet = await through(bytes)
  const read = decode(packet)
  if ('undecodable' in read) throw new Error(read.undecodable)
  return { packet, read }
}

describe('a message', () => {
  it('keeps everything that it has', async () => {
    const given = content({
      key: 'ключ',
      time: 1_793_613_600_123,
      expiresAt: 1_793_613_700_000,
      headers: { 'x-note': 'größe', plain: '' },
      transport: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'ph-attempt': '3' },
      attributes: Object.freeze({ source: '/a b', type: 't', subject: '💥', datacontenttype: 'text/plain; charset=utf-8' }),
    })
    const { packet, read } = await roundTrip(given)
    expect({ ...read, body: Buffer.from(read.body ?? []) }).toEqual({ ...given, headers: expect.anything(), transport: expect.anything() })
    expect({ ...read.headers }).toEqual(given.headers)
    expect({ ...read.transport }).toEqual(given.transport)
    expect(packet).toMatchObject({
      topic: 'orders/@0',
      messageId: 7,
      qos: 1,
      retain: false,
      properties: { contentType: 'text/plain; charset=utf-8' },
    })
  })

  it('W1: may have headers that are named like attributes', async () => {
    const headers = { id: 'mine', type: 'mine', source: 'mine', time: 'mine', subject: 'mine', specversion: 'mine' }
    const { read } = await roundTrip(content({ headers }))
    expect(read.id).toBe('id-1')
    expect({ ...read.headers }).toEqual(headers)
    expect(read.attributes).toMatchObject({ type: 'tested', source: '/test' })
  })

  it('W4, W12: has a null body that is no empty one, also where an empty one would mean to delete', async () => {
    for (const retain of [false, true]) {
      expect((await roundTrip(content({ body: null }), retain)).read.body).toBeNull()
      const empty = await roundTrip(content({ body: new Uint8Array(0) }), retain)
      expect(empty.read.body).toHaveLength(0)
      expect(empty.packet.payload.length).toBe(retain ? 1 : 0)
    }
  })

  it('W8: keeps an attribute partitionkey that is the key, and an empty key', async () => {
    const attributes = Object.freeze({ source: '/test', type: 'tested', partitionkey: 'k' })
    expect((await roundTrip(content({ key: 'k', attributes }))).read.key).toBe('k')
    expect((await roundTrip(content({ key: '' }))).read.key).toBe('')
    expect((await roundTrip(content())).read.key).toBeNull()
  })

  it('W11: carries the trace of its creation beside that of its hop', async () => {
    const attributes = Object.freeze({ source: '/test', type: 'tested', traceparent: '00-1-2-01' })
    const { read } = await roundTrip(content({ attributes, transport: { traceparent: '00-3-4-01' } }))
    expect(read.attributes['traceparent']).toBe('00-1-2-01')
    expect(read.transport?.['traceparent']).toBe('00-3-4-01')
  })

  it('W10: may hold characters for which servers close connections: they travel escaped', async () => {
    const odd = 'a\tb\u0001\u009f\ufffe%41 ü'
    const attributes = Object.freeze({ source: odd, type: 't' })
    const { read, packet } = await roundTrip(content({ id: odd, key: odd, attributes, headers: { h: odd, plain: '%41' } }))
    expect(read).toMatchObject({ id: odd, key: odd, attributes: { source: odd } })
    expect({ ...read.headers }).toEqual({ h: odd, plain: '%41' })
    expect(JSON.stringify(packet.properties?.userProperties)).not.toMatch(/\\u00|\\t/)
  })

  it.each([0, 1, 100, 127, 128, 16_000, 16_500, 70_000, 2_200_000])('of %i bytes is read as it was', async (size) => {
    const body = Buffer.alloc(size, 'x')
    const { read } = await roundTrip(content({ body, headers: { long: 'y'.repeat(Math.min(size, 7000)) } }))
    expect(Buffer.compare(Buffer.from(read.body ?? []), body)).toBe(0)
  })

  it('that does not fit is refused before anything is sent', () => {
    const bytes = new Bytes(64)
    expect(() => writePublish(bytes, 5, topicBytes('t'), 1, content({ id: 'x'.repeat(70_000) }), false)).toThrow(RangeError)
  })
})

describe('a message of others', () => {
  const packet = (userProperties: Record<string, string | string[]> | undefined, over: Partial<IPublishPacket> = {}): IPublishPacket => ({
    cmd: 'publish',
    topic: 'orders',
    payload: Buffer.from('21.5'),
    qos: 1,
    dup: false,
    retain: false,
    ...(userProperties === undefined ? {} : { properties: { userProperties } }),
    ...over,
  })

  it('without anything is a message', () => {
    const read = decode(packet(undefined))
    expect(read).toMatchObject({ id: null, key: null, time: null, headers: null, transport: null })
    expect(Buffer.from((read as Received).body ?? []).toString()).toBe('21.5')
  })

  it('that is no event has headers, whatever they are named', () => {
    const read = decode(packet({ id: '7', unit: 'celsius', traceparent: 't' })) as Received
    expect(read.id).toBeNull()
    expect({ ...read.headers }).toEqual({ id: '7', unit: 'celsius' })
    expect({ ...read.transport }).toEqual({ traceparent: 't' })
  })

  it('W2: may say its content type twice', () => {
    const read = decode(
      packet(
        { specversion: '1.0', id: '1', datacontenttype: 'text/plain' },
        { properties: { contentType: 'application/json', userProperties: { specversion: '1.0', id: '1', datacontenttype: 'text/plain' } } },
      ),
    )
    expect((read as Received).attributes['datacontenttype']).toBe('application/json')
  })

  it('W3: has the last of a header that is repeated, and is unreadable with two ids', () => {
    expect({ ...(decode(packet({ h_a: ['1', '2'] })) as Received).headers }).toEqual({ a: '2' })
    expect((decode(packet({ specversion: '1.0', id: ['1', '1'] })) as Received).id).toBe('1')
    expect(decode(packet({ specversion: '1.0', id: ['1', '2'] }))).toMatchObject({ undecodable: expect.stringContaining('"id"') })
  })

  it('W9: of another version, or with names that mean something to JavaScript, harms nobody', () => {
    expect(decode(packet({ specversion: '0.3', id: '1' }))).toMatchObject({ undecodable: expect.stringContaining('0.3') })
    const strange = Object.create(null) as Record<string, string>
    Object.defineProperty(strange, '__proto__', { value: 'x', enumerable: true })
    strange['constructor'] = 'y'
    const read = decode(packet(strange)) as Received
    expect(Object.keys(read.headers ?? {})).toEqual(['__proto__', 'constructor'])
  })
})

describe('bytes alone', () => {
  it('are published with an end, kept or not, acknowledged or not', async () => {
    const bytes = new Bytes(16)
    writePlain(bytes, 5, topicBytes('posthorn/member/g/t/m'), 9, Buffer.from('{}'), { retain: true, expirySeconds: 70_000 })
    expect(await through(bytes)).toMatchObject({ retain: true, qos: 1, messageId: 9, properties: { messageExpiryInterval: 70_000 } })
  })
})

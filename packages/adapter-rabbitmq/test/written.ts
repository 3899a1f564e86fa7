// What the publisher writes, read by the client's own reader of frames.

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Duplex } from 'node:stream'
import type { Outgoing, Received } from '@posthorn/core/adapter'
import type { Message } from 'amqplib'
import { readDeliveries } from '../src/deliveries.ts'
import { writeFrames } from '../src/frames.ts'

const require = createRequire(import.meta.url)
// By path, because the client does not offer these files by name.
const inside = (file: string): unknown => require(join(dirname(require.resolve('amqplib')), 'lib', file))

interface Frame {
  readonly payload: Buffer
  readonly rest: Buffer
}
export interface Decoded {
  readonly channel: number
  readonly fields?: Readonly<Record<string, unknown>>
  readonly size?: number
  readonly content?: Buffer
}
const { parseFrame, decodeFrame, makeBodyFrame } = inside('frame.js') as {
  parseFrame(bytes: Buffer, most: number): Frame | false
  decodeFrame(frame: Frame): Decoded
  makeBodyFrame(channel: number, body: Buffer): Buffer
}
const defs = inside('defs.js') as {
  encodeMethod(id: number, channel: number, fields: unknown): Buffer
  encodeProperties(id: number, channel: number, size: number, fields: unknown): Buffer
  readonly BasicPublish: number
  readonly BasicDeliver: number
  readonly BasicProperties: number
}

/** All frames in these bytes; throws where the client would end the connection. */
export function framesIn(bytes: Buffer, most: number): readonly Decoded[] {
  const frames: Decoded[] = []
  for (let rest = bytes; rest.length > 0; ) {
    const frame = parseFrame(rest, most)
    if (frame === false) throw new Error('it ends in the middle of a frame')
    frames.push(decodeFrame(frame))
    rest = frame.rest
  }
  return frames
}

/** The bytes of these messages, in the pieces in which they leave. */
export function piecesOf(messages: readonly Outgoing[], frameMax = 131_072): readonly Buffer[] {
  const pieces: Buffer[] = []
  const frames = writeFrames(7, frameMax, (bytes) => pieces.push(bytes))
  for (const message of messages) frames.add('orders.placed', '1', message)
  frames.flush()
  return pieces
}

/** A message as the server would hand it over, and its properties without those that it does not have. */
export function written(message: Outgoing): { readonly message: Message; readonly properties: Readonly<Record<string, unknown>> } {
  const [method, header, ...bodies] = framesIn(Buffer.concat(piecesOf([message])), 131_072)
  const properties = Object.fromEntries(Object.entries(header?.fields ?? {}).filter(([, value]) => value !== undefined))
  const { exchange, routingKey } = (method?.fields ?? {}) as { exchange?: string; routingKey?: string }
  const delivered = {
    content: Buffer.concat(bodies.map(({ content }) => content ?? Buffer.alloc(0))),
    fields: { deliveryTag: 1, redelivered: false, exchange, routingKey, consumerTag: 'c' },
    properties,
  }
  return { message: delivered as unknown as Message, properties: { ...properties, mandatory: method?.fields?.mandatory } }
}

/** The same bytes from the client's own encoder. */
export function byClient(message: Outgoing, properties: Readonly<Record<string, unknown>>): Buffer {
  const { encodeMethod, encodeProperties, BasicPublish, BasicProperties } = defs
  const body = Buffer.from(message.body ?? [])
  const method = encodeMethod(BasicPublish, 7, { exchange: 'orders.placed', routingKey: '1', mandatory: true })
  const header = encodeProperties(BasicProperties, 7, body.length, properties)
  return Buffer.concat([method, header, ...(body.length === 0 ? [] : [makeBodyFrame(7, body)])])
}

/** One message that a consumer of the client was handed, or a reader beside it. */
export interface Handed {
  readonly tag: number
  readonly message?: Message
  readonly content?: Received
}

interface ClientChannel {
  allocate(): ClientChannel
  on(event: 'delivery', listener: (message: Message) => void): void
  accept(frame: Decoded): void
}
interface ClientConnection {
  frameMax: number
  channelMax: number
  rest: Buffer
  recvSinceLastCheck: boolean
  readonly stream: Duplex
  recvFrame(): Decoded | false
}

/** A message of any client. */
interface Foreign {
  readonly properties: object
  readonly body: Buffer
  readonly redelivered?: boolean
}

/** A delivery as the server writes it: of a message as we write it, or with these properties; in frames of so many bytes, or its method apart from the rest. */
export function delivery(channel: number, tag: number, message: Outgoing | Foreign, routingKey?: string, frameMax?: number): Buffer
export function delivery(channel: number, tag: number, message: Outgoing, routingKey: string, how: 'apart'): readonly [Buffer, Buffer]
export function delivery(
  channel: number,
  tag: number,
  message: Outgoing | Foreign,
  routingKey = '1',
  how: number | 'apart' = 131_072,
): Buffer | readonly [Buffer, Buffer] {
  const redelivered = 'redelivered' in message && message.redelivered === true
  const fields = { consumerTag: 'c', deliveryTag: tag, redelivered, exchange: 'orders.placed', routingKey }
  const method = defs.encodeMethod(defs.BasicDeliver, channel, fields)
  const rest = 'properties' in message ? contentOf(channel, message) : writtenContent(channel, message, how === 'apart' ? 131_072 : how)
  return how === 'apart' ? [method, rest] : Buffer.concat([method, rest])
}

function contentOf(channel: number, { properties, body }: Foreign): Buffer {
  return Buffer.concat([defs.encodeProperties(defs.BasicProperties, channel, body.length, properties), makeBodyFrame(channel, body)])
}

function writtenContent(channel: number, message: Outgoing, frameMax: number): Buffer {
  const pieces: Buffer[] = []
  const frames = writeFrames(channel, frameMax, (bytes) => pieces.push(bytes))
  frames.add('orders.placed', '1', message)
  frames.flush()
  const bytes = Buffer.concat(pieces)
  return bytes.subarray(8 + bytes.readUInt32BE(3))
}

/** What the client's own connection and its three channels hand over when these pieces come, those channels being read beside it. */
export function clientOn(pieces: readonly Buffer[], beside: readonly number[]): readonly Handed[] & { readonly alive: boolean } {
  const { Connection } = inside('connection.js') as { Connection: new (stream: Duplex) => ClientConnection }
  const { Channel } = inside('channel.js') as { Channel: new (connection: ClientConnection) => ClientChannel }
  const connection = new Connection(new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() }))
  connection.frameMax = 131_072
  connection.channelMax = 10
  const handed: Handed[] = []
  const channels = [1, 2, 3].map(() => new Channel(connection).allocate())
  for (const channel of channels) channel.on('delivery', (message) => handed.push({ tag: message.fields.deliveryTag, message }))
  const receive = (tag: number, content: Received): void => void handed.push({ tag, content })
  const start = readDeliveries(connection, new Map(beside.map((channel) => [channel, { keyed: true, receive }])))
  if (beside.length > 0) start()
  connection.recvSinceLastCheck = false
  for (const piece of pieces) {
    connection.stream.push(piece)
    for (let frame = connection.recvFrame(); frame !== false; frame = connection.recvFrame()) channels[frame.channel - 1]?.accept(frame)
  }
  return Object.assign(handed, { alive: connection.recvSinceLastCheck })
}

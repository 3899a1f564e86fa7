// What the publisher writes, read by the client's own reader of frames.

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Outgoing } from '@posthorn/core/adapter'
import type { Message } from 'amqplib'
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
const { parseFrame, decodeFrame } = inside('frame.js') as {
  parseFrame(bytes: Buffer, most: number): Frame | false
  decodeFrame(frame: Frame): Decoded
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
  const { encodeMethod, encodeProperties, BasicPublish, BasicProperties } = inside('defs.js') as {
    encodeMethod(id: number, channel: number, fields: unknown): Buffer
    encodeProperties(id: number, channel: number, size: number, fields: unknown): Buffer
    readonly BasicPublish: number
    readonly BasicProperties: number
  }
  const { makeBodyFrame } = inside('frame.js') as { makeBodyFrame(channel: number, body: Buffer): Buffer }
  const body = Buffer.from(message.body ?? [])
  const method = encodeMethod(BasicPublish, 7, { exchange: 'orders.placed', routingKey: '1', mandatory: true })
  const header = encodeProperties(BasicProperties, 7, body.length, properties)
  return Buffer.concat([method, header, ...(body.length === 0 ? [] : [makeBodyFrame(7, body)])])
}

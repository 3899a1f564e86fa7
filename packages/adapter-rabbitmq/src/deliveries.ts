// Deliveries read from the client's socket where they lie, as `frames.ts` writes publishes: of each message the client makes three
// frames, nine texts and as many objects, and of what it made we made another message. Whatever is not a delivery of ours in
// three frames, one behind the other, is the client's to read, frame by frame, as it always was.

import type { Received } from '@posthorn/core/adapter'
import type { Channel, ChannelModel } from 'amqplib'
import { type Parts, readMessage } from './read-message.ts'

/** What one connection hands over. */
export interface Deliveries {
  /** From now on, and as long as the channel lives, `receive` is given what was read here; the channel's consumer is given the rest, in the order in which it came. */
  receive(channel: Channel, keyed: boolean, receive: (tag: number, content: Received) => void): void
}

const frame = { method: 1, header: 2, body: 3, end: 0xce } as const
/** Class and method of `basic.deliver`, and the class of the header that follows. */
const deliver = (60 << 16) | 60
const basic = 60
/** Type, channel and length before what a frame carries. */
const headBytes = 7
const around = 8
/** A header frame up to its properties: class, weight, and the length of the body. */
const headerBytes = 12

/** What is used of the client beside its declared interface, and is the same in all versions that can be installed beside us. */
interface Inside {
  readonly frameMax: number
  /** Came from the socket, and is not read yet. */
  rest: Buffer
  /** For the client's heartbeat. */
  recvSinceLastCheck: boolean
  readonly stream: { read(): Buffer | null }
  /** The next frame; false: there is no whole one. */
  recvFrame(): unknown
}

interface Receiver {
  readonly keyed: boolean
  readonly receive: (tag: number, content: Received) => void
}

/** Reads the deliveries of a connection that the client opened. */
export function deliveriesOf(model: ChannelModel): Deliveries {
  const { connection } = model as unknown as { readonly connection: Inside }
  const receivers = new Map<number, Receiver>()
  const read = readDeliveries(connection, receivers)
  return {
    receive(channel, keyed, receive) {
      const { ch } = channel as unknown as { readonly ch: number }
      const receiver = { keyed, receive }
      receivers.set(ch, receiver)
      // Its number is given to another channel.
      channel.once('close', () => {
        if (receivers.get(ch) === receiver) receivers.delete(ch)
      })
      read()
    },
  }
}

/** Not whole yet: more has to come. */
const incomplete = -1
/** The client's to read. */
const others = -2

/** Made to read, by number of the channel, when the function that it returns is called for the first time. */
export function readDeliveries(connection: Inside, receivers: ReadonlyMap<number, Receiver>): () => void {
  const parts: Parts = { properties: 0, propertiesEnd: 0, routingKey: 0, routingKeyEnd: 0, body: 0, bodyEnd: 0 }
  let reading = false

  /** Where the delivery that begins here ends, once it was handed over. */
  function next(bytes: Buffer, from: number): number {
    const { length } = bytes
    if (from + headBytes + 4 > length || bytes[from] !== frame.method || bytes.readUInt32BE(from + headBytes) !== deliver) return others
    const channel = bytes.readUInt16BE(from + 1)
    const receiver = receivers.get(channel)
    if (receiver === undefined) return others
    const most = connection.frameMax - around
    const header = from + around + bytes.readUInt32BE(from + 3)
    // What is longer than a frame may be is nothing to wait for.
    if (header > from + around + most) return others
    if (header + headBytes + headerBytes > length) return incomplete
    if (!isFrame(bytes, header, frame.header, channel) || bytes.readUInt16BE(header + headBytes) !== basic) return others
    const size = bytes.readUInt32BE(header + headBytes + 8)
    if (bytes.readUInt32BE(header + headBytes + 4) !== 0 || size === 0 || size > most) return others
    const body = header + around + bytes.readUInt32BE(header + 3)
    if (body > header + around + most) return others
    const end = body + around + size
    // However it is cut into frames, so much has to come.
    if (end > length) return incomplete
    if (!isFrame(bytes, body, frame.body, channel) || bytes.readUInt32BE(body + 3) !== size || bytes[end - 1] !== frame.end) return others

    // consumer tag, delivery tag, redelivered, exchange, routing key
    const tagAt = from + headBytes + 5 + (bytes[from + headBytes + 4] as number)
    const exchange = tagAt + 9
    // It comes again, and its headers may say how often.
    if ((bytes[exchange - 1] as number) !== 0) return others
    parts.routingKey = exchange + 2 + (bytes[exchange] as number)
    parts.routingKeyEnd = parts.routingKey + (bytes[parts.routingKey - 1] as number)
    if (parts.routingKeyEnd !== header - 1) return others
    parts.properties = header + headBytes + headerBytes
    parts.propertiesEnd = body - 1
    parts.body = body + headBytes
    parts.bodyEnd = end - 1
    const content = contentOf(bytes, receiver.keyed)
    if (content === null) return others
    receiver.receive(bytes.readUInt32BE(tagAt) * 2 ** 32 + bytes.readUInt32BE(tagAt + 4), content)
    return end
  }

  function contentOf(bytes: Buffer, keyed: boolean): Received | null {
    try {
      return readMessage(bytes, parts, keyed)
    } catch {
      // The client says what is wrong with it.
      return null
    }
  }

  function start(): void {
    const byClient = connection.recvFrame
    connection.recvFrame = () => {
      for (let at = 0; ; ) {
        const end = next(connection.rest, at)
        if (end > 0) {
          at = end
          continue
        }
        if (at > 0) connection.rest = connection.rest.subarray(at)
        at = 0
        const { rest } = connection
        if (end === others && rest.length > 0) return byClient.call(connection)
        const incoming = connection.stream.read()
        if (incoming === null) return false
        connection.recvSinceLastCheck = true
        connection.rest = rest.length === 0 ? incoming : Buffer.concat([rest, incoming])
      }
    }
  }

  return () => {
    if (!reading) start()
    reading = true
  }
}

/** Is this a frame of that kind and channel, and does the one before it end as frames do? */
function isFrame(bytes: Buffer, at: number, type: number, channel: number): boolean {
  return bytes[at] === type && bytes.readUInt16BE(at + 1) === channel && bytes[at - 1] === frame.end
}

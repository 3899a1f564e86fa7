// Publishes as the frames of AMQP 0-9-1, many in one piece for the socket. The client's own `publish` makes the same bytes
// (a test compares them), and takes five buffers, an object of its own kind and a turn through three streams for each message:
// that was two thirds of what sending one cost.

import type { Outgoing } from '@posthorn/core/adapter'
import type { ConfirmChannel } from 'amqplib'
import { Bytes } from './bytes.ts'
import { mostPropertyBytes, writeProperties } from './encode.ts'

/** Writes the publishes of one channel. */
export interface FrameWriter {
  /**
   * Adds a message: mandatory and persistent. A piece that is full leaves by itself.
   *
   * @throws RangeError for what does not fit into a frame or a name; nothing of the message is written then
   */
  add(exchange: string, routingKey: string, message: Outgoing): void
  /** Everything added leaves now. */
  flush(): void
}

const frame = { method: 1, header: 2, body: 3, end: 0xce } as const
const basic = 60
const publish = 40
const mandatory = 1
/** Around the payload of a frame: type, channel and length before, a mark behind. */
const around = 8
/** The fixed part of a publish and of the header of its content. */
const fixedBytes = 64
const noBody = new Uint8Array(0)

/** What is used of the client beside its declared interface, and is the same in all versions that can be installed beside us. */
interface Inside {
  readonly ch: number
  readonly connection: { readonly frameMax: number; sendBytes(bytes: Buffer): void }
}

/** The frames of a channel of the client, on the client's socket. */
export function framesOf(channel: ConfirmChannel): FrameWriter {
  const { ch, connection } = channel as unknown as Inside
  return writeFrames(ch, connection.frameMax, (bytes) => connection.sendBytes(bytes))
}

/** The frames of channel number `channel`; `write` is given each piece, which is not changed afterwards. */
export function writeFrames(channel: number, frameMax: number, write: (bytes: Buffer) => void): FrameWriter {
  const bytes = new Bytes()
  const bodyBytes = frameMax - around

  function begin(type: number): number {
    bytes.octet(type)
    bytes.short(channel)
    bytes.long(0)
    return bytes.at
  }

  function end(payload: number): void {
    const length = bytes.at - payload
    if (length > bodyBytes) throw new RangeError(`${length} bytes in a frame, ${bodyBytes} are possible`)
    bytes.setLong(payload - 4, length)
    bytes.octet(frame.end)
  }

  function writeMethod(exchange: string, routingKey: string): void {
    const payload = begin(frame.method)
    bytes.short(basic)
    bytes.short(publish)
    bytes.short(0)
    bytes.shortText(exchange)
    bytes.shortText(routingKey)
    bytes.octet(mandatory)
    end(payload)
  }

  function writeHeader(message: Outgoing, length: number): void {
    const payload = begin(frame.header)
    bytes.short(basic)
    bytes.short(0)
    bytes.longLong(length)
    writeProperties(bytes, message)
    end(payload)
  }

  function writeBody(body: Uint8Array): void {
    for (let at = 0; at < body.length; at += bodyBytes) {
      const payload = begin(frame.body)
      bytes.raw(body.length <= bodyBytes ? body : body.subarray(at, at + bodyBytes))
      end(payload)
    }
  }

  function flush(): void {
    if (bytes.pending > 0) write(bytes.take())
  }

  return {
    add(exchange, routingKey, message) {
      const body = message.body ?? noBody
      const frames = Math.ceil(body.length / bodyBytes)
      const most = fixedBytes + 3 * (exchange.length + routingKey.length) + mostPropertyBytes(message) + body.length + frames * around
      if (!bytes.fits(most)) {
        flush()
        bytes.renew(most)
      }
      const { at } = bytes
      try {
        writeMethod(exchange, routingKey)
        writeHeader(message, body.length)
      } catch (error) {
        bytes.at = at
        throw error
      }
      writeBody(body)
    },
    flush,
  }
}

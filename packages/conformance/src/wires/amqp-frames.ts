// Where the frames of AMQP 0-9-1 end, and how to make the only one that the proxy writes itself.

/** First bytes of frames. */
export const frameTypes = { method: 1, header: 2, body: 3, heartbeat: 8 } as const

/** A frame, and where in it the payload is. */
export interface AmqpFrame {
  readonly bytes: Uint8Array
  /** 0: the greeting that opens a connection, or bytes that are no AMQP. */
  readonly type: number
  readonly channel: number
  readonly payload: DataView
}

const envelope = 8
const frameEnd = 0xce
const greetingLength = 8
/** Larger frames are none that anyone agreed on. */
const mostBytes = 256 * 1024 * 1024

const viewOf = (bytes: Uint8Array, from: number, length: number): DataView => new DataView(bytes.buffer, bytes.byteOffset + from, length)

/** Finds the frames in what arrives. */
export class AmqpScanner {
  #greeted: boolean
  #rest: Uint8Array[] = []
  #length = 0
  #needed = 0
  #broken = false

  /** `greeting`: the stream begins with the client's protocol header. */
  constructor(greeting: boolean) {
    this.#greeted = !greeting
  }

  /** The frames that are complete now. Bytes that are no AMQP come out at once, with type 0, and so does all that follows. */
  add(chunk: Uint8Array): readonly AmqpFrame[] {
    if (this.#broken) return [raw(chunk)]
    this.#rest.push(chunk)
    this.#length += chunk.length
    if (this.#length < this.#needed) return []
    const buffer = this.#rest.length === 1 ? chunk : Buffer.concat(this.#rest)
    const frames: AmqpFrame[] = []
    let at = 0
    while (!this.#broken) {
      const length = this.#next(buffer, at)
      if (at + length > buffer.length) {
        this.#needed = length
        break
      }
      frames.push(this.#frame(buffer.subarray(at, at + length)))
      at += length
    }
    const left = buffer.subarray(at)
    if (this.#broken && left.length > 0) frames.push(raw(left))
    this.#rest = left.length === 0 || this.#broken ? [] : [left]
    this.#length = this.#broken ? 0 : left.length
    return frames
  }

  /** How long the next frame is, as far as can be told: at least. */
  #next(buffer: Uint8Array, at: number): number {
    if (!this.#greeted) return greetingLength
    if (buffer.length - at < 7) return 7
    const size = viewOf(buffer, at, 7).getUint32(3)
    const type = buffer[at] as number
    const known = type === frameTypes.method || type === frameTypes.header || type === frameTypes.body || type === frameTypes.heartbeat
    const length = size + envelope
    const ends = buffer.length - at < length || buffer[at + length - 1] === frameEnd
    if (!known || size > mostBytes || !ends) {
      this.#broken = true
      return Number.POSITIVE_INFINITY
    }
    return length
  }

  #frame(bytes: Uint8Array): AmqpFrame {
    if (!this.#greeted) {
      this.#greeted = true
      return { bytes, type: 0, channel: 0, payload: viewOf(bytes, 0, 0) }
    }
    const head = viewOf(bytes, 0, 7)
    return { bytes, type: head.getUint8(0), channel: head.getUint16(1), payload: viewOf(bytes, 7, head.getUint32(3)) }
  }
}

const raw = (bytes: Uint8Array): AmqpFrame => ({ bytes, type: 0, channel: -1, payload: viewOf(bytes, 0, 0) })

/** A confirmation (`basic.ack` or `basic.nack`) of one message. */
export function confirmation(channel: number, method: number, tag: bigint): Uint8Array {
  const bytes = new Uint8Array(envelope + 13)
  const view = viewOf(bytes, 0, bytes.length)
  view.setUint8(0, frameTypes.method)
  view.setUint16(1, channel)
  view.setUint32(3, 13)
  view.setUint16(7, 60)
  view.setUint16(9, method)
  view.setBigUint64(11, tag)
  view.setUint8(bytes.length - 1, frameEnd)
  return bytes
}

/** The byte with the flags of a method: it comes after its short strings. */
export function flagsAfter(payload: DataView, from: number, shortStrings: number): number {
  let at = from
  for (let n = 0; n < shortStrings && at < payload.byteLength; n++) at += 1 + payload.getUint8(at)
  return at < payload.byteLength ? payload.getUint8(at) : 0
}

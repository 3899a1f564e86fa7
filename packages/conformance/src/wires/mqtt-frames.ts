// Where the packets of MQTT end, and the few fields of them that say what they ask for.

/** Kinds of packets. */
export const kinds = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
} as const

/** One packet, and where in it the variable part begins. */
export interface MqttPacket {
  readonly bytes: Uint8Array
  /** 0: bytes that are no MQTT. */
  readonly kind: number
  readonly flags: number
  readonly from: number
}

/** Larger packets are none that anyone agreed on. */
const mostBytes = 256 * 1024 * 1024

/** Finds the packets in what arrives. */
export class MqttScanner {
  #rest: Uint8Array[] = []
  #length = 0
  #needed = 0
  #broken = false

  /** The packets that are complete now. Bytes that are no MQTT come out at once, with kind 0, and so does all that follows. */
  add(chunk: Uint8Array): readonly MqttPacket[] {
    if (this.#broken) return [{ bytes: chunk, kind: 0, flags: 0, from: 0 }]
    this.#rest.push(chunk)
    this.#length += chunk.length
    if (this.#length < this.#needed) return []
    const buffer = this.#rest.length === 1 ? chunk : Buffer.concat(this.#rest)
    const packets: MqttPacket[] = []
    let at = 0
    while (at < buffer.length) {
      const head = lengthAt(buffer, at + 1)
      if (head === null) {
        this.#needed = buffer.length - at + 1
        break
      }
      const whole = head.at - at + head.value
      if (head.value > mostBytes || buffer[at] === 0) {
        this.#broken = true
        packets.push({ bytes: buffer.subarray(at), kind: 0, flags: 0, from: 0 })
        at = buffer.length
        break
      }
      if (at + whole > buffer.length) {
        this.#needed = whole
        break
      }
      const first = buffer[at] as number
      packets.push({ bytes: buffer.subarray(at, at + whole), kind: first >> 4, flags: first & 15, from: head.at - at })
      at += whole
    }
    const left = buffer.subarray(at)
    this.#rest = left.length === 0 ? [] : [left]
    this.#length = left.length
    if (left.length === 0) this.#needed = 0
    return packets
  }
}

/** A length in one to four bytes, and where it ends; null: it is not all there. */
export function lengthAt(bytes: Uint8Array, from: number): { readonly value: number; readonly at: number } | null {
  let value = 0
  for (let nth = 0; nth < 4; nth++) {
    const byte = bytes[from + nth]
    if (byte === undefined) return null
    value += (byte & 127) * 128 ** nth
    if (byte < 128) return { value, at: from + nth + 1 }
  }
  return { value: Number.POSITIVE_INFINITY, at: from + 4 }
}

const shortAt = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
const textAt = (bytes: Uint8Array, at: number): string => Buffer.from(bytes.subarray(at + 2, at + 2 + shortAt(bytes, at))).toString()

/** The version of the protocol that a CONNECT asks for. */
export const versionOf = ({ bytes, from }: MqttPacket): number => bytes[from + 2 + shortAt(bytes, from)] ?? 4

/** The packet id that an acknowledgement, a subscription or its answer begins with. */
export const idOf = ({ bytes, from }: MqttPacket): number => shortAt(bytes, from)

/** The first filter of a subscription. */
export function filterOf({ bytes, from }: MqttPacket, version: number): string {
  const at = from + 2
  if (version < 5) return textAt(bytes, at)
  const properties = lengthAt(bytes, at)
  return properties === null ? '' : textAt(bytes, properties.at + properties.value)
}

/** What a PUBLISH says: its topic, its packet id (0 where it is not acknowledged), its payload. */
export function publishOf(
  { bytes, flags, from }: MqttPacket,
  version: number,
): { readonly topic: string; readonly id: number; readonly payload: Uint8Array } {
  const topic = textAt(bytes, from)
  let at = from + 2 + shortAt(bytes, from)
  const id = (flags & 6) === 0 ? 0 : shortAt(bytes, at)
  if (id !== 0) at += 2
  if (version >= 5) {
    const properties = lengthAt(bytes, at)
    at = properties === null ? bytes.length : properties.at + properties.value
  }
  return { topic, id, payload: bytes.subarray(at) }
}

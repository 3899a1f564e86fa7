// A buffer that grows, written from the front, in the types of MQTT.

/** See the file. What was written is `taken()` when it is complete. */
export class Bytes {
  buffer: Buffer
  at = 0

  constructor(size: number) {
    this.buffer = Buffer.allocUnsafeSlow(size)
  }

  /** Makes room for so many more bytes. */
  room(bytes: number): void {
    const needed = this.at + bytes
    if (needed <= this.buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2))
    this.buffer.copy(larger, 0, 0, this.at)
    this.buffer = larger
  }

  octet(value: number): void {
    this.buffer[this.at++] = value
  }

  short(value: number): void {
    this.buffer[this.at++] = value >> 8
    this.buffer[this.at++] = value & 255
  }

  /** A length in one to four bytes. */
  length(value: number): void {
    let rest = value
    while (rest > 127) {
      this.buffer[this.at++] = (rest & 127) | 128
      rest >>>= 7
    }
    this.buffer[this.at++] = rest
  }

  /** A text with its length before it. Makes its own room. */
  text(value: string): void {
    this.room(value.length * 3 + 2)
    const bytes = this.buffer.write(value, this.at + 2, 'utf8')
    if (bytes > 65_535) throw new RangeError(`a text of ${bytes} bytes, at most 65535 are possible`)
    this.short(bytes)
    this.at += bytes
  }

  raw(bytes: Uint8Array): void {
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  /** What was written since the last call. The buffer goes with it. */
  taken(): Buffer {
    const done = this.buffer.subarray(0, this.at)
    this.buffer = Buffer.allocUnsafeSlow(Math.min(this.buffer.length, 262_144))
    this.at = 0
    return done
  }
}

/** Bytes that a length takes. */
export const lengthBytes = (value: number): number => (value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4)

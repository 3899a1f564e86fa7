// Bytes that are written one after the other, as AMQP has its numbers and texts.

/** As much as a socket takes at once; what is larger has a buffer of its own. */
const pieceBytes = 64 * 1024

/** A buffer that is filled from the front. Whoever writes looks for room before: what is written is not checked one by one. */
export class Bytes {
  buffer: Buffer = Buffer.alloc(0)
  /** Where the next byte goes. */
  at = 0
  /** What is before this is out of our hands. */
  #taken = 0

  /** Is there room for so many bytes more? */
  fits(count: number): boolean {
    return this.buffer.length - this.at >= count
  }

  /** Goes on in a new buffer with room for so many bytes. What was written has to be taken before. */
  renew(count: number): void {
    this.buffer = Buffer.allocUnsafeSlow(Math.max(pieceBytes, count))
    this.at = 0
    this.#taken = 0
  }

  /** Written since the last `take`. */
  get pending(): number {
    return this.at - this.#taken
  }

  /** What was written since the last time. It is never written to again. */
  take(): Buffer {
    const taken = this.buffer.subarray(this.#taken, this.at)
    this.#taken = this.at
    return taken
  }

  octet(value: number): void {
    this.buffer[this.at++] = value
  }

  short(value: number): void {
    const { buffer, at } = this
    buffer[at] = value >>> 8
    buffer[at + 1] = value
    this.at = at + 2
  }

  long(value: number): void {
    this.setLong(this.at, value)
    this.at += 4
  }

  longLong(value: number): void {
    this.long(Math.floor(value / 2 ** 32))
    this.long(value % 2 ** 32)
  }

  /** A number that is known only after what it counts was written. */
  setLong(at: number, value: number): void {
    const { buffer } = this
    buffer[at] = value >>> 24
    buffer[at + 1] = value >>> 16
    buffer[at + 2] = value >>> 8
    buffer[at + 3] = value
  }

  raw(bytes: Uint8Array): void {
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
  }

  /** A text behind its length in one byte. @throws RangeError over 255 bytes */
  shortText(text: string): void {
    const length = this.buffer.write(text, this.at + 1)
    if (length > 255) throw new RangeError(`a name of ${length} bytes, at most 255 are possible`)
    this.buffer[this.at] = length
    this.at += 1 + length
  }

  /** A text behind its length in four bytes. */
  longText(text: string): void {
    const length = this.buffer.write(text, this.at + 4)
    this.setLong(this.at, length)
    this.at += 4 + length
  }
}

/** At most so many bytes has a text in UTF-8. */
export const mostBytesOf = (text: string): number => 3 * text.length

// Bytes in the forms of Kafka's protocol: written into a buffer that grows, read out of one that came.

/** Writes one request. */
export class ByteWriter {
  buffer: Buffer
  at = 0

  constructor(size = 4096) {
    this.buffer = Buffer.allocUnsafe(size)
  }

  /** Room for so many more bytes. */
  need(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + bytes))
    this.buffer.copy(grown, 0, 0, this.at)
    this.buffer = grown
  }
  int8(value: number): void {
    this.need(1)
    this.at = this.buffer.writeInt8(value, this.at)
  }
  int16(value: number): void {
    this.need(2)
    this.at = this.buffer.writeInt16BE(value, this.at)
  }
  int32(value: number): void {
    this.need(4)
    this.at = this.buffer.writeInt32BE(value, this.at)
  }
  /** A whole number of up to 53 bits. */
  int64(value: number): void {
    this.need(8)
    const high = Math.floor(value / 0x1_0000_0000)
    this.buffer.writeInt32BE(high, this.at)
    this.at = this.buffer.writeUInt32BE(value - high * 0x1_0000_0000, this.at + 4)
  }
  /** A text with its length before it; null has the length -1. */
  string(text: string | null): void {
    if (text === null) return this.int16(-1)
    const length = Buffer.byteLength(text)
    this.int16(length)
    this.need(length)
    this.at += this.buffer.write(text, this.at)
  }
  /** A number from -2^31 to 2^31-1, small ones in few bytes. */
  varint(value: number): void {
    this.need(5)
    let rest = ((value << 1) ^ (value >> 31)) >>> 0
    while (rest > 0x7f) {
      this.buffer[this.at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.buffer[this.at++] = rest
  }
  /** A number from 0 to 2^31-1, small ones in few bytes. */
  unsigned(value: number): void {
    this.need(5)
    let rest = value
    while (rest > 0x7f) {
      this.buffer[this.at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.buffer[this.at++] = rest
  }
  /** A text of the newer form: before it is its length and one. */
  compact(text: string): void {
    const length = Buffer.byteLength(text)
    this.unsigned(length + 1)
    this.need(length)
    this.at += this.buffer.write(text, this.at)
  }
  raw(bytes: Uint8Array): void {
    this.need(bytes.length)
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
  }
  /** A text with a varint before it. */
  varText(text: string): void {
    // Mostly the length is known without looking: then one pass is enough.
    if (text.length < 42) {
      this.need(text.length * 3 + 1)
      const written = this.buffer.write(text, this.at + 1)
      if (written < 64) {
        this.buffer[this.at] = written << 1
        this.at += written + 1
        return
      }
    }
    const length = Buffer.byteLength(text)
    this.varint(length)
    this.need(length)
    this.at += this.buffer.write(text, this.at)
  }
  done(): Buffer {
    return this.buffer.subarray(0, this.at)
  }
}

/** Reads one answer. */
export class ByteReader {
  readonly buffer: Buffer
  at: number

  constructor(buffer: Buffer, at = 0) {
    this.buffer = buffer
    this.at = at
  }
  int8(): number {
    const value = this.buffer.readInt8(this.at)
    this.at += 1
    return value
  }
  int16(): number {
    const value = this.buffer.readInt16BE(this.at)
    this.at += 2
    return value
  }
  int32(): number {
    const value = this.buffer.readInt32BE(this.at)
    this.at += 4
    return value
  }
  /** A whole number; beyond 53 bits it is not exact. */
  int64(): number {
    const value = this.buffer.readInt32BE(this.at) * 0x1_0000_0000 + this.buffer.readUInt32BE(this.at + 4)
    this.at += 8
    return value
  }
  string(): string {
    const length = this.int16()
    if (length < 0) return ''
    const text = this.buffer.toString('utf8', this.at, this.at + length)
    this.at += length
    return text
  }
  varint(): number {
    let shift = 0
    let value = 0
    for (;;) {
      const byte = this.buffer[this.at++]
      if (byte === undefined || shift > 63) throw new RangeError('a number does not end')
      // Beyond 32 bits only times are written, and those are not read.
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) break
      shift += 7
    }
    return (value >>> 1) ^ -(value & 1)
  }
  /** What `unsigned` wrote. */
  unsigned(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.int8() & 0xff
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new RangeError('a number does not end')
  }
  /** A text of the newer form; none is ''. */
  compact(): string {
    const length = Math.max(0, this.unsigned() - 1)
    this.at += length
    return this.buffer.toString('utf8', this.at - length, this.at)
  }
  /** An id of 16 bytes, in hexadecimal digits. */
  uuid(): string {
    this.at += 16
    return this.buffer.toString('hex', this.at - 16, this.at)
  }
  /** Passes over what a newer server tells beside the fields that are known. */
  tags(): void {
    for (let left = this.unsigned(); left > 0; left--) {
      this.unsigned()
      const length = this.unsigned()
      this.at += length
    }
  }
}

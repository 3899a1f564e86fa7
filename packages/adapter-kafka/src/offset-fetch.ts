// Where a group is, asked in version 7: kafkajs has no version that waits for open transactions, and without that a position is read
// that a transaction, confirmed a moment ago, is just about to move.

import { ByteReader, ByteWriter } from './bytes.ts'

/** Lengths of this form are one larger, and written in few bytes. */
function unsigned(writer: ByteWriter, value: number): void {
  let rest = value
  while (rest > 0x7f) {
    writer.int8((rest & 0x7f) - 128)
    rest >>>= 7
  }
  writer.int8(rest)
}
function text(writer: ByteWriter, value: string): void {
  const bytes = Buffer.from(value)
  unsigned(writer, bytes.length + 1)
  writer.raw(bytes)
}

/** The body of the request, the end of its head before it. */
export function offsetFetchBody(groupId: string, topic: string, partitions: number): Buffer {
  const writer = new ByteWriter(256 + 4 * partitions)
  writer.int8(0)
  text(writer, groupId)
  unsigned(writer, 2)
  text(writer, topic)
  unsigned(writer, partitions + 1)
  for (let partition = 0; partition < partitions; partition++) writer.int32(partition)
  writer.int8(0)
  // Only what no open transaction is about to change.
  writer.int8(1)
  writer.int8(0)
  return writer.done()
}

/** What one partition answered; below 0 there is no position. */
export interface FetchedOffset {
  readonly partition: number
  readonly offset: number
  readonly metadata: string
  readonly errorCode: number
}

/** Reads the answer. */
export function readOffsets(payload: Buffer): { readonly errorCode: number; readonly offsets: readonly FetchedOffset[] } {
  const reader = new ByteReader(payload)
  const length = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = reader.int8() & 0xff
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const string = (): string => {
    const size = length() - 1
    if (size <= 0) return ''
    reader.at += size
    return reader.buffer.toString('utf8', reader.at - size, reader.at)
  }
  const tags = (): void => {
    for (let left = length(); left > 0; left--) {
      length()
      reader.at += length()
    }
  }
  tags()
  reader.int32()
  const offsets: FetchedOffset[] = []
  for (let topics = length() - 1; topics > 0; topics--) {
    string()
    for (let left = length() - 1; left > 0; left--) {
      const partition = reader.int32()
      const offset = reader.int64()
      reader.int32()
      const metadata = string()
      const errorCode = reader.int16()
      tags()
      offsets.push({ partition, offset, metadata, errorCode })
    }
    tags()
  }
  return { errorCode: reader.int16(), offsets }
}

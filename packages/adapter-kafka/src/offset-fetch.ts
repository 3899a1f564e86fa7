// Where a group is, asked in version 7: kafkajs has no version that waits for open transactions, and without that a position is read
// that a transaction, confirmed a moment ago, is just about to move.

import { ByteReader, ByteWriter } from './bytes.ts'

/** The body of the request, the end of its head before it. */
export function offsetFetchBody(groupId: string, topic: string, partitions: number, stable: boolean): Buffer {
  const writer = new ByteWriter(256 + 4 * partitions)
  writer.int8(0)
  writer.compact(groupId)
  writer.unsigned(2)
  writer.compact(topic)
  writer.unsigned(partitions + 1)
  for (let partition = 0; partition < partitions; partition++) writer.int32(partition)
  writer.int8(0)
  // Only what no open transaction is about to change.
  writer.int8(stable ? 1 : 0)
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
  reader.tags()
  reader.int32()
  const offsets: FetchedOffset[] = []
  for (let topics = reader.unsigned() - 1; topics > 0; topics--) {
    reader.compact()
    for (let left = reader.unsigned() - 1; left > 0; left--) {
      const partition = reader.int32()
      const offset = reader.int64()
      reader.int32()
      const metadata = reader.compact()
      const errorCode = reader.int16()
      reader.tags()
      offsets.push({ partition, offset, metadata, errorCode })
    }
    reader.tags()
  }
  return { errorCode: reader.int16(), offsets }
}

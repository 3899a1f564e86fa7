// Who leads what, asked in version 12: kafkajs has no version that tells a topic's id, and without it a topic that was deleted and made
// again looks like the one before.

import { ByteReader, ByteWriter } from './bytes.ts'
import type { Replies } from './client.ts'

export const metadataVersion = 12

type Metadata = Replies['Metadata']
type Topic = Metadata['topicMetadata'][number]
type Partition = Topic['partitionMetadata'][number]

/** The body of the request, the end of its head before it. No topic is made by asking. */
export function metadataBody(topics: readonly string[]): Buffer {
  const writer = new ByteWriter(256)
  writer.int8(0)
  writer.unsigned(topics.length + 1)
  for (const topic of topics) {
    writer.int64(0)
    writer.int64(0)
    writer.compact(topic)
    writer.int8(0)
  }
  writer.int8(0)
  writer.int8(0)
  writer.int8(0)
  return writer.done()
}

/** Reads the answer. */
export function readMetadata(payload: Buffer): Metadata {
  const reader = new ByteReader(payload)
  reader.tags()
  reader.int32()
  const brokers = list(reader, () => {
    const broker = { nodeId: reader.int32(), host: reader.compact(), port: reader.int32() }
    reader.compact()
    reader.tags()
    return broker
  })
  reader.compact()
  const controllerId = reader.int32()
  return { brokers, controllerId, topicMetadata: list(reader, () => readTopic(reader)) }
}

function readTopic(reader: ByteReader): Topic {
  const topicErrorCode = reader.int16()
  const topic = reader.compact()
  const topicId = reader.uuid()
  reader.int8()
  const partitionMetadata = list(reader, () => readPartition(reader))
  reader.int32()
  reader.tags()
  return { topicErrorCode, topic, topicId, partitionMetadata }
}

function readPartition(reader: ByteReader): Partition {
  const partitionErrorCode = reader.int16()
  const partitionId = reader.int32()
  const leader = reader.int32()
  reader.int32()
  const nodes = (): readonly number[] => list(reader, () => reader.int32())
  const replicas = nodes()
  nodes()
  nodes()
  reader.tags()
  return { partitionErrorCode, partitionId, leader, replicas }
}

function list<T>(reader: ByteReader, read: () => T): readonly T[] {
  return Array.from({ length: Math.max(0, reader.unsigned() - 1) }, read)
}

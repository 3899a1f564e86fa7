// The two forms of a Fetch request and its answer: by the names of topics, and by their ids.

import { expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/bytes.ts'
import { fetchBody, fetchVersions, readFetched } from '../src/fetched.ts'
import { metadataBody, readMetadata } from '../src/metadata.ts'

const id = '00112233445566778899aabbccddeeff'

it('asks by id for what has one, partition by partition', () => {
  const parts = [0, 1].map((partition) => ({ topic: 't', topicId: id, partition, offset: 7, maxBytes: 100 }))
  const reader = new ByteReader(fetchBody(parts, 500, 1000, fetchVersions.byId))
  reader.tags()
  reader.at += 4 + 4 + 4 + 4 + 1 + 4 + 4
  expect(reader.unsigned()).toBe(2)
  expect(reader.uuid()).toBe(id)
  expect(reader.unsigned()).toBe(3)
  expect([reader.int32(), reader.int32(), reader.int64()]).toEqual([0, -1, 7])
  reader.at += 4 + 8 + 4
  reader.tags()
  expect(reader.int32()).toBe(1)
})

it('reads an answer by id, with what a newer server tells beside it', () => {
  const writer = new ByteWriter()
  writer.unsigned(0)
  writer.int32(0)
  writer.int16(0)
  writer.int32(0)
  writer.unsigned(2)
  writer.raw(Buffer.from(id, 'hex'))
  writer.unsigned(3)
  for (const partition of [0, 1]) {
    writer.int32(partition)
    writer.int16(partition === 0 ? 0 : 100)
    for (const number of [20, 20, 3]) writer.int64(number)
    writer.unsigned(partition === 0 ? 2 : 0)
    if (partition === 0) {
      writer.int64(9)
      writer.int64(4)
      writer.unsigned(0)
    }
    writer.int32(-1)
    writer.unsigned(partition === 0 ? 6 : 0)
    if (partition === 0) writer.raw(Buffer.from('bytes'))
    // A field of its own kind, five bytes long.
    writer.unsigned(1)
    writer.unsigned(0)
    writer.unsigned(5)
    writer.raw(Buffer.from('other'))
  }
  writer.unsigned(0)
  writer.unsigned(0)
  const { errorCode, parts } = readFetched(writer.done(), fetchVersions.byId)
  expect(errorCode).toBe(0)
  expect(parts.map((part) => ({ ...part, records: part.records.toString() }))).toEqual([
    {
      topic: id,
      partition: 0,
      errorCode: 0,
      highWatermark: 20,
      logStart: 3,
      aborted: [{ producerId: 9, firstOffset: 4 }],
      records: 'bytes',
    },
    { topic: id, partition: 1, errorCode: 100, highWatermark: 20, logStart: 3, aborted: [], records: '' },
  ])
})

it('asks for topics by name, and reads their ids and leaders', () => {
  const asked = new ByteReader(metadataBody(['t']))
  asked.tags()
  expect([asked.unsigned(), asked.uuid(), asked.compact()]).toEqual([2, '0'.repeat(32), 't'])
  const writer = new ByteWriter()
  writer.unsigned(0)
  writer.int32(0)
  writer.unsigned(2)
  writer.int32(1)
  writer.compact('host')
  writer.int32(9092)
  writer.unsigned(0)
  writer.unsigned(0)
  writer.compact('cluster')
  writer.int32(1)
  writer.unsigned(2)
  writer.int16(0)
  writer.compact('t')
  writer.raw(Buffer.from(id, 'hex'))
  writer.int8(0)
  writer.unsigned(2)
  writer.int16(0)
  writer.int32(0)
  writer.int32(1)
  writer.int32(0)
  for (let lists = 0; lists < 3; lists++) {
    writer.unsigned(2)
    writer.int32(1)
  }
  writer.unsigned(0)
  writer.int32(0)
  writer.unsigned(0)
  writer.unsigned(0)
  expect(readMetadata(writer.done())).toEqual({
    brokers: [{ nodeId: 1, host: 'host', port: 9092 }],
    controllerId: 1,
    topicMetadata: [
      {
        topicErrorCode: 0,
        topic: 't',
        topicId: id,
        partitionMetadata: [{ partitionErrorCode: 0, partitionId: 0, leader: 1, replicas: [1] }],
      },
    ],
  })
})

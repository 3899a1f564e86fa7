// A leader that is played: it gives a batch that is over the bytes asked for to the first partition of an answer alone, as Kafka does.

import type { AdapterContext, Outgoing } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/bytes.ts'
import type { RawRequest } from '../src/client.ts'
import type { Cluster } from '../src/cluster.ts'
import { produceBody, writeRecord } from '../src/encode.ts'
import { createFetcher, type Reader } from '../src/fetcher.ts'

const large: Outgoing = {
  id: 'a',
  key: null,
  body: Buffer.alloc(1000),
  time: null,
  expiresAt: null,
  attributes: Object.freeze({ specversion: '1.0', source: 's', type: 't' }),
  headers: null,
  transport: null,
  place: { topic: 't', role: 'main', group: null },
  partition: 0,
  delayMs: 0,
  slot: null,
}

/** A batch of one message at an offset. */
function batchAt(offset: number): Buffer {
  const portion = { partition: 0, count: 1, write: (writer: ByteWriter, at: number) => writeRecord(writer, large, at), sequence: null }
  const body = produceBody({ topics: new Map([['t', [portion]]]), transactionalId: null, timeoutMs: 1000, now: 0 })
  const reader = new ByteReader(body)
  reader.at += 12
  reader.string()
  reader.at += 12
  const batch = Buffer.from(body.subarray(reader.at))
  batch.writeBigInt64BE(BigInt(offset))
  return batch
}

interface Asked {
  readonly partition: number
  readonly offset: number
}
function readAsked(body: Buffer): readonly Asked[] {
  const reader = new ByteReader(body)
  reader.at += 4 + 4 + 4 + 4 + 1 + 4 + 4 + 4
  reader.string()
  return Array.from({ length: reader.int32() }, () => {
    const partition = reader.int32()
    reader.at += 4
    const offset = reader.int64()
    reader.at += 12
    return { partition, offset }
  })
}

function answer(asked: readonly Asked[]): Buffer {
  const writer = new ByteWriter()
  writer.int32(0)
  writer.int16(0)
  writer.int32(0)
  writer.int32(1)
  writer.string('t')
  writer.int32(asked.length)
  asked.forEach(({ partition, offset }, place) => {
    const records = place === 0 ? batchAt(offset) : Buffer.alloc(0)
    writer.int32(partition)
    writer.int16(0)
    for (const number of [0, 0, 0]) writer.int64(number)
    writer.int32(-1)
    writer.int32(-1)
    writer.int32(records.length)
    writer.raw(records)
  })
  return writer.done()
}

it('a partition whose next batch is over its bytes gets it, however busy the one before it is', async () => {
  let requests = 0
  const connection = {
    takes: () => false,
    async raw({ body }: RawRequest) {
      if (++requests > 10) return await new Promise<Buffer>(() => {})
      return answer(readAsked(body))
    },
  }
  const clock = { monotonic: () => 0, timer: () => () => {} }
  const cluster = {
    context: { clock } as unknown as AdapterContext,
    known: () => ({ leaders: [1, 1], replicas: 1, id: '' }),
    connection: async () => connection,
    drop: async () => {},
  } as unknown as Cluster
  const got = [0, 0]
  const readerOf = (partition: number): Reader => {
    let position = 0
    return {
      source: 't',
      topicId: '',
      partition,
      get position() {
        return position
      },
      wants: () => 100,
      take(records, next) {
        got[partition] = (got[partition] ?? 0) + records.length
        position = next
      },
      outOfRange() {},
      gone() {},
      refused() {},
      unreadable() {},
    }
  }
  const fetcher = createFetcher(cluster, 'test')
  fetcher.add(readerOf(0))
  fetcher.add(readerOf(1))
  await expect.poll(() => requests).toBeGreaterThan(10)
  expect(got).toEqual([5, 5])
  await fetcher.stop()
})

// A dead letter place that is played: what compaction leaves of it no test can wait for.

import type { Outgoing, Place } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/bytes.ts'
import type { RawRequest } from '../src/client.ts'
import type { Cluster } from '../src/cluster.ts'
import { createDeadLetters } from '../src/dead-letters.ts'
import { produceBody, writeRecord } from '../src/encode.ts'
import { readBatches } from '../src/fetched.ts'

const place: Place = { topic: 't', role: 'dead', group: 'workers' }
const dead = (id: string, slot: string): Outgoing => ({
  id,
  key: null,
  body: Buffer.from(id),
  time: null,
  expiresAt: null,
  attributes: Object.freeze({ specversion: '1.0', source: 's', type: 't' }),
  headers: null,
  transport: null,
  place,
  partition: 0,
  delayMs: 0,
  slot,
})

/** The one batch of a Produce request. */
function batchOf(body: Buffer): Buffer {
  const reader = new ByteReader(body)
  reader.at += 12
  reader.string()
  reader.at += 12
  return Buffer.from(body.subarray(reader.at))
}
function written(messages: readonly Outgoing[]): Buffer {
  const portion = {
    partition: 0,
    count: messages.length,
    write: (writer: ByteWriter, at: number) => writeRecord(writer, messages[at] as Outgoing, at),
    sequence: null,
  }
  return batchOf(produceBody({ topics: new Map([['t', [portion]]]), transactionalId: null, timeoutMs: 1000, now: 0 }))
}
const recordsOf = (batch: Buffer) =>
  readBatches({ topic: 't', partition: 0, errorCode: 0, highWatermark: 0, logStart: 0, aborted: [], records: batch }, 0).records

function fetched(records: Buffer): Buffer {
  const writer = new ByteWriter()
  writer.int32(0)
  writer.int16(0)
  writer.int32(0)
  writer.int32(1)
  writer.string('t')
  writer.int32(1)
  writer.int32(0)
  writer.int16(0)
  for (const offset of [0, 0, 0]) writer.int64(offset)
  writer.int32(-1)
  writer.int32(-1)
  writer.int32(records.length)
  writer.raw(records)
  return writer.done()
}
function stored(): Buffer {
  const writer = new ByteWriter()
  writer.int32(1)
  writer.string('t')
  writer.int32(1)
  writer.int32(0)
  writer.int16(0)
  for (const number of [9, -1, 0]) writer.int64(number)
  writer.int32(0)
  return writer.done()
}

it('an entry that is removed takes the older ones of its slot along: compaction would make them entries again', async () => {
  const log = written([dead('first', 'one'), dead('other', 'two'), dead('second', 'one')])
  const produced: Buffer[] = []
  const connection = {
    async request(
      _api: string,
      { topics }: { readonly topics: readonly { readonly partitions: readonly { readonly timestamp: string }[] }[] },
    ) {
      const end = topics[0]?.partitions[0]?.timestamp === '-1'
      return { responses: [{ topic: 't', partitions: [{ partition: 0, errorCode: 0, offset: end ? '3' : '0' }] }] }
    },
    async raw({ api, body }: RawRequest) {
      if (api === 'Fetch') return fetched(log)
      produced.push(body)
      return stored()
    },
  }
  const meta = { leaders: [1], replicas: 1 }
  const cluster = {
    settings: { requestTimeoutMs: 1000 },
    context: { clock: { now: () => 0 } },
    known: () => meta,
    look: async () => meta,
    connection: async () => connection,
  } as unknown as Cluster
  const letters = createDeadLetters(cluster, ({ topic }) => topic)
  const { entries } = await letters.browse(place, null, 10)
  expect(entries.map(({ content }) => ('id' in content ? content.id : null))).toEqual(['other', 'second'])
  expect(await letters.remove(place, entries.slice(1))).toBe('settled')
  const keys = (batch: Buffer) =>
    recordsOf(batch).map(({ buffer, keyAt, keyLength, valueLength }) => [buffer.toString('utf8', keyAt, keyAt + keyLength), valueLength])
  const [first, , second] = keys(log)
  expect(keys(batchOf(produced[0] as Buffer))).toEqual([
    [second?.[0], -1],
    [first?.[0], -1],
  ])
})

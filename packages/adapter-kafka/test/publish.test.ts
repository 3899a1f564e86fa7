// The server's answer, played: what no real server says on demand.

import type { AdapterContext, Outgoing } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../src/bytes.ts'
import type { Connection } from '../src/client.ts'
import type { Cluster } from '../src/cluster.ts'
import { createPublisher } from '../src/publish.ts'

const message = (id: string, partition: number): Outgoing => ({
  id,
  key: null,
  body: Buffer.from(id),
  time: null,
  expiresAt: null,
  attributes: Object.freeze({ specversion: '1.0', source: 's', type: 't' }),
  headers: null,
  transport: null,
  place: { topic: 't', role: 'main', group: null },
  partition,
  delayMs: 0,
  slot: null,
})

/** An answer that names these partitions, with code and offset. */
function answer(partitions: readonly (readonly [partition: number, code: number, offset: number])[]): Buffer {
  const writer = new ByteWriter()
  writer.int32(1)
  writer.string('t')
  writer.int32(partitions.length)
  for (const [partition, code, offset] of partitions) {
    writer.int32(partition)
    writer.int16(code)
    writer.int64(offset)
    writer.int64(-1)
    writer.int64(0)
  }
  writer.int32(0)
  return writer.done()
}

function publisher(reply: Buffer) {
  const connection = {
    lost: new AbortController().signal,
    close() {},
    raw: async () => reply,
    request: async () => ({}),
  } as unknown as Connection
  const meta = { leaders: [1, 1, 1], replicas: 1 }
  const cluster = {
    settings: { requestTimeoutMs: 1000 },
    context: { clock: { now: () => 0 }, random: () => 0 } as unknown as AdapterContext,
    known: () => meta,
    look: async () => meta,
    connection: async () => connection,
  } as unknown as Cluster
  return createPublisher(cluster, ({ topic }) => topic)
}
const never = new AbortController().signal

describe('what an answer means', () => {
  it('KAF-10: a partition that the answer does not name, or names without an offset, is not stored', async () => {
    const batch = [message('a', 0), message('b', 1), message('c', 2)]
    const report = await publisher(
      answer([
        [0, 0, 17],
        [2, 0, -1],
      ]),
    ).publish(batch, never)
    expect(report.failures.map(({ index, outcome }) => [index, outcome]).sort()).toEqual([
      [1, 'unknown'],
      [2, 'unknown'],
    ])
    expect(report.position(0)).toBe('0:17')
    expect(report.position(1)).toBeNull()
  })

  it('a refusal touches its partition alone, and says whether anything was written', async () => {
    const batch = [message('a', 0), message('b', 1), message('c', 2), message('d', 2)]
    const report = await publisher(
      answer([
        [0, 10, -1],
        [1, 20, -1],
        [2, 0, 5],
      ]),
    ).publish(batch, never)
    expect(report.failures.map(({ index, outcome }) => [index, outcome]).sort()).toEqual([
      [0, 'failed'],
      [1, 'unknown'],
    ])
    expect([report.position(2), report.position(3)]).toEqual(['2:5', '2:6'])
  })
})

// The server's answer, played: what no real server says on demand.

import type { AdapterContext, Outgoing } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../src/bytes.ts'
import type { Connection } from '../src/client.ts'
import type { Cluster } from '../src/cluster.ts'
import { explain } from '../src/explain.ts'
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

/** One answer for all requests, or one for each. */
function publisher(replies: Buffer | Buffer[], asked: Buffer[] = []) {
  const connection = {
    lost: new AbortController().signal,
    close() {},
    async raw({ body }: { readonly body: Buffer }) {
      asked.push(body)
      return Buffer.isBuffer(replies) ? replies : replies.shift()
    },
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

  it('a leader that lost its lead while the replicas confirmed may have stored it: its refusal is not known, and may be tried again', async () => {
    const report = await publisher(
      answer([
        [0, 6, -1],
        [1, 3, -1],
      ]),
    ).publish([message('a', 0), message('b', 1)], never)
    expect(report.failures.map(({ index, outcome, error }) => [index, outcome, explain(error).outcome, explain(error).retryable])).toEqual([
      [0, 'unknown', 'unknown', true],
      [1, 'unknown', 'unknown', true],
    ])
  })

  it('a part of a partition waits for the one before it: nothing is stored behind what is not', async () => {
    const large = (id: string, partition: number): Outgoing => ({ ...message(id, partition), body: Buffer.alloc(600_000) })
    const batch = [large('a', 0), large('b', 0), large('c', 0), large('d', 1), large('e', 1)]
    const asked: Buffer[] = []
    const report = await publisher(
      [
        answer([
          [0, 19, -1],
          [1, 0, 7],
        ]),
        answer([[1, 0, 8]]),
      ],
      asked,
    ).publish(batch, never)
    expect(report.failures.map(({ index, outcome, error }) => [index, outcome, explain(error).retryable])).toEqual([
      [0, 'failed', true],
      [1, 'failed', true],
      [2, 'failed', true],
    ])
    expect(String(report.failures[1]?.error)).toContain('what was before it in its partition is not stored')
    expect([report.position(3), report.position(4)]).toEqual(['1:7', '1:8'])
    expect(asked.length).toBe(2)
  })
})

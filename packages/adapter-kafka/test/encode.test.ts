import { createRequire } from 'node:module'
import { gzipSync } from 'node:zlib'
import type { Outgoing, Received } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/bytes.ts'
import { crc32c } from '../src/crc32c.ts'
import { decode } from '../src/decode.ts'
import { produceBody, writeRecord, writeTombstone } from '../src/encode.ts'
import { type FetchedPart, readBatches } from '../src/fetched.ts'

const require = createRequire(import.meta.url)
const attributes = Object.freeze({ specversion: '1.0', source: '/orders', type: 'order.placed', datacontenttype: 'application/json' })

const message = (over: Partial<Outgoing> = {}): Outgoing => ({
  id: 'a',
  key: 'k',
  body: Buffer.from('{"a":1}'),
  time: 1_700_000_000_123,
  expiresAt: null,
  attributes,
  headers: { colour: 'grün' },
  transport: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
  place: { topic: 't', role: 'main', group: null },
  partition: 0,
  delayMs: 0,
  slot: null,
  ...over,
})

function batchOf(messages: readonly Outgoing[], write?: (writer: ByteWriter, index: number) => void): Buffer {
  const body = produceBody({
    topics: new Map([
      [
        't',
        [
          {
            partition: 0,
            count: messages.length,
            write: write ?? ((writer, at) => writeRecord(writer, messages[at] as Outgoing, at)),
            sequence: null,
          },
        ],
      ],
    ]),
    transactionalId: null,
    timeoutMs: 1000,
    now: 1_700_000_000_500,
  })
  const reader = new ByteReader(body)
  expect(reader.int16()).toBe(-1)
  reader.at += 6
  expect([reader.int32(), reader.string(), reader.int32(), reader.int32()]).toEqual([1, 't', 1, 0])
  const length = reader.int32()
  expect(body.length - reader.at).toBe(length)
  return body.subarray(reader.at)
}

const part = (records: Buffer, over: Partial<FetchedPart> = {}): FetchedPart => ({
  topic: 't',
  partition: 0,
  errorCode: 0,
  highWatermark: 1000,
  logStart: 0,
  aborted: [],
  records,
  ...over,
})
const read = (records: Buffer, dead = false): readonly Received[] => {
  const cache = { last: null }
  return readBatches(part(records), 0).records.map((record) => decode(record, cache, dead).content as Received)
}
const plain = (received: Received): unknown =>
  JSON.parse(JSON.stringify({ ...received, body: received.body === null ? null : Buffer.from(received.body).toString() }))

describe('a message as a record', () => {
  it('has the checksum that the standard gives', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
    // The same sum wherever the bytes lie in memory, and however many they are.
    const counted = Buffer.from(Array.from({ length: 80 }, (_, at) => at * 7))
    const oneByOne = (from: number, to: number): number => {
      let crc = -1
      for (const byte of counted.subarray(from, to)) {
        crc ^= byte
        for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
      }
      return ~crc >>> 0
    }
    for (let from = 0; from < 8; from++)
      for (let to = from; to <= 80; to++) expect(crc32c(counted, from, to), `${from} to ${to}`).toBe(oneByOne(from, to))
  })

  it('comes back as it was, many of one sender with one object of attributes', () => {
    const sent = [
      message(),
      message({ id: 'b', key: '', body: Buffer.alloc(0), headers: null, transport: null, time: null }),
      message({ id: 'c', key: null, body: null }),
    ]
    const received = read(batchOf(sent))
    expect(received.map(({ id, key, time }) => [id, key, time])).toEqual([
      ['a', 'k', 1_700_000_000_123],
      ['b', '', null],
      ['c', null, 1_700_000_000_123],
    ])
    expect(received.map(({ body }) => body?.length ?? null)).toEqual([7, 0, null])
    expect({ ...received[0]?.headers }).toEqual({ colour: 'grün' })
    expect(received[0]?.attributes).toEqual(attributes)
    expect(received[2]?.attributes).toBe(received[1]?.attributes)
  })

  it('is read by kafkajs as every client reads it', async () => {
    const Decoder = require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => object
    const decodeBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder.js') as (decoder: object) => Promise<{
      readonly records: readonly {
        readonly key: Buffer | null
        readonly value: Buffer | null
        readonly headers: Readonly<Record<string, Buffer>>
      }[]
    }>
    const long = 'x'.repeat(20_000)
    const batch = batchOf([message(), message({ id: 'long', body: Buffer.from(long), headers: null })])
    // Its magic byte was read by whoever calls this.
    const { records } = await decodeBatch(new Decoder(batch))
    expect(records.map(({ key, value }) => [String(key), String(value).length])).toEqual([
      ['k', 7],
      ['k', 20_000],
    ])
    expect(String(records[0]?.headers['ce_id'])).toBe('a')
    expect(String(records[0]?.headers['colour'])).toBe('grün')
    expect(String(records[0]?.headers['content-type'])).toBe('application/json')
  })

  it('is checked over all that follows its checksum', () => {
    const batch = batchOf([message()])
    expect(batch.readUInt32BE(17)).toBe(crc32c(batch, 21))
  })

  it('as a dead letter has a record key of its own, and its key and empty body beside it', () => {
    const dead = message({ place: { topic: 't', role: 'dead', group: 'g' }, slot: 'slot-1', body: null })
    const [record] = readBatches(part(batchOf([dead, message({ ...dead, headers: null })])), 0).records
    const keys = readBatches(part(batchOf([dead, dead, { ...dead, headers: null }])), 0).records.map((each) =>
      each.buffer.toString('utf8', each.keyAt, each.keyAt + each.keyLength),
    )
    expect(keys[0]).toMatch(/^slot-1\//)
    expect(keys[1]).toBe(keys[0])
    expect(keys[2]).not.toBe(keys[0])
    expect(record?.valueLength).toBe(1)
    expect(plain(read(batchOf([dead]), true)[0] as Received)).toMatchObject({ key: 'k', body: null })
    expect(plain(read(batchOf([{ ...dead, body: Buffer.alloc(0) }]), true)[0] as Received)).toMatchObject({ body: '' })
  })

  it('is removed by a record without a value under the same key', () => {
    const [record] = readBatches(part(batchOf([message()], (writer, at) => writeTombstone(writer, 'slot-1/x', at))), 0).records
    expect([record?.valueLength, record?.keyLength]).toEqual([-1, 8])
  })

  it('with bytes that are no text is undecodable, with its bytes', () => {
    const bad = batchOf([message()], (writer, index) => {
      const inner = new ByteWriter()
      inner.int8(0)
      inner.varint(0)
      inner.varint(index)
      inner.varint(-1)
      inner.varText('body')
      inner.varint(1)
      inner.varText('bad')
      inner.varint(2)
      inner.raw(Buffer.from([0xff, 0xfe]))
      writer.varint(inner.at)
      writer.raw(inner.done())
    })
    const [content] = read(bad) as unknown as [
      { readonly undecodable: string; readonly body: Buffer; readonly headers: Record<string, Buffer> },
    ]
    expect(content.undecodable).toContain('bad')
    expect([String(content.body), content.headers['bad']]).toEqual(['body', Buffer.from([0xff, 0xfe])])
  })
})

describe('batches as they lie in the log', () => {
  const at = (batch: Buffer, base: number): Buffer => {
    const copy = Buffer.from(batch)
    copy.writeBigInt64BE(BigInt(base), 0)
    return copy
  }
  const flagged = (batch: Buffer, flags: number, producer: number): Buffer => {
    const copy = Buffer.from(batch)
    copy.writeInt16BE(flags, 21)
    copy.writeBigInt64BE(BigInt(producer), 43)
    return copy
  }

  it('are read from the offset that was asked for, and the last one may be cut off', () => {
    const batch = batchOf([message(), message({ id: 'b' })])
    const log = Buffer.concat([at(batch, 4), at(batch, 10), at(batch, 20).subarray(0, 40)])
    const { records, next } = readBatches(part(log), 5)
    expect(records.map(({ offset }) => offset)).toEqual([5, 10, 11])
    expect(next).toBe(12)
  })

  it('leave out what was given up in a transaction, and the marks of its end', () => {
    const one = batchOf([message()])
    const log = Buffer.concat([
      flagged(at(one, 0), 0x10, 7),
      flagged(at(one, 1), 0x10, 8),
      flagged(at(one, 2), 0x30, 7),
      flagged(at(one, 3), 0x10, 7),
    ])
    const { records, next } = readBatches(part(log, { aborted: [{ producerId: 7, firstOffset: 0 }] }), 0)
    expect(records.map(({ offset }) => offset)).toEqual([1, 3])
    expect(next).toBe(4)
  })

  it('are unpacked', () => {
    const batch = batchOf([message()])
    const body = gzipSync(batch.subarray(61))
    const packed = Buffer.concat([batch.subarray(0, 61), body])
    packed.writeInt32BE(packed.length - 12, 8)
    packed.writeInt16BE(1, 21)
    packed.writeUInt32BE(crc32c(packed, 21), 17)
    expect(read(packed).map(({ id }) => id)).toEqual(['a'])
  })
})

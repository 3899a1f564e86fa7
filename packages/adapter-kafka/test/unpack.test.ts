// Batches that other clients packed, what is wrong in some, and how much may come out of one.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as zlib from 'node:zlib'
import type { Received } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { crc32c } from '../src/crc32c.ts'
import { decode } from '../src/decode.ts'
import { type FetchedPart, readBatches } from '../src/fetched.ts'
import { mostUnpacked, unpack } from '../src/unpack.ts'

/** Whole batches at offset 7, made by the code of these clients: `values`, or only the first of them. */
interface Packed {
  readonly by: string
  readonly codec: 'gzip' | 'snappy' | 'lz4' | 'zstd'
  readonly batch: string
}
const packed = readFileSync(new URL('./golden/packed-batches.jsonl', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Packed)
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const hasZstd = 'zstdDecompressSync' in zlib
const readable = packed.filter(({ codec }) => codec !== 'zstd' || hasZstd)

/** Something short, what repeats over several blocks, one byte many times, and what no codec makes shorter. */
const values: readonly Buffer[] = [
  Buffer.from('{"a":1}'),
  Buffer.from(Array.from({ length: 3000 }, (_, at) => `order ${at % 100} of ada\n`).join('')),
  Buffer.alloc(90_000, 'x'),
  noise(),
]
function noise(): Buffer {
  const all: Buffer[] = []
  let last: Buffer = Buffer.from('posthorn')
  for (let at = 0; at < 16; at++) {
    last = createHash('sha256').update(last).digest()
    all.push(last)
  }
  return Buffer.concat(all)
}

const bytesOf = ({ batch }: Packed): Buffer => Buffer.from(batch, 'base64')
const part = (...batches: readonly Buffer[]): FetchedPart => ({
  topic: 't',
  partition: 0,
  errorCode: 0,
  highWatermark: 0,
  logStart: 0,
  aborted: [],
  records: Buffer.concat(batches),
})
const at = (batch: Buffer, offset: number): Buffer => {
  const moved = Buffer.from(batch)
  moved.writeBigInt64BE(BigInt(offset))
  return moved
}
/** The batch with other bytes behind its head, and the checksum of these. */
function holding(batch: Buffer, codec: number, records: Buffer, count = 1): Buffer {
  const made = Buffer.concat([batch.subarray(0, 61), records])
  made.writeInt32BE(made.length - 12, 8)
  made.writeInt16BE(codec, 21)
  made.writeInt32BE(count, 57)
  made.writeUInt32BE(crc32c(made, 21), 17)
  return made
}
const [anyBatch] = packed.map(bytesOf) as [Buffer]

describe('batches of other clients', () => {
  it.each(readable)('by $by in $codec are read, byte for byte', (each) => {
    const { records, next } = readBatches(part(bytesOf(each)), 0)
    expect([1, 4]).toContain(records.length)
    for (const [index, record] of records.entries()) {
      const { id, key, body } = decode(record, { last: null }, false).content as Received
      expect([record.offset, id, key]).toEqual([7 + index, `id-${index}`, `key-${index}`])
      // Compared as a whole: a difference of 90,000 bytes would be printed for minutes.
      expect(values[index]?.equals(body as Buffer)).toBe(true)
    }
    expect(next).toBe(7 + records.length)
  })

  it('in zstd are read where Node has it, and elsewhere it is said what to do', () => {
    const zstd = packed.filter(({ codec }) => codec === 'zstd').map(bytesOf)
    expect(zstd).toHaveLength(5)
    for (const batch of zstd) {
      if (hasZstd) expect(readBatches(part(batch), 0).records.length).toBeGreaterThan(0)
      else expect(() => readBatches(part(batch), 0)).toThrow(/offset 7.*zstd.*Node 22\.15.*gzip, snappy or lz4.*CompressionCodecs/)
    }
  })

  it('in a codec that nobody knows are refused', () => {
    expect(() => readBatches(part(holding(anyBatch, 5, Buffer.from('?'))), 0)).toThrow(
      /offset 7: .*compressed by codec 5, which is not read here/,
    )
  })
})

describe('a batch that is damaged', () => {
  it.each(packed)('by $by in $codec is never read, whichever byte it is', (each) => {
    const whole = bytesOf(each)
    for (let place = 61; place < whole.length; place += Math.ceil(whole.length / 50)) {
      const batch = Buffer.from(whole)
      batch[place] = (batch[place] as number) ^ 0x40
      expect(() => readBatches(part(batch), 0)).toThrow(/offset 7: it is damaged.*checksum/)
    }
  })

  it('and not packed is said to be so where its records cannot be told apart', () => {
    const batch = Buffer.from(holding(anyBatch, 0, Buffer.from('00')))
    batch.writeInt32BE(3, 57)
    expect(() => readBatches(part(batch), 0)).toThrow(/offset 7: it is damaged/)
  })

  it('is told when it is the first one: what lies before it is read before', () => {
    const [good] = packed.filter(({ codec }) => codec === 'lz4').map(bytesOf) as [Buffer]
    const bad = at(good, 20)
    bad[70] = (bad[70] as number) ^ 1
    const { records, next } = readBatches(part(good, bad, at(good, 40)), 7)
    expect(records.map(({ offset }) => offset)).toEqual([7, 8, 9, 10])
    expect(next).toBe(11)
    expect(() => readBatches(part(bad, at(good, 40)), next)).toThrow(/offset 20: it is damaged/)
  })

  it('in its head ends nothing in a loop that never ends', () => {
    for (const length of [-12, -1, 0, 48]) {
      const batch = Buffer.from(anyBatch)
      batch.writeInt32BE(length, 8)
      expect(() => readBatches(part(batch), 0)).toThrow(/offset 7: it is shorter than the head/)
    }
  })

  it('whose records are fewer, more or longer than it says is refused, and nothing of it is given', () => {
    const [one] = readable.filter(({ codec }) => codec === 'snappy').map(bytesOf) as [Buffer]
    const plain = unpack(one.subarray(61), 2)
    const cases: readonly (readonly [Buffer, number, RegExp])[] = [
      [plain, 3, /more in it than its 3 records/],
      [plain, 5, /a number does not end/],
      [plain, 0, /more in it than its 0 records/],
      [plain, -4, /more in it than its -4 records/],
      [plain.subarray(0, 0), -1, /more in it than its -1 records/],
      [plain.subarray(0, 0), 4, /a number does not end/],
      [plain.subarray(0, -1), 4, /do not end where they say/],
    ]
    for (const [records, count, says] of cases) {
      const batch = holding(one, 0, records, count)
      expect(() => readBatches(part(batch), 0)).toThrow(says)
      expect(() => readBatches(part(batch), 0)).toThrow(/set the position of the group to \d+ while it has no members/)
    }
  })
})

it('a batch of which compaction has left the head is passed over', () => {
  const hollow = holding(anyBatch, 0, Buffer.alloc(0), 0)
  expect(readBatches(part(hollow), 7)).toMatchObject({ records: [], next: 11 })
})

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
/** A frame with blocks that depend on each other, around these bytes. */
const frame = (blocks: string, flags = '40'): Buffer => hex(`04224d18 ${flags} 40 00 ${blocks}`)

describe('what is packed wrongly', () => {
  it.each([
    ['nothing at all', '', /cut off/],
    ['a length that does not end', 'ffffffffff01', /does not end/],
    ['letters that are missing', '05 10 6162', /cut off/],
    ['a long length that is missing', '05 f4 01', /cut off/],
    ['a copy without its distance', '05 00 61 02 01', /cut off/],
    ['a copy of what is not there', '05 00 61 01 02', /repeats what is not there/],
    ['a copy of itself', '05 00 61 01 00', /repeats what is not there/],
    ['more letters than it says', '01 04 6162', /more in it/],
    ['a longer copy than it says', '03 00 61 01 01', /more in it/],
    ['fewer letters than it says', '05 00 61', /ends after 1 of 5/],
    ['blocks of Java that are cut off', '82534e4150505900 00000001 00000001 00000009 05', /cut off/],
    ['blocks of Java without a length', '82534e4150505900 00000001 00000001 0000', /cut off/],
  ])('snappy: %s', (_, text, says) => {
    expect(() => unpack(hex(text), 2)).toThrow(says)
    expect(() => unpack(hex(text), 2)).toThrow(/compressed by snappy, cannot be unpacked/)
  })

  it.each([
    ['another beginning', hex('28b52ffd00'), /does not begin/],
    ['a head that is cut off', hex('04224d18 40'), /cut off/],
    ['another version', frame('00000000', '80'), /version 2/],
    ['a dictionary', frame('00000000', '41'), /dictionary/],
    ['no end', frame('02000000 10 61'), /cut off/],
    ['a block that is cut off', frame('09000000 10 61'), /cut off/],
    ['letters that are missing', frame('03000000 50 6162 00000000'), /cut off/],
    ['a long length that is missing', frame('02000000 f0 ff 00000000'), /cut off/],
    ['a copy without an end', frame('04000000 10 61 0100 00000000'), /cut off/],
    ['a copy of what is not there', frame('06000000 10 61 0200 10 62 00000000'), /repeats what is not there/],
    ['a copy of itself', frame('06000000 10 61 0000 10 62 00000000'), /repeats what is not there/],
    ['a copy out of an independent block', frame('02000000 10 61 06000000 10 62 0200 10 62 00000000', '60'), /repeats what is not there/],
    ['another length than it says', hex('04224d18 68 40 0200000000000000 00 02000000 10 61 00000000'), /not as much/],
    ['no checksum where there is one', frame('02000000 10 61 00000000', '44'), /cut off/],
    ['another frame that is cut off', hex('502a4d18 09000000 00'), /cut off/],
  ])('lz4: %s', (_, bytes, says) => {
    expect(() => unpack(bytes, 3)).toThrow(says)
    expect(() => unpack(bytes, 3)).toThrow(/compressed by lz4, cannot be unpacked/)
  })

  it('lz4: a copy may reach into the block before where blocks are linked, and frames follow each other', () => {
    const linked = frame('02000000 10 61 06000000 10 62 0200 10 62 00000000')
    const other = hex('502a4d18 01000000 ff')
    expect(String(unpack(Buffer.concat([linked, other, frame('01000080 63 00000000')]), 3))).toBe('abababbc')
  })

  it('snappy and lz4: whatever the bytes are, it ends, in an error or in bytes', () => {
    let seed = 1
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
      return (seed >>> 8) % below
    }
    for (const [codec, name] of codecs.entries()) {
      if (name !== 'snappy' && name !== 'lz4') continue
      for (const each of packed.filter((one) => one.codec === name)) {
        const good = bytesOf(each).subarray(61)
        for (let turn = 0; turn < 50; turn++) {
          const bytes = Buffer.from(good.subarray(0, random(4) === 0 ? random(good.length) : good.length))
          for (let change = random(4); change >= 0 && bytes.length > 0; change--) bytes[random(Math.min(bytes.length, 64))] = random(256)
          try {
            expect(unpack(bytes, codec).length).toBeLessThanOrEqual(mostUnpacked)
          } catch (error) {
            expect((error as Error).message).toMatch(
              new RegExp(`compressed by ${name}, (cannot be unpacked: (it|there|a length)|unpack to more)`),
            )
          }
        }
      }
    }
  })
})

describe('what would take the memory of the process', () => {
  const zeros = Buffer.alloc(mostUnpacked + 1)
  const bombs: readonly (readonly [string, () => Buffer])[] = [
    ['gzip', () => zlib.gzipSync(zeros, { level: 1 })],
    ['snappy', () => hex('ffffffff0f 00 61')],
    ['snappy', () => Buffer.concat([hex('82534e4150505900 00000001 00000001'), ...Array<Buffer>(3).fill(hex('00000005 8080801001'))])],
    ['lz4', () => bombOfLz4(mostUnpacked + 1)],
    ...(hasZstd ? [['zstd', () => (zlib as unknown as { zstdCompressSync(bytes: Buffer): Buffer }).zstdCompressSync(zeros)] as const] : []),
  ]
  it.each(bombs)('is refused: %s', (name, make) => {
    const batch = holding(anyBatch, codecs.indexOf(name), make())
    expect(batch.length).toBeLessThan(1_000_000)
    const before = process.memoryUsage().arrayBuffers
    expect(() => readBatches(part(batch), 0)).toThrow(new RegExp(`offset 7: .*by ${name}, unpack to more than ${mostUnpacked} bytes`))
    if (name === 'snappy' || name === 'lz4') expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8_000_000)
  })

  it('comes out of an answer by and by: what is beyond sixteen megabytes is asked for again', () => {
    const size = 10 * 1024 * 1024
    const record = Buffer.concat([hex('00 00 00 01'), varint(size), Buffer.alloc(size), hex('00')])
    const body = zlib.gzipSync(Buffer.concat([varint(record.length), record]), { level: 1 })
    const [single] = packed.filter(({ batch }) => batch.length < 400).map(bytesOf) as [Buffer]
    const batch = holding(single, 1, body)
    const answer = part(at(batch, 0), at(batch, 1), at(batch, 2))
    const first = readBatches(answer, 0)
    expect(first.records.map(({ offset }) => offset)).toEqual([0, 1])
    expect(first.next).toBe(2)
    expect(first.bytes).toBeGreaterThan(2 * size)
    expect(readBatches(part(at(batch, 2)), 2).records.map(({ offset }) => offset)).toEqual([2])
  })
})

/** A block of one letter that is repeated so often. */
function bombOfLz4(length: number): Buffer {
  const more = Math.ceil(length / 255)
  const block = Buffer.concat([hex('1f 61 0100'), Buffer.alloc(more, 255), hex('00 10 62')])
  const size = Buffer.alloc(4)
  size.writeUInt32LE(block.length)
  return Buffer.concat([hex('04224d18 40 40 00'), size, block, hex('00000000')])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value * 2; ; rest >>>= 7) {
    bytes.push(rest > 127 ? (rest & 127) | 128 : rest)
    if (rest <= 127) return Buffer.from(bytes)
  }
}

// An answer to a Fetch request, read without making anything of its records yet.

import { ByteReader, ByteWriter } from './bytes.ts'
import { crc32c } from './crc32c.ts'
import type { RawRecord } from './decode.ts'
import { unpack } from './unpack.ts'

/** What one partition is asked for. */
export interface FetchPart {
  readonly topic: string
  /** Of this very topic; '' where the server tells none. */
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  readonly maxBytes: number
}

/** The versions that are asked: topics by their ids, where there are any, or by name. */
export const fetchVersions = { byId: 13, byName: 11 } as const
export type FetchVersion = (typeof fetchVersions)[keyof typeof fetchVersions]

/** A Fetch request: only what is committed, without a fetch session. */
export function fetchBody(parts: readonly FetchPart[], maxWaitMs: number, maxBytes: number, version: FetchVersion): Buffer {
  const byId = version === fetchVersions.byId
  const topics = new Map<string, FetchPart[]>()
  for (const part of parts) {
    const known = topics.get(part.topic)
    if (known === undefined) topics.set(part.topic, [part])
    else known.push(part)
  }
  const writer = new ByteWriter(1024)
  const count = (length: number): void => (byId ? writer.unsigned(length + 1) : writer.int32(length))
  const end = (): void => {
    if (byId) writer.int8(0)
  }
  end()
  writer.int32(-1)
  writer.int32(maxWaitMs)
  writer.int32(1)
  writer.int32(maxBytes)
  writer.int8(1)
  writer.int32(0)
  writer.int32(-1)
  count(topics.size)
  for (const [topic, list] of topics) {
    if (byId) writer.raw(Buffer.from((list[0] as FetchPart).topicId, 'hex'))
    else writer.string(topic)
    count(list.length)
    for (const part of list) {
      writer.int32(part.partition)
      writer.int32(-1)
      writer.int64(part.offset)
      if (byId) writer.int32(-1)
      writer.int64(-1)
      writer.int32(part.maxBytes)
      end()
    }
    end()
  }
  count(0)
  if (byId) writer.compact('')
  else writer.string('')
  end()
  return writer.done()
}

/** A transaction that was given up: records of this producer from here on, up to its end, are no messages. */
interface Aborted {
  readonly producerId: number
  readonly firstOffset: number
}

/** What a partition answered. */
export interface FetchedPart {
  /** As it was asked: the topic's id, or its name. */
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: number
  readonly logStart: number
  readonly aborted: readonly Aborted[]
  /** Batches as they are stored; the last one may be cut off. */
  readonly records: Buffer
}

/** Reads an answer. */
export function readFetched(
  payload: Buffer,
  version: FetchVersion,
): { readonly errorCode: number; readonly parts: readonly FetchedPart[] } {
  const byId = version === fetchVersions.byId
  const reader = new ByteReader(payload)
  const count = (): number => (byId ? reader.unsigned() - 1 : reader.int32())
  const end = (): void => {
    if (byId) reader.tags()
  }
  end()
  reader.int32()
  const errorCode = reader.int16()
  reader.int32()
  const parts: FetchedPart[] = []
  for (let topics = count(); topics > 0; topics--) {
    const topic = byId ? reader.uuid() : reader.string()
    for (let left = count(); left > 0; left--) {
      const partition = reader.int32()
      const code = reader.int16()
      const highWatermark = reader.int64()
      reader.int64()
      const logStart = reader.int64()
      const aborted: Aborted[] = []
      for (let given = count(); given > 0; given--) {
        aborted.push({ producerId: reader.int64(), firstOffset: reader.int64() })
        end()
      }
      reader.int32()
      const length = Math.max(0, count())
      const records = payload.subarray(reader.at, reader.at + length)
      reader.at += length
      end()
      parts.push({ topic, partition, errorCode: code, highWatermark, logStart, aborted, records })
    }
    end()
  }
  return { errorCode, parts }
}

/** What comes out of the batches of a partition. */
export interface Batches {
  /** Records in order, from the offset on that was asked for. */
  readonly records: readonly RawRecord[]
  /** Where to go on. */
  readonly next: number
  /** What they hold in memory. */
  readonly bytes: number
}

/** Of an answer so many bytes are unpacked, and the batch that goes beyond; the batches behind it are asked for again. */
const enough = 16 * 1024 * 1024
const batchHead = 61

const empty: readonly RawRecord[] = Object.freeze([])

/**
 * Takes batches apart. Holes that compaction and transactions leave are passed over.
 *
 * @throws Error for a first batch that is damaged or cannot be unpacked, with its offset. One behind others ends what is given
 */
export function readBatches({ records: bytes, aborted }: FetchedPart, from: number): Batches {
  const records: RawRecord[] = []
  let next = from
  let held = 0
  const waiting = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  const givenUp = new Set<number>()
  let at = 0
  while (at + batchHead <= bytes.length && held < enough) {
    const head = new ByteReader(bytes, at)
    const base = head.int64()
    const end = head.int32() + at + 12
    if (end > bytes.length) break
    head.at = at + 16
    const magic = head.int8()
    const wrong = magic !== 2 ? oldForm(magic) : end < at + batchHead ? 'it is shorter than the head of a batch' : null
    if (wrong !== null) {
      if (next > from) break
      throw unreadable(base, null, wrong)
    }
    head.at = at + 21
    const attributes = head.int16()
    const lastOffset = base + head.int32()
    head.at += 16
    const producerId = head.int64()
    head.at += 6
    const count = head.int32()
    const control = (attributes & 0x20) !== 0
    const transactional = (attributes & 0x10) !== 0
    // Compaction leaves the head of what it took away.
    const hollow = count === 0 && end === at + batchHead
    while (waiting[0] !== undefined && waiting[0].firstOffset <= lastOffset) givenUp.add((waiting.shift() as Aborted).producerId)
    if (control) {
      // The end of a transaction; of one that was given up, what follows of its producer counts again.
      givenUp.delete(producerId)
    } else if (lastOffset >= from && !hollow && !(transactional && givenUp.has(producerId))) {
      const batch = bytes.subarray(at, end)
      const before = records.length
      try {
        held += readRecords(batch, attributes & 7, base, count, from, records)
      } catch (error) {
        records.length = before
        // What lies before it comes first. Then this batch is asked for again.
        if (next > from) break
        if (isDamaged(batch)) throw unreadable(base, null, damaged)
        throw unreadable(base, lastOffset + 1, (error as Error).message)
      }
    }
    next = Math.max(next, lastOffset + 1)
    at = end
  }
  return { records: records.length === 0 ? empty : records, next, bytes: Math.max(held, at) }
}

const damaged = 'it is damaged: its bytes are not those that its checksum (CRC-32C) was made of'

/** Costs half a microsecond for each kilobyte. */
function isDamaged(batch: Buffer): boolean {
  return batch.readUInt32BE(17) !== crc32c(batch, 21)
}

const oldForm = (magic: number): string => `it is of the old form ${magic}, which is not read. let the topic be rewritten`

function unreadable(offset: number, behind: number | null, why: string): Error {
  const to = behind === null ? 'behind it' : `to ${behind}`
  return new Error(
    `the batch at offset ${offset}: ${why}. to go on without it, set the position of the group ${to} while it has no members`,
  )
}

/** Reads the records of a batch; answers how many bytes they hold in memory. */
function readRecords(batch: Buffer, codec: number, base: number, count: number, from: number, into: RawRecord[]): number {
  // What is packed may unpack to anything if it is damaged, and unpacking costs more than looking.
  if (codec !== 0 && isDamaged(batch)) throw new Error(damaged)
  const buffer = unpack(batch.subarray(batchHead), codec)
  const reader = new ByteReader(buffer)
  for (let left = count; left > 0; left--) {
    const length = reader.varint()
    const end = reader.at + length
    reader.at += 1
    reader.varint()
    const offset = base + reader.varint()
    const keyLength = reader.varint()
    const keyAt = reader.at
    if (keyLength > 0) reader.at += keyLength
    const valueLength = reader.varint()
    const valueAt = reader.at
    if (valueLength > 0) reader.at += valueLength
    if (reader.at > end || end > buffer.length) throw new Error('its records do not end where they say')
    if (offset >= from) into.push({ buffer, offset, keyAt, keyLength, valueAt, valueLength, headersAt: reader.at, end })
    reader.at = end
  }
  if (reader.at !== buffer.length || count < 0) throw new Error(`there is more in it than its ${count} records`)
  return buffer.length
}

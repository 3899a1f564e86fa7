// A message as a record: attributes as headers ce_<name>, the content type as content-type, the application's headers, trace and
// ph-* by their own names, key and body as Kafka's own. Many records make a batch, and a batch is written once.

import { createHash } from 'node:crypto'
import { type Content, type Outgoing, wire } from '@posthorn/core/adapter'
import { ByteWriter } from './bytes.ts'
import { crc32c } from './crc32c.ts'

type Texts = Readonly<Record<string, string>>

/** Headers that are addresses and no part of the message. */
export const slotHeader = 'ph-slot'
export const keyHeader = 'ph-record-key'
export const bodyHeader = 'ph-record-body'

// ── one message ────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the messages of one producer begin with, and how many headers that is. */
interface Head {
  readonly bytes: Buffer
  readonly count: number
}
const heads = new WeakMap<Texts, Head>()
let lastAttributes: Texts | null = null
let lastHead: Head | null = null

function headOf(attributes: Texts): Head {
  if (attributes === lastAttributes && lastHead !== null) return lastHead
  let head = heads.get(attributes)
  if (head === undefined) {
    const writer = new ByteWriter(256)
    let count = 1
    writer.varText('ce_specversion')
    writer.varText(attributes.specversion ?? '1.0')
    for (const name in attributes) {
      if (name === 'specversion') continue
      writer.varText(name === 'datacontenttype' ? 'content-type' : `ce_${name}`)
      writer.varText(attributes[name] ?? '')
      count++
    }
    // The id comes next, always: its name is part of what is the same.
    writer.varText('ce_id')
    head = { bytes: writer.done(), count }
    heads.set(attributes, head)
  }
  lastAttributes = attributes
  lastHead = head
  return head
}

let lastTime = Number.NaN
let timeText: Buffer = Buffer.alloc(0)
// Messages of one millisecond share it.
function timeOf(ms: number): Buffer {
  if (ms === lastTime) return timeText
  const writer = new ByteWriter(64)
  writer.varText('ce_time')
  writer.varText(wire.formatTime(ms))
  timeText = writer.done()
  lastTime = ms
  return timeText
}

function count(texts: Texts | null): number {
  let found = 0
  if (texts !== null) for (const _ in texts) found++
  return found
}
function writeTexts(writer: ByteWriter, texts: Texts | null): void {
  if (texts === null) return
  for (const name in texts) {
    writer.varText(name)
    writer.varText(texts[name] ?? '')
  }
}

function writeHeaders(writer: ByteWriter, content: Content, more: Texts | null): void {
  const head = headOf(content.attributes)
  const { key, attributes } = content
  const keyed = key !== null && attributes.partitionkey !== key
  const own = head.count + 1 + (content.time === null ? 0 : 1) + (content.expiresAt === null ? 0 : 1) + (keyed ? 1 : 0)
  writer.varint(own + count(content.headers) + count(content.transport) + count(more))
  writer.raw(head.bytes)
  writer.varText(content.id)
  if (content.time !== null) writer.raw(timeOf(content.time))
  if (content.expiresAt !== null) {
    writer.varText('ce_expirytime')
    writer.varText(wire.formatTime(content.expiresAt))
  }
  if (keyed) {
    writer.varText('ce_partitionkey')
    writer.varText(key)
  }
  writeTexts(writer, content.headers)
  writeTexts(writer, content.transport)
  writeTexts(writer, more)
}

const oneByte = Buffer.from([0])

/** A dead letter: its record key is its slot and what it is, so that removing it removes nothing that came for the slot later. */
function writeDead(writer: ByteWriter, message: Outgoing): void {
  const { slot, body, key } = message
  const marks: Record<string, string> = { [slotHeader]: slot ?? message.id }
  if (key !== null) marks[keyHeader] = key
  // An empty record would remove itself.
  if (body === null) marks[bodyHeader] = 'null'
  else if (body.length === 0) marks[bodyHeader] = 'empty'
  const value = body === null || body.length === 0 ? oneByte : body
  const headers = new ByteWriter(1024)
  writeHeaders(headers, message, marks)
  const digest = createHash('sha256').update(headers.done()).update(value).digest('base64url')
  writer.varText(`${slot ?? message.id}/${digest}`)
  writer.varint(value.length)
  writer.raw(value)
  writer.raw(headers.done())
}

/** Writes one record of a batch. */
export function writeRecord(writer: ByteWriter, message: Outgoing, index: number): void {
  // Two bytes are the length of nearly every record.
  writer.need(64)
  const start = writer.at
  writer.at += 2
  writer.int8(0)
  writer.varint(0)
  writer.varint(index)
  if (message.place.role === 'dead') writeDead(writer, message)
  else {
    if (message.key === null) writer.varint(-1)
    else writer.varText(message.key)
    if (message.body === null) writer.varint(-1)
    else {
      writer.varint(message.body.length)
      writer.raw(message.body)
    }
    writeHeaders(writer, message, null)
  }
  setLength(writer, start)
}

/** Puts the length before a record, whose first two bytes were left for it. */
function setLength(writer: ByteWriter, start: number): void {
  const length = writer.at - start - 2
  const size = length < 64 ? 1 : length < 8192 ? 2 : length < 1_048_576 ? 3 : length < 134_217_728 ? 4 : 5
  if (size !== 2) {
    writer.need(size)
    writer.buffer.copyWithin(start + size, start + 2, writer.at)
  }
  writer.at = start
  writer.varint(length)
  writer.at = start + size + length
}

/** A record that removes the one with this key. */
export function writeTombstone(writer: ByteWriter, key: string, index: number): void {
  writer.need(64)
  const start = writer.at
  writer.at += 2
  writer.int8(0)
  writer.varint(0)
  writer.varint(index)
  writer.varText(key)
  writer.varint(-1)
  writer.varint(0)
  setLength(writer, start)
}

/** Bytes of a message as its limit counts them: body and headers. */
export function bytesOf(content: Content): number {
  return (content.body?.length ?? 0) + bytesOfTexts(content.headers) + bytesOfTexts(content.transport)
}
function bytesOfTexts(texts: Texts | null): number {
  let bytes = 0
  for (const name in texts) bytes += Buffer.byteLength(name) + Buffer.byteLength(texts?.[name] ?? '')
  return bytes
}

// ── batches and requests ───────────────────────────────────────────────────────────────────────────────────────────

/** Who writes, and the number of the first record; null: not in a transaction. */
export interface Sequence {
  readonly producerId: number
  readonly producerEpoch: number
  readonly first: number
}

/** What one partition gets of one request. */
export interface Portion {
  readonly partition: number
  readonly count: number
  readonly write: (writer: ByteWriter, index: number) => void
  readonly sequence: Sequence | null
}
export interface ProduceBody {
  readonly topics: ReadonlyMap<string, readonly Portion[]>
  readonly transactionalId: string | null
  readonly timeoutMs: number
  readonly now: number
}

/** A Produce request of version 7: every portion is one batch, confirmed by all replicas in sync. */
export function produceBody({ topics, transactionalId, timeoutMs, now }: ProduceBody): Buffer {
  const writer = new ByteWriter(65_536)
  writer.string(transactionalId)
  writer.int16(-1)
  writer.int32(timeoutMs)
  writer.int32(topics.size)
  for (const [topic, portions] of topics) {
    writer.string(topic)
    writer.int32(portions.length)
    for (const portion of portions) writeBatch(writer, portion, now, transactionalId !== null)
  }
  return writer.done()
}

const batchHead = 61

function writeBatch(
  writer: ByteWriter,
  { partition, count: records, write, sequence }: Portion,
  now: number,
  transactional: boolean,
): void {
  writer.int32(partition)
  const size = writer.at
  writer.int32(0)
  const start = writer.at
  writer.need(batchHead)
  writer.int64(0)
  writer.int32(0)
  writer.int32(-1)
  writer.int8(2)
  writer.int32(0)
  const checked = writer.at
  writer.int16(transactional ? 0x10 : 0)
  writer.int32(records - 1)
  writer.int64(now)
  writer.int64(now)
  writer.int64(sequence?.producerId ?? -1)
  writer.int16(sequence?.producerEpoch ?? -1)
  writer.int32(sequence?.first ?? -1)
  writer.int32(records)
  for (let index = 0; index < records; index++) write(writer, index)
  const end = writer.at
  writer.buffer.writeInt32BE(end - start, size)
  writer.buffer.writeInt32BE(end - start - 12, start + 8)
  writer.buffer.writeUInt32BE(crc32c(writer.buffer, checked, end), checked - 4)
}

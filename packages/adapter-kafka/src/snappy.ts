// Snappy as it comes in record batches: one block (Go, librdkafka), or the blocks that Java and Python write behind a head of their own.

import { copyBack, copyOver } from './copy-back.ts'

interface Block {
  /** Of the first byte behind its length. */
  readonly from: number
  readonly to: number
  readonly length: number
}

/** The head of snappy-java: its name, its version, and the oldest version that reads it. */
const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const headLength = head.length + 8

/** Unpacks. `room` is asked for a buffer of exactly the length that the blocks name, before anything is written. @throws Error for what is no snappy */
export function unpackSnappy(bytes: Buffer, room: (length: number) => Buffer): Buffer {
  const blocks = bytes.subarray(0, head.length).equals(head) ? framed(bytes) : [blockAt(bytes, 0, bytes.length)]
  let whole = 0
  for (const { length } of blocks) whole += length
  const plain = room(whole)
  let at = 0
  for (const block of blocks) {
    unpackBlock(bytes, block, plain, at)
    at += block.length
  }
  return plain
}

function framed(bytes: Buffer): readonly Block[] {
  const blocks: Block[] = []
  let at = headLength
  while (at < bytes.length) {
    if (at + 4 > bytes.length) throw cutOff()
    const from = at + 4
    at = from + bytes.readUInt32BE(at)
    blocks.push(blockAt(bytes, from, at))
  }
  if (at > bytes.length) throw cutOff()
  return blocks
}

/** A block begins with the length of what it unpacks to, seven bits a byte. */
function blockAt(bytes: Buffer, start: number, to: number): Block {
  if (to > bytes.length) throw cutOff()
  let length = 0
  let from = start
  for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
    if (from >= to) throw cutOff()
    const byte = bytes[from++] as number
    length += (byte & 0x7f) * scale
    if (byte < 0x80) return { from, to, length }
  }
  throw new Error('a length does not end')
}

function unpackBlock(bytes: Buffer, { from, to, length: whole }: Block, plain: Buffer, start: number): void {
  const end = start + whole
  let at = from
  let out = start
  while (at < to) {
    const tag = bytes[at++] as number
    const kind = tag & 3
    let length = (tag >> 2) + 1
    if (kind === 0) {
      if (length > 60) {
        const size = length - 60
        if (at + size > to) throw cutOff()
        length = bytes.readUIntLE(at, size) + 1
        at += size
      }
      if (at + length > to) throw cutOff()
      if (out + length > end) throw tooLong()
      copyOver(bytes, at, length, plain, out)
      at += length
    } else {
      const size = kind === 3 ? 4 : kind
      if (at + size > to) throw cutOff()
      let distance: number
      if (kind === 1) {
        length = ((tag >> 2) & 7) + 4
        distance = ((tag >> 5) << 8) | (bytes[at] as number)
      } else distance = bytes.readUIntLE(at, size)
      at += size
      if (distance === 0 || distance > out - start) throw new Error('it repeats what is not there')
      if (out + length > end) throw tooLong()
      copyBack(plain, out, distance, length)
    }
    out += length
  }
  if (out !== end) throw new Error(`it ends after ${out - start} of ${whole} bytes`)
}

const cutOff = (): Error => new Error('it is cut off')
const tooLong = (): Error => new Error('there is more in it than it says')

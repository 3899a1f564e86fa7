// Frames of lz4, as they come in record batches. Their own checksums are passed over: the batch around them has one, and it was looked at.

import { copyBack, copyOver } from './copy-back.ts'

interface Block {
  readonly from: number
  readonly to: number
  /** What it unpacks to. */
  readonly length: number
  /** Not packed, as packing would have made it longer. */
  readonly stored: boolean
  /** It may repeat what blocks before it unpacked to, in this frame. */
  readonly linked: boolean
  /** The first one of its frame. */
  readonly first: boolean
}

const magic = 0x184d2204
/** Sixteen numbers, whose frames are for whoever wants them. */
const skipped = 0x184d2a50

/** Unpacks. `room` is asked for a buffer of exactly the length of all, before anything is written. @throws Error for what is no lz4 */
export function unpackLz4(bytes: Buffer, room: (length: number) => Buffer): Buffer {
  const blocks: Block[] = []
  for (let at = 0; at < bytes.length; ) at = readFrame(bytes, at, blocks)
  let whole = 0
  for (const { length } of blocks) whole += length
  const plain = room(whole)
  let at = 0
  let frame = 0
  for (const block of blocks) {
    if (block.first) frame = at
    if (block.stored) copyOver(bytes, block.from, block.length, plain, at)
    else unpackBlock(bytes, block, plain, at, block.linked ? frame : at)
    at += block.length
  }
  return plain
}

/** Finds the blocks of a frame; answers where it ends. */
function readFrame(bytes: Buffer, start: number, blocks: Block[]): number {
  const kind = uint32(bytes, start)
  if ((kind & 0xfffffff0) >>> 0 === skipped) {
    const end = start + 8 + uint32(bytes, start + 4)
    if (end > bytes.length) throw cutOff()
    return end
  }
  if (kind !== magic) throw new Error('it does not begin as a frame does')
  if (start + 7 > bytes.length) throw cutOff()
  const flags = bytes[start + 4] as number
  if (flags >> 6 !== 1) throw new Error(`it is a frame of version ${flags >> 6}`)
  if ((flags & 1) !== 0) throw new Error('it was packed with a dictionary')
  const linked = (flags & 0x20) === 0
  const behindBlock = (flags & 0x10) === 0 ? 0 : 4
  const behindAll = (flags & 4) === 0 ? 0 : 4
  const sized = (flags & 8) !== 0
  let at = start + (sized ? 15 : 7)
  let length = 0
  for (let first = true; ; first = false) {
    const size = uint32(bytes, at)
    at += 4
    if (size === 0) break
    const stored = size >= 0x8000_0000
    const from = at
    at += size % 0x8000_0000
    if (at + behindBlock > bytes.length) throw cutOff()
    const unpacked = stored ? at - from : lengthOf(bytes, from, at)
    blocks.push({ from, to: at, length: unpacked, stored, linked, first })
    length += unpacked
    at += behindBlock
  }
  if (at + behindAll > bytes.length) throw cutOff()
  if (sized && (uint32(bytes, start + 6) !== length % 2 ** 32 || uint32(bytes, start + 10) !== Math.floor(length / 2 ** 32)))
    throw new Error('there is not as much in it as it says')
  return at + behindAll
}

/** What a block unpacks to, by its lengths alone. */
function lengthOf(bytes: Buffer, from: number, to: number): number {
  let length = 0
  for (let at = from; ; ) {
    if (at >= to) throw cutOff()
    const token = bytes[at++] as number
    let literals = token >> 4
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) {
        if (at >= to) throw cutOff()
        more = bytes[at++] as number
      }
    }
    at += literals
    length += literals
    // Only the last piece has nothing to repeat.
    if (at === to) return length
    at += 2
    if (at >= to) throw cutOff()
    let repeated = token & 15
    if (repeated === 15) {
      for (let more = 255; more === 255; repeated += more) {
        if (at >= to) throw cutOff()
        more = bytes[at++] as number
      }
    }
    length += repeated + 4
  }
}

/** Unpacks a block whose lengths were looked at. It may repeat what lies from `reach` on. */
function unpackBlock(bytes: Buffer, { from, to }: Block, plain: Buffer, start: number, reach: number): void {
  let out = start
  for (let at = from; ; ) {
    const token = bytes[at++] as number
    let literals = token >> 4
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) more = bytes[at++] as number
    }
    copyOver(bytes, at, literals, plain, out)
    at += literals
    out += literals
    if (at === to) return
    const distance = (bytes[at] as number) | ((bytes[at + 1] as number) << 8)
    at += 2
    let repeated = token & 15
    if (repeated === 15) {
      for (let more = 255; more === 255; repeated += more) more = bytes[at++] as number
    }
    repeated += 4
    if (distance === 0 || distance > out - reach) throw new Error('it repeats what is not there')
    copyBack(plain, out, distance, repeated)
    out += repeated
  }
}

function uint32(bytes: Buffer, at: number): number {
  if (at + 4 > bytes.length) throw cutOff()
  return bytes.readUInt32LE(at)
}

const cutOff = (): Error => new Error('it is cut off')

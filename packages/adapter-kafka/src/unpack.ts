// What producers compress batches by, and how far a batch may unfold.

import * as zlib from 'node:zlib'
import { registeredCodec } from './kafkajs.ts'
import { unpackLz4 } from './lz4.ts'
import { unpackSnappy } from './snappy.ts'

/** A batch that unpacks to more bytes is refused: a few kilobytes may otherwise take the memory of the process. */
export const mostUnpacked: number = 64 * 1024 * 1024

type Unpack = (bytes: Buffer) => Buffer
/** Names by the numbers in the attributes of a batch. */
const names = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const { zstdDecompressSync } = zlib as { readonly zstdDecompressSync?: (bytes: Buffer, options: zlib.ZlibOptions) => Buffer }

/** What node:zlib says to what does not fit, and we with it. */
const doesNotFit = 'ERR_BUFFER_TOO_LARGE'

/** Unpacks the records of a batch; `codec` is its number. @throws Error for what cannot be unpacked, saying why */
export function unpack(bytes: Buffer, codec: number): Buffer {
  if (codec === 0) return bytes
  const name = names[codec] ?? `codec ${codec}`
  const by = unpackerOf(codec)
  if (by === undefined) throw new Error(`its records are compressed by ${name}, which is not read here. ${ways(codec)}`)
  try {
    const plain = by(bytes)
    // A codec of the application's own was not told how much there may be.
    return plain.length > mostUnpacked ? room(plain.length) : plain
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error)
    throw error instanceof Error && 'code' in error && error.code === doesNotFit
      ? new Error(`its records, compressed by ${name}, unpack to more than ${mostUnpacked} bytes. let its producers write smaller batches`)
      : new Error(`its records, compressed by ${name}, cannot be unpacked: ${says}`)
  }
}

function unpackerOf(codec: number): Unpack | undefined {
  if (codec === 1) return (bytes) => zlib.gunzipSync(bytes, { maxOutputLength: mostUnpacked })
  if (codec === 2) return (bytes) => unpackSnappy(bytes, room)
  if (codec === 3) return (bytes) => unpackLz4(bytes, room)
  if (codec === 4 && zstdDecompressSync !== undefined) return (bytes) => zstdDecompressSync(bytes, { maxOutputLength: mostUnpacked })
  return registeredCodec(codec)
}

function ways(codec: number): string {
  const others = 'let its producers compress by gzip, snappy or lz4'
  return codec !== 4
    ? others
    : `run on Node 22.15 or newer, ${others}, or give kafkajs a codec that answers at once: CompressionCodecs[CompressionTypes.ZSTD]`
}

function room(length: number): Buffer {
  if (length > mostUnpacked) throw Object.assign(new RangeError(`${length} bytes`), { code: doesNotFit })
  return Buffer.allocUnsafeSlow(length)
}

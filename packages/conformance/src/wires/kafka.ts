// Kafka: every answer carries the number of its request, so what is withheld vanishes alone.

import type { Operation } from '../harness.ts'
import type { Frame, WireReader } from './wire.ts'

const operations: Readonly<Record<number, Operation>> = {
  0: 'publish',
  1: 'read',
  2: 'inspect',
  3: 'inspect',
  8: 'settle',
  9: 'inspect',
  10: 'inspect',
  11: 'subscribe',
  12: 'renew',
  13: 'leave',
  14: 'subscribe',
  15: 'inspect',
  17: 'connect',
  18: 'renew',
  19: 'declare',
  22: 'declare',
  24: 'settle',
  25: 'settle',
  26: 'settle',
  28: 'settle',
  36: 'connect',
}
const produce = 0
const versions = 18
const mostBytes = 256 * 1024 * 1024

/** Cuts a stream where its frames end: each begins with its length. */
class Cutter {
  #parts: Uint8Array[] = []
  #length = 0

  add(chunk: Uint8Array): readonly Buffer[] {
    this.#parts.push(chunk)
    this.#length += chunk.length
    const frames: Buffer[] = []
    for (;;) {
      if (this.#length < 4) return frames
      if ((this.#parts[0] as Uint8Array).length < 4) this.#join()
      const first = this.#parts[0] as Uint8Array
      const size = Buffer.from(first.buffer, first.byteOffset, first.length).readInt32BE(0)
      if (size < 4 || size > mostBytes) throw new Error(`a frame of ${size} bytes is none of Kafka's`)
      if (this.#length < 4 + size) return frames
      const all = this.#join()
      frames.push(Buffer.from(all.buffer, all.byteOffset, 4 + size))
      const rest = all.subarray(4 + size)
      this.#parts = rest.length === 0 ? [] : [rest]
      this.#length = rest.length
    }
  }

  #join(): Uint8Array {
    if (this.#parts.length > 1) this.#parts = [Buffer.concat(this.#parts)]
    return this.#parts[0] as Uint8Array
  }
}

/** Does a Produce request begin with a dead letter's tombstone: a record without a value? `at` is behind its transactional id. */
function removes(bytes: Buffer, at: number): boolean {
  // Acknowledgements, time limit, the number of topics.
  const name = at + 10
  const length = bytes.readInt16BE(name)
  if (!bytes.toString('latin1', name + 2, name + 2 + length).endsWith('__dead')) return false
  // The number of partitions, the partition, the size, the head of the batch.
  let next = name + 2 + length + 12 + 61
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[next++] ?? 0
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
  }
  varint()
  next++
  varint()
  varint()
  const key = varint()
  next += Math.max(0, key)
  return varint() < 0
}

class KafkaReader implements WireReader {
  readonly ordered = false
  readonly #fromClient = new Cutter()
  readonly #fromServer = new Cutter()
  readonly #open = new Map<number, Operation | undefined>()
  #asked = 0

  up(chunk: Uint8Array): readonly Frame[] {
    return this.#fromClient.add(chunk).map((bytes) => {
      const operation = this.#operationOf(bytes)
      this.#open.set(bytes.readInt32BE(8), operation)
      return { bytes, operation, requests: 1 }
    })
  }

  down(chunk: Uint8Array, withholds: (operation: Operation) => boolean): readonly Frame[] {
    return this.#fromServer.add(chunk).map((bytes) => {
      const id = bytes.readInt32BE(4)
      const operation = this.#open.get(id)
      this.#open.delete(id)
      const lost = operation !== undefined && withholds(operation) ? 1 : undefined
      return { bytes, operation, requests: 1, lost }
    })
  }

  #operationOf(bytes: Buffer): Operation | undefined {
    const api = bytes.readInt16BE(4)
    this.#asked++
    // The first thing that a client asks is what the server speaks.
    if (api === versions) return this.#asked === 1 ? 'connect' : 'renew'
    if (api !== produce) return operations[api]
    const transaction = 14 + Math.max(0, bytes.readInt16BE(12))
    // What is written in a transaction is written by settling.
    if (bytes.readInt16BE(transaction) >= 0) return 'settle'
    return removes(bytes, transaction + 2) ? 'remove' : 'publish'
  }
}

/** The proxy's way to make a reader for one connection. */
export function createReader(): WireReader {
  return new KafkaReader()
}

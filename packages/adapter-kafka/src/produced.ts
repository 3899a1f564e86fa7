// An answer to a Produce request: only what it names with code 0 and an offset is stored.

import { ByteReader } from './bytes.ts'

/** How a partition's portion ended. */
export interface Produced {
  readonly errorCode: number
  readonly offset: number
}

/** By topic and partition. What is missing in it was not answered for. */
export function readProduced(payload: Buffer): ReadonlyMap<string, ReadonlyMap<number, Produced>> {
  const reader = new ByteReader(payload)
  const found = new Map<string, Map<number, Produced>>()
  for (let topics = reader.int32(); topics > 0; topics--) {
    const topic = reader.string()
    const partitions = found.get(topic) ?? new Map<number, Produced>()
    found.set(topic, partitions)
    for (let count = reader.int32(); count > 0; count--) {
      const partition = reader.int32()
      const errorCode = reader.int16()
      const offset = reader.int64()
      reader.at += 16
      partitions.set(partition, { errorCode, offset })
    }
  }
  return found
}

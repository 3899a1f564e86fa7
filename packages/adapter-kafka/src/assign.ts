// Who gets which partition. The form and the name are those of kafkajs, so that its members and ours can be in one group while a
// service moves; whoever the server makes the leader shares for all.

import { ByteReader, ByteWriter } from './bytes.ts'

/** What a member says of itself: what it wants, and for people who it is. */
export function writeMetadata(topics: readonly string[], instance: string): Buffer {
  const writer = new ByteWriter(256)
  writer.int16(1)
  writer.int32(topics.length)
  for (const topic of topics) writer.string(topic)
  const name = Buffer.from(instance)
  writer.int32(name.length)
  writer.raw(name)
  return writer.done()
}

function readTopics(metadata: Buffer): readonly string[] {
  if (metadata.length < 6) return []
  const reader = new ByteReader(metadata)
  reader.int16()
  const topics: string[] = []
  for (let left = reader.int32(); left > 0; left--) topics.push(reader.string())
  return topics
}

function writeAssignment(topics: ReadonlyMap<string, readonly number[]>): Buffer {
  const writer = new ByteWriter(256)
  writer.int16(1)
  writer.int32(topics.size)
  for (const [topic, partitions] of topics) {
    writer.string(topic)
    writer.int32(partitions.length)
    for (const partition of partitions) writer.int32(partition)
  }
  writer.int32(0)
  return writer.done()
}

/** What a member was given. */
export function readAssignment(assignment: Buffer): ReadonlyMap<string, readonly number[]> {
  const topics = new Map<string, readonly number[]>()
  if (assignment.length < 6) return topics
  const reader = new ByteReader(assignment)
  reader.int16()
  for (let left = reader.int32(); left > 0; left--) {
    const topic = reader.string()
    const partitions: number[] = []
    for (let count = reader.int32(); count > 0; count--) partitions.push(reader.int32())
    topics.set(topic, partitions)
  }
  return topics
}

/** Shares all partitions in turn among those who asked for their topic. */
export function assignPartitions(
  members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[],
  counts: ReadonlyMap<string, number>,
): readonly { readonly memberId: string; readonly memberAssignment: Buffer }[] {
  const sorted = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
  const asks = new Map(sorted.map(({ memberId, memberMetadata }) => [memberId, new Set(readTopics(memberMetadata))]))
  const given = new Map(sorted.map(({ memberId }) => [memberId, new Map<string, number[]>()]))
  let turn = 0
  for (const [topic, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const takers = sorted.filter(({ memberId }) => asks.get(memberId)?.has(topic) === true)
    if (takers.length === 0) continue
    for (let partition = 0; partition < count; partition++) {
      const { memberId } = takers[turn++ % takers.length] as { memberId: string }
      const topics = given.get(memberId) as Map<string, number[]>
      const list = topics.get(topic) ?? []
      list.push(partition)
      topics.set(topic, list)
    }
  }
  return sorted.map(({ memberId }) => ({ memberId, memberAssignment: writeAssignment(given.get(memberId) ?? new Map()) }))
}

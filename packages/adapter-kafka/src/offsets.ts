// Positions at the server: where a log begins and ends, where a group is, and the first position of a group.

import type { Start } from '@posthorn/core/adapter'
import type { Cluster } from './cluster.ts'
import { codeOf, fault, serverFault } from './explain.ts'
import { offsetFetchBody, readOffsets } from './offset-fetch.ts'
import { type Place, readBits } from './progress.ts'
import { openTransactions } from './transactions.ts'

/** Positions by partition; a partition without one is missing. */
export type Offsets = ReadonlyMap<number, number>

const latest = -1
const earliest = -2
/** Errors that go away when the cluster is looked at again. */
const moving = new Set([3, 5, 6, 9, 56, 72, 74, 75])

/** Where the partitions of a topic begin, end, or are at a time. @throws what the server says */
export async function offsetsAt(cluster: Cluster, topic: string, start: Start): Promise<Offsets> {
  const time = start === 'latest' ? latest : start === 'earliest' ? earliest : Math.ceil(start.at)
  for (let tries = 0; ; tries++) {
    try {
      const found = await ask(cluster, topic, time)
      if (time < 0) return found
      // After the last message there is nothing to find: the end it is.
      const ends = [...found.values()].includes(-1) ? await ask(cluster, topic, latest) : found
      return new Map([...found].map(([partition, offset]) => [partition, offset < 0 ? (ends.get(partition) ?? 0) : offset]))
    } catch (error) {
      const code = codeOf(error)
      if (code === null || !moving.has(code) || tries >= 20) throw error
      await cluster.pause(50 + 50 * tries)
      await cluster.look(topic)
    }
  }
}

async function ask(cluster: Cluster, topic: string, time: number): Promise<Map<number, number>> {
  const meta = cluster.known(topic) ?? (await cluster.look(topic))
  if (meta === null) throw serverFault(3, `looking at topic "${topic}"`)
  const byNode = new Map<number, number[]>()
  meta.leaders.forEach((leader, partition) => {
    if (leader === null) throw serverFault(5, `looking at topic "${topic}"`)
    const known = byNode.get(leader)
    if (known === undefined) byNode.set(leader, [partition])
    else known.push(partition)
  })
  const found = new Map<number, number>()
  await Promise.all(
    [...byNode].map(async ([node, partitions]) => {
      const connection = await cluster.connection(node, 'main')
      const asked = partitions.map((partition) => ({ partition, timestamp: String(time) }))
      const reply = await connection.request('ListOffsets', { isolationLevel: 1, topics: [{ topic, partitions: asked }] })
      for (const { partitions: answers } of reply.responses) {
        for (const { partition, errorCode, offset } of answers) {
          if (errorCode !== 0) throw serverFault(errorCode, `looking at topic "${topic}"`)
          found.set(partition, Number(offset))
        }
      }
    }),
  )
  return found
}

/** Errors of a coordinator that goes away or comes. */
const coordinating = new Set([14, 15, 16])
/** A transaction is just being ended. */
const unstable = 88

/** Calls a coordinator again while it moves. @throws what the server says otherwise */
export async function patiently<T>(cluster: Cluster, key: string, work: () => Promise<T>): Promise<T> {
  for (let tries = 0, waits = 0; ; ) {
    try {
      return await work()
    } catch (error) {
      const code = codeOf(error)
      if (cluster.closed) throw error
      if (code === unstable && waits++ < 1000) await cluster.pause(waits < 20 ? 3 : 30)
      else if (code !== null && coordinating.has(code) && tries++ < 30) {
        cluster.forgetCoordinator(key)
        await cluster.pause(50 + 20 * tries)
      } else throw error
    }
  }
}

/** Where a group is, by partition. @throws what the server says */
export function committedOf(cluster: Cluster, groupId: string, topic: string, count: number): Promise<ReadonlyMap<number, Place>> {
  return patiently(cluster, groupId, async () => {
    const connection = await cluster.coordinator(groupId, 'group', 'main')
    const body = offsetFetchBody(groupId, topic, count)
    const { errorCode, offsets } = readOffsets(await connection.raw({ api: 'OffsetFetch', version: 7, body }))
    if (errorCode !== 0) throw serverFault(errorCode, `reading the positions of group "${groupId}"`)
    const found = new Map<number, Place>()
    for (const { partition, offset, metadata, errorCode: wrong } of offsets) {
      if (wrong !== 0) throw serverFault(wrong, `reading the positions of group "${groupId}"`)
      if (offset >= 0) found.set(partition, { offset, metadata })
    }
    return found
  })
}

/** Another one began with the same transactional id, or is just ending. */
const contended = new Set([47, 48, 49, 51, 90])

/** What was there, and whether the group was made by this call. */
export interface GroupStart {
  readonly created: boolean
  /** It had positions, and some partitions had none. */
  readonly completed: boolean
}

/**
 * Gives a group its first positions where it has none. Two who do it at once do it one after the other: each writes in a transaction
 * of the same id, and whoever comes later ends the earlier one's before it looks.
 */
export async function startGroup(cluster: Cluster, groupId: string, topic: string, count: number, start: Start): Promise<GroupStart> {
  const before = await committedOf(cluster, groupId, topic, count)
  if (before.size === count) return { created: false, completed: false }
  for (let tries = 0; ; tries++) {
    try {
      return await startInTransaction(cluster, groupId, topic, count, start)
    } catch (error) {
      const code = codeOf(error)
      if (code === 53) return await startPlainly(cluster, groupId, topic, count, start)
      if (code === null || !contended.has(code)) throw error
      if (tries >= 40) throw fault('UNAVAILABLE', `kafka: too many give group "${groupId}" its first positions at once`, 'failed')
      // Somebody else is at it: most likely there is nothing left to do in a moment, and whoever began is not to be disturbed.
      await cluster.pause(30 + cluster.context.random() * 60 * Math.min(10, 1 + tries))
      if ((await committedOf(cluster, groupId, topic, count)).size === count) return { created: false, completed: false }
    }
  }
}

async function missing(
  cluster: Cluster,
  groupId: string,
  topic: string,
  count: number,
  start: Start,
): Promise<{ readonly wanted: ReadonlyMap<number, Place>; readonly had: number }> {
  const had = await committedOf(cluster, groupId, topic, count)
  if (had.size === count) return { wanted: new Map(), had: count }
  // A group that was there has lost what it lacks: from the oldest on, nothing is passed over.
  const starts = await offsetsAt(cluster, topic, had.size === 0 ? start : 'earliest')
  const lacking = [...starts].filter(([partition]) => !had.has(partition))
  return { wanted: new Map(lacking.map(([partition, offset]) => [partition, { offset, metadata: '' }])), had: had.size }
}

async function startInTransaction(cluster: Cluster, groupId: string, topic: string, count: number, start: Start): Promise<GroupStart> {
  const transactions = await openTransactions(cluster, `${groupId}__declare`)
  const { wanted, had } = await missing(cluster, groupId, topic, count, start)
  if (wanted.size === 0) return { created: false, completed: false }
  await transactions.run(new Map(), { groupId, topics: new Map([[topic, wanted]]) })
  // Its end reaches the group a moment after it is answered: until then nobody sees the positions.
  await committedOf(cluster, groupId, topic, count)
  return { created: had === 0, completed: had > 0 }
}

// Without the right to the transactional id: the server takes it only while the group has no members, and members see to themselves.
async function startPlainly(cluster: Cluster, groupId: string, topic: string, count: number, start: Start): Promise<GroupStart> {
  const { wanted, had } = await missing(cluster, groupId, topic, count, start)
  if (wanted.size === 0) return { created: false, completed: false }
  const code = await commit(cluster, 'main', { groupId, generation: -1, memberId: '' }, new Map([[topic, wanted]]))
  if (code !== 0 && code !== 25 && code !== 22 && code !== 27) throw serverFault(code, `giving group "${groupId}" its first positions`)
  return { created: code === 0 && had === 0, completed: had > 0 }
}

/** Positions by topic at the server and partition. */
export type Places = ReadonlyMap<string, ReadonlyMap<number, Place>>

/** As requests want them. */
export function writtenPlaces(places: Places): readonly {
  readonly topic: string
  readonly partitions: readonly { readonly partition: number; readonly offset: string; readonly metadata: string }[]
}[] {
  return [...places].map(([topic, partitions]) => ({
    topic,
    partitions: [...partitions].map(([partition, { offset, metadata }]) => ({ partition, offset: String(offset), metadata })),
  }))
}

/** In whose name positions are written. */
export interface Committer {
  readonly groupId: string
  readonly generation: number
  readonly memberId: string
}

/** Writes positions; answers the first error code, 0 for none. Rejects when the connection ends. */
export async function commit(
  cluster: Cluster,
  purpose: string,
  { groupId, generation, memberId }: Committer,
  places: Places,
): Promise<number> {
  const connection = await cluster.coordinator(groupId, 'group', purpose)
  const reply = await connection.request('OffsetCommit', {
    groupId,
    groupGenerationId: generation,
    memberId,
    topics: writtenPlaces(places),
  })
  let worst = 0
  for (const { partitions } of reply.responses) for (const { errorCode } of partitions) if (errorCode !== 0) worst = errorCode
  if (coordinating.has(worst)) cluster.forgetCoordinator(groupId)
  return worst
}

/** How far a group is behind, as the server counts it. */
export async function lagOf(
  cluster: Cluster,
  groupId: string,
  topic: string,
): Promise<{ readonly backlog: number; readonly unsettled: null; readonly members: number }> {
  const meta = await cluster.look(topic)
  if (meta === null) throw fault('NOT_FOUND', `kafka: there is no topic "${topic}"`, 'failed')
  const count = meta.leaders.length
  const committed = await committedOf(cluster, groupId, topic, count)
  if (committed.size === 0) throw fault('NOT_FOUND', `kafka: topic "${topic}" has no group with the id "${groupId}"`, 'failed')
  const [starts, ends] = await Promise.all([offsetsAt(cluster, topic, 'earliest'), offsetsAt(cluster, topic, 'latest')])
  let backlog = 0
  for (const [partition, end] of ends) {
    const first = starts.get(partition) ?? 0
    const place = committed.get(partition)
    const at = Math.max(first, place?.offset ?? first)
    const ahead = place === undefined ? 0 : [...readBits(place)].filter((offset) => offset >= at && offset < end).length
    backlog += Math.max(0, end - at - ahead)
  }
  const members = await patiently(cluster, groupId, async () => {
    const connection = await cluster.coordinator(groupId, 'group', 'main')
    const { groups } = await connection.request('DescribeGroups', { groupIds: [groupId] })
    const [group] = groups
    if (group === undefined || group.errorCode !== 0) throw serverFault(group?.errorCode ?? 15, `looking at group "${groupId}"`)
    return group.members.length
  })
  return { backlog, unsettled: null, members }
}

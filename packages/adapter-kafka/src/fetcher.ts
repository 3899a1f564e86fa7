// Fetching for all partitions of a subscription: one question per node that waits at the server, and beside it a second one for
// partitions that became hungry meanwhile. A partition that is full is left out, and so holds up nobody.

import type { Connection } from './client.ts'
import type { Cluster } from './cluster.ts'
import type { RawRecord } from './decode.ts'
import { serverFault } from './explain.ts'
import { fetchBody, fetchVersions, readBatches, readFetched } from './fetched.ts'

/** A partition as the fetcher sees it. */
export interface Reader {
  /** The topic at the server. */
  readonly source: string
  /** Of the very topic whose position this is; '' where the server tells none. */
  readonly topicId: string
  readonly partition: number
  readonly position: number
  /** Bytes that may be fetched now; 0: none. */
  wants(): number
  take(records: readonly RawRecord[], next: number, bytes: number): void
  outOfRange(): void
  gone(): void
  refused(error: unknown): void
  /** It cannot read on. It is asked for again in a second. */
  unreadable(error: unknown): void
}

export interface Fetcher {
  /** Opens the connections to the nodes that lead the topic: later ones would come when there is least time for them. */
  prepare(topic: string): void
  add(reader: Reader): void
  remove(reader: Reader): void
  /** It may want something. */
  hungry(reader: Reader): void
  /** Resolves when its connections are closed. */
  stop(): Promise<void>
}

// The second question comes back sooner, so that whoever became hungry later does not wait for it.
const waits = [500, 100] as const
const mostBytes = 16 * 1024 * 1024
const troubleMs = 100
const moved = new Set([5, 6, 9, 56, 72, 74, 75, 76])
/** By name, by id, and an id that is not this topic's any more. */
const unknownTopic = new Set([3, 100, 103])

/** Makes one; `purpose` names its connections. */
export function createFetcher(cluster: Cluster, purpose: string): Fetcher {
  const { clock } = cluster.context
  const readers = new Set<Reader>()
  /** In a question that is under way. */
  const asked = new Set<Reader>()
  /** Not to be asked for before its timer. */
  const paused = new Map<Reader, () => void>()
  const busy = new Set<string>()
  const opened = new Set<number>()
  let soon = false
  let stopped = false

  function pumpSoon(): void {
    if (soon || stopped) return
    soon = true
    void Promise.resolve().then(() => {
      soon = false
      pump()
    })
  }

  function pump(): void {
    if (stopped) return
    const byNode = new Map<number, Reader[]>()
    for (const reader of readers) {
      if (asked.has(reader) || paused.has(reader) || reader.wants() === 0) continue
      const leader = cluster.known(reader.source)?.leaders[reader.partition]
      if (leader === undefined || leader === null) {
        trouble(reader, leader === undefined ? 3 : 5)
        continue
      }
      const known = byNode.get(leader)
      if (known === undefined) byNode.set(leader, [reader])
      else known.push(reader)
    }
    for (const [node, hungry] of byNode) {
      open(node)
      const lane = waits.findIndex((_, index) => !busy.has(`${node} ${index}`))
      if (lane >= 0) void ask(node, lane, hungry)
    }
  }

  function open(node: number): void {
    if (opened.has(node) || stopped) return
    opened.add(node)
    for (const each of [purpose, `${purpose}+`]) cluster.connection(node, each).catch(() => {})
  }

  async function ask(node: number, lane: number, hungry: readonly Reader[]): Promise<void> {
    const key = `${node} ${lane}`
    busy.add(key)
    for (const reader of hungry) asked.add(reader)
    const positions = new Map(hungry.map((reader) => [reader, reader.position]))
    try {
      const connection: Connection = await cluster.connection(node, lane === 0 ? purpose : `${purpose}+`)
      // While it was opened something may have changed.
      const open = hungry.filter((reader) => readers.has(reader) && reader.wants() > 0)
      if (open.length === 0 || stopped) return
      const parts = open.map((reader) => {
        positions.set(reader, reader.position)
        const { source: topic, topicId, partition, position: offset } = reader
        return { topic, topicId, partition, offset, maxBytes: reader.wants() }
      })
      // By name a topic that was made again would be read on from where the one before it was.
      const byId = connection.takes('Fetch', fetchVersions.byId) && open.every(({ topicId }) => topicId !== '')
      const version = byId ? fetchVersions.byId : fetchVersions.byName
      const body = fetchBody(parts, waits[lane] as number, mostBytes, version)
      const { errorCode, parts: answers } = readFetched(await connection.raw({ api: 'Fetch', version, body }), version)
      for (const reader of open) asked.delete(reader)
      if (errorCode !== 0) for (const reader of open) trouble(reader, errorCode)
      for (const answer of answers) {
        const reader = open.find((each) => (byId ? each.topicId : each.source) === answer.topic && each.partition === answer.partition)
        if (reader === undefined || !readers.has(reader)) continue
        if (answer.errorCode !== 0) {
          trouble(reader, answer.errorCode)
          continue
        }
        const from = positions.get(reader) as number
        // It was told to go on elsewhere meanwhile.
        if (reader.position !== from) continue
        try {
          const { records, next, bytes } = readBatches(answer, from)
          if (next > from) {
            // Only the first with anything in an answer gets a batch that is over its bytes: whoever got something asks last.
            readers.delete(reader)
            readers.add(reader)
            reader.take(records, next, bytes)
          }
        } catch (error) {
          rest(reader, 1000)
          reader.unreadable(error)
        }
      }
    } catch {
      // The connection ended; whoever leads now is asked when there is one again.
      const topics = new Set(hungry.map((reader) => reader.source))
      for (const reader of hungry) rest(reader, troubleMs)
      for (const topic of topics) cluster.look(topic).catch(() => {})
    } finally {
      busy.delete(key)
      for (const reader of hungry) asked.delete(reader)
      pumpSoon()
    }
  }

  function rest(reader: Reader, ms: number): void {
    if (paused.has(reader) || stopped || !readers.has(reader)) return
    paused.set(
      reader,
      clock.timer(ms, () => {
        paused.delete(reader)
        pumpSoon()
      }),
    )
  }

  function trouble(reader: Reader, code: number): void {
    rest(reader, troubleMs)
    if (code === 1) reader.outOfRange()
    else if (moved.has(code)) cluster.look(reader.source).catch(() => {})
    else if (unknownTopic.has(code)) reader.gone()
    else if (code === 29) reader.refused(serverFault(code, `reading "${reader.source}"`))
  }

  return {
    prepare(topic) {
      for (const leader of cluster.known(topic)?.leaders ?? []) if (leader !== null) open(leader)
    },
    add(reader) {
      readers.add(reader)
      pumpSoon()
    },
    remove(reader) {
      readers.delete(reader)
      paused.get(reader)?.()
      paused.delete(reader)
    },
    hungry(reader) {
      if (!asked.has(reader)) pumpSoon()
    },
    async stop() {
      stopped = true
      for (const cancel of paused.values()) cancel()
      paused.clear()
      readers.clear()
      await Promise.all([cluster.drop(purpose), cluster.drop(`${purpose}+`)])
    },
  }
}

// Looking at places and taking entries out. A dead letter's record key is its slot and what it is: the newest record of a slot is
// the entry, and to remove one is to write nothing under its own key and those of older ones, which touches none that comes later.

import type { Delivery, Place, Received, SettleResult, Undecodable } from '@posthorn/core/adapter'
import type { Cluster } from './cluster.ts'
import { type AttributeCache, decode, type RawRecord } from './decode.ts'
import { produceBody, writeTombstone } from './encode.ts'
import { explain, fault, serverFault, unreadable } from './explain.ts'
import { type Batches, type FetchedPart, fetchBody, fetchVersions, readBatches, readFetched } from './fetched.ts'
import { offsetsAt } from './offsets.ts'
import { readProduced } from './produced.ts'

interface Token {
  readonly key: string
  readonly offset: number
}

class Entry implements Delivery {
  readonly token: Token
  readonly content: Received | Undecodable
  readonly parked = false
  readonly deliveries = null
  constructor(token: Token, content: Received | Undecodable) {
    this.token = token
    this.content = content
  }
  position(): string {
    return `dead/0:${this.token.offset}`
  }
}

const chunkBytes = 4 * 1024 * 1024
/** A page is at most about this large. */
const pageBytes = 8 * 1024 * 1024

export interface DeadLetters {
  browse(place: Place, after: string | null, max: number): Promise<{ readonly entries: readonly Delivery[]; readonly next: string | null }>
  remove(place: Place, entries: readonly Delivery[]): Promise<SettleResult>
}

/** Which records of a place are entries, as it was when it was looked through. */
interface Index {
  readonly end: number
  /** Offsets of entries, oldest first. */
  readonly live: readonly number[]
  /** Keys of older records of an entry's slot, by its offset: without it they would be entries again. */
  readonly older: ReadonlyMap<number, readonly string[]>
}

function batchesOf(part: FetchedPart, from: number, topic: string): Batches {
  try {
    return readBatches(part, from)
  } catch (error) {
    throw unreadable(error, part.partition, topic)
  }
}

export function createDeadLetters(cluster: Cluster, topicAt: (place: Place) => string): DeadLetters {
  const indexes = new Map<string, Index>()

  async function leaderOf(topic: string): Promise<number> {
    const meta = cluster.known(topic) ?? (await cluster.look(topic))
    if (meta === null) throw fault('NOT_FOUND', `kafka: there is no topic "${topic}"`, 'failed')
    const leader = meta.leaders[0]
    if (leader === undefined || leader === null) throw serverFault(5, `reading "${topic}"`)
    return leader
  }

  /** Reads on from an offset; stops when `each` says so or the end is reached. */
  async function scan(topic: string, from: number, end: number, each: (record: RawRecord, bytes: number) => boolean): Promise<void> {
    let at = from
    for (let tries = 0; at < end; ) {
      const connection = await cluster.connection(await leaderOf(topic), 'main')
      const version = fetchVersions.byName
      const body = fetchBody([{ topic, topicId: '', partition: 0, offset: at, maxBytes: chunkBytes }], 100, chunkBytes, version)
      const { parts } = readFetched(await connection.raw({ api: 'Fetch', version, body }), version)
      const [part] = parts
      if (part === undefined || part.errorCode !== 0) {
        if (tries++ >= 10) throw serverFault(part?.errorCode ?? 13, `reading "${topic}"`)
        if (part?.errorCode === 29 || part?.errorCode === 1) throw serverFault(part.errorCode, `reading "${topic}"`)
        await cluster.pause(100)
        await cluster.look(topic)
        continue
      }
      const { records, next } = batchesOf(part, at, topic)
      for (const record of records) if (!each(record, record.end - record.keyAt)) return
      if (next === at && part.records.length === 0 && at >= end) return
      at = Math.max(next, at)
      if (records.length === 0 && part.records.length === 0 && tries++ > 50) return
    }
  }

  /** Every slot's newest record that was not removed. */
  async function look(topic: string): Promise<Index> {
    const [first, last] = await Promise.all([offsetsAt(cluster, topic, 'earliest'), offsetsAt(cluster, topic, 'latest')])
    const end = last.get(0) ?? 0
    const bySlot = new Map<string, { readonly key: string; readonly offset: number; readonly older: readonly string[] }>()
    await scan(topic, first.get(0) ?? 0, end, (record) => {
      const key = keyOf(record)
      const slot = slotOf(key)
      const known = bySlot.get(slot)
      const without = (keys: readonly string[]): readonly string[] => keys.filter((each) => each !== key)
      if (record.valueLength >= 0)
        bySlot.set(slot, { key, offset: record.offset, older: known === undefined ? [] : without([...known.older, known.key]) })
      else if (known?.key === key) bySlot.delete(slot)
      else if (known !== undefined) bySlot.set(slot, { ...known, older: without(known.older) })
      return true
    })
    const found = [...bySlot.values()]
    return {
      end,
      live: found.map(({ offset }) => offset).sort((a, b) => a - b),
      older: new Map(found.map(({ offset, older }) => [offset, older])),
    }
  }

  return {
    async browse(place, after, max) {
      const topic = topicAt(place)
      const from = after === null ? 0 : Number(after)
      let index = after === null ? undefined : indexes.get(topic)
      if (index === undefined) {
        index = await look(topic)
        indexes.set(topic, index)
      }
      const wanted = index.live.filter((offset) => offset >= from)
      const entries: Delivery[] = []
      let bytes = 0
      const cache: AttributeCache = { last: null }
      const set = new Set(wanted)
      if (wanted.length > 0) {
        await scan(topic, wanted[0] as number, index.end, (record, size) => {
          if (!set.has(record.offset)) return true
          entries.push(new Entry({ key: keyOf(record), offset: record.offset }, decode(record, cache, place.role === 'dead').content))
          bytes += size
          return entries.length < max && bytes < pageBytes && entries.length < wanted.length
        })
      }
      const last = entries.at(-1)?.token as Token | undefined
      const more = last !== undefined && entries.length < wanted.length
      if (!more) indexes.delete(topic)
      return { entries, next: more ? String(last.offset + 1) : null }
    },
    async remove(place, entries) {
      if (entries.length === 0) return 'settled'
      const topic = topicAt(place)
      try {
        const before = await look(topic)
        const live = new Set(before.live)
        const tokens = entries.map((entry) => entry.token as Token)
        const there = tokens.filter(({ offset }) => live.has(offset))
        if (there.length > 0) {
          // Compaction may take the newest away before the others.
          const keys = there.flatMap(({ key, offset }) => [key, ...(before.older.get(offset) ?? [])])
          const portion = {
            partition: 0,
            count: keys.length,
            write: (writer: Parameters<typeof writeTombstone>[0], at: number) => writeTombstone(writer, keys[at] as string, at),
            sequence: null,
          }
          const body = produceBody({
            topics: new Map([[topic, [portion]]]),
            transactionalId: null,
            timeoutMs: cluster.settings.requestTimeoutMs,
            now: cluster.context.clock.now(),
          })
          const connection = await cluster.connection(await leaderOf(topic), 'out')
          const result = readProduced(await connection.raw({ api: 'Produce', version: 7, body }))
            .get(topic)
            ?.get(0)
          if (result === undefined || result.errorCode !== 0) throw serverFault(result?.errorCode ?? 13, `removing from "${topic}"`)
        }
        return there.length === tokens.length ? 'settled' : 'stale'
      } catch (error) {
        if (explain(error).code === 'UNAUTHORIZED' || explain(error).code === 'NOT_FOUND') throw error
        return 'unknown'
      }
    },
  }
}

const keyOf = (record: RawRecord): string =>
  record.keyLength < 0 ? '' : record.buffer.toString('utf8', record.keyAt, record.keyAt + record.keyLength)

/** What somebody else wrote under a key of another form is a slot of its own. */
const slotOf = (key: string): string => (key.includes('/') ? key.slice(0, key.lastIndexOf('/')) : key)

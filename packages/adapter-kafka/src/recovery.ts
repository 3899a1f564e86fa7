// Partitions that are still ours while their log is not what it was: cut off at its head, made again, or gone with its topic. What an
// assignment knows belongs to one log; for another one there is another assignment.

import type { Cluster } from './cluster.ts'
import { offsetsAt } from './offsets.ts'
import type { Place } from './progress.ts'

/** An assignment as it is seen here. */
export interface Reading {
  /** The topic at the server. */
  readonly source: string
  /** Of the very topic that it belongs to; '' where the server tells none. */
  readonly topicId: string
  readonly partition: number
  readonly position: number
  readonly ended: boolean
  /** Goes on farther ahead in the same log. */
  moveTo(position: number): void
}

/** What a subscription lets be done with its partitions. */
export interface Recovering<R extends Reading> {
  readonly cluster: Cluster
  event(partition: number, note: string): void
  /** Makes the topic again from its plan. False: it has none, or may not. */
  declareAgain(): Promise<boolean>
  /** Whoever has the partitions; null: nobody may begin with one now. */
  holder(): object | null
  owns(at: string, partition: number): boolean
  /** Where the group is, once nothing can move it any more; undefined: nowhere. */
  placeOf(at: string, partition: number): Promise<Place | undefined>
  /** Ends it, and nothing that it knows is written any more. Resolves when nothing of it is under way. */
  giveUp(one: R): Promise<void>
  /** `write`: the server is told the place before anything is finished. */
  start(at: string, topicId: string, partition: number, place: Place, write: boolean): void
}

export interface Recovery<R extends Reading> {
  /** The partition is still ours, and its assignment is not. At once for the first time, and then later and later, until it goes well. */
  again(at: string, partition: number): Promise<void>
  goesWell(at: string, partition: number): void
  /** The position is not in the log. */
  outOfRange(one: R): Promise<void>
  /** The topic of a partition is not there: it is made again from its plan, or comes back by somebody else. */
  gone(one: R): Promise<void>
}

// A message whose outputs are refused each time is handled again each time.
const mostPauseMs = 5000

export function createRecovery<R extends Reading>(on: Recovering<R>): Recovery<R> {
  const { cluster } = on

  /** Tries until there is a place, for as long as the partition may be begun with. */
  async function begin(at: string, partition: number, holder: object | null, find: () => Promise<Place>, write: boolean): Promise<void> {
    const may = (): boolean => holder !== null && on.holder() === holder && !on.owns(at, partition) && !cluster.closed
    // To look is to end the transactions of others: not in a partition that is somebody else's by now.
    while (may()) {
      try {
        // A topic that is made again in between has another id than this, and that is noticed.
        const meta = await cluster.look(at)
        const place = await find()
        if (may()) on.start(at, meta?.id ?? '', partition, place, write)
        return
      } catch {
        await cluster.pause(250)
      }
    }
  }

  async function oldestOf(at: string, partition: number): Promise<number> {
    return (await offsetsAt(cluster, at, 'earliest')).get(partition) ?? 0
  }

  const back = (at: string, partition: number, holder: object | null): Promise<void> =>
    begin(
      at,
      partition,
      holder,
      async () => (await on.placeOf(at, partition)) ?? { offset: await oldestOf(at, partition), metadata: '' },
      false,
    )

  /** In another log neither the position nor what is beside it means anything: it is begun at its oldest message. */
  async function anew(one: R): Promise<void> {
    const { source: at, partition } = one
    const holder = on.holder()
    await on.giveUp(one)
    const find = async (): Promise<Place> => {
      await on.placeOf(at, partition)
      return { offset: await oldestOf(at, partition), metadata: '' }
    }
    await begin(at, partition, holder, find, true)
  }

  const setbacks = new Map<string, number>()
  const missing = new Map<R, Promise<void>>()

  return {
    async again(at, partition) {
      const holder = on.holder()
      const key = `${at} ${partition}`
      const before = setbacks.get(key) ?? 0
      setbacks.set(key, before + 1)
      if (before > 0) await cluster.pause(Math.min(mostPauseMs, 100 * 2 ** before))
      await back(at, partition, holder)
    },
    goesWell: (at, partition) => void setbacks.delete(`${at} ${partition}`),
    async outOfRange(one) {
      const { source: at, partition, position: from } = one
      try {
        const oldest = await oldestOf(at, partition)
        // Another answer to the same question was quicker.
        if (one.ended || one.position !== from || oldest === from) return
        on.event(partition, `position ${from} of "${at}" is not in the log any more; it goes on from ${oldest}, the oldest message`)
        if (oldest > from) return one.moveTo(oldest)
        await anew(one)
      } catch {
        // Asked again by the next fetch.
      }
    },
    gone(one) {
      const running = missing.get(one)
      if (running !== undefined) return running
      const { source: at, partition } = one
      const work = (async () => {
        const there = await cluster.look(at)
        if (there !== null) {
          // Nodes hear of a new topic one after the other: the same id is the same topic.
          if (there.id === one.topicId || there.id === '' || one.topicId === '' || one.ended) return
          on.event(partition, `topic "${at}" was deleted and made again; it goes on from the oldest message`)
          return await anew(one)
        }
        await cluster.pause(250)
        if (one.ended || (await cluster.look(at)) !== null || one.ended) return
        on.event(partition, `topic "${at}" is gone from the server`)
        const holder = on.holder()
        await on.giveUp(one)
        while (holder !== null && on.holder() === holder && !cluster.closed) {
          const made = await on.declareAgain().catch(() => false)
          if (made || (await cluster.look(at).catch(() => null)) !== null) break
          await cluster.pause(1000)
        }
        // The group's position decides: what seemed to be gone may be there after all.
        await back(at, partition, holder)
      })()
        .catch(() => {})
        .finally(() => missing.delete(one))
      missing.set(one, work)
      return work
    },
  }
}

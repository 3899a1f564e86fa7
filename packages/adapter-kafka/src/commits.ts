// Positions on their way to the server. One commit takes the server milliseconds however many partitions are in it, so there is one
// at a time for all partitions of a membership, and what comes meanwhile goes with the next.

import type { SettleResult } from '@posthorn/core/adapter'
import type { Cluster } from './cluster.ts'
import { type Committer, commit, type Places } from './offsets.ts'
import type { Place } from './progress.ts'

export interface Commits {
  /** Something of a partition was finished. Answers when the server has it. */
  settle(from: Settling): Promise<SettleResult>
  /** The same, and nobody waits for it. */
  note(from: Settling): void
  /** Nothing of the partition is written until `free` is called; resolves when nothing is under way. */
  hold(from: Settling): Promise<void>
  free(from: Settling): void
  /** Resolves when everything given so far was answered for. */
  flush(): Promise<void>
  /** The membership is over: what is open is not known. */
  stop(): void
}

// Between the beginnings of two commits, unless somebody waits for everything or this many messages are settled.
const spacingMs = 50
const enough = 1000
const retryMs = 100
const stale = new Set([22, 25, 82])
/** Refused for good, whatever is tried. */
const denied = new Set([29, 30])

interface Waiter {
  readonly from: Settling
  readonly resolve: (result: SettleResult) => void
}

/** A partition whose position is written. */
export interface Settling {
  /** The topic at the server. */
  readonly source: string
  readonly partition: number
  /** What is done now. */
  place(): Place
}

/** `expelled` is called when the server knows another generation, `refused` when it does not let positions be written. */
export function createCommits(
  cluster: Cluster,
  purpose: string,
  who: () => Committer,
  aliveUntil: () => number,
  expelled: () => void,
  refused: (code: number) => void,
): Commits {
  const { clock } = cluster.context
  const dirty = new Set<Settling>()
  const held = new Set<Settling>()
  let waiters: Waiter[] = []
  let running: Promise<void> | null = null
  let cancelTimer: (() => void) | null = null
  let startedAt = Number.NEGATIVE_INFINITY
  let stopped = false

  const ready = (): readonly Settling[] => [...dirty].filter((from) => !held.has(from))

  function schedule(now: boolean): void {
    if (stopped || running !== null || dirty.size === 0) return
    const wait = now || waiters.length >= enough ? 0 : startedAt + spacingMs - clock.monotonic()
    if (wait <= 0) {
      cancelTimer?.()
      cancelTimer = null
      send()
    } else
      cancelTimer ??= clock.timer(wait, () => {
        cancelTimer = null
        send()
      })
  }

  function send(): void {
    const given = ready()
    if (stopped || running !== null || given.length === 0) return
    startedAt = clock.monotonic()
    const places = new Map<string, Map<number, Place>>()
    for (const from of given) {
      dirty.delete(from)
      const partitions = places.get(from.source) ?? new Map<number, Place>()
      places.set(from.source, partitions)
      partitions.set(from.partition, from.place())
    }
    const mine = waiters.filter(({ from }) => !held.has(from))
    waiters = waiters.filter(({ from }) => held.has(from))
    running = attempt(places, given, mine).finally(() => {
      running = null
      schedule(false)
    })
  }

  // What has no answer is not known, and is written again, for as long as the partitions are ours: then the server has it, and
  // what was settled does not come again.
  async function attempt(places: Places, given: readonly Settling[], mine: readonly Waiter[]): Promise<void> {
    const answer = (result: SettleResult): void => {
      for (const { resolve } of mine) resolve(result)
    }
    let code = -1
    try {
      code = await commit(cluster, purpose, who(), places)
    } catch {
      cluster.forgetCoordinator(who().groupId)
    }
    if (code === 0) return answer('settled')
    if (stale.has(code)) {
      answer('stale')
      expelled()
      return
    }
    answer('unknown')
    // What was about to follow goes the same way: nobody waits for a connection to come back.
    const others = waiters
    waiters = []
    for (const { resolve } of others) resolve('unknown')
    if (denied.has(code)) return refused(code)
    for (const from of given) dirty.add(from)
    await cluster.pause(retryMs)
  }

  return {
    settle(from) {
      if (stopped) return Promise.resolve('stale')
      dirty.add(from)
      return new Promise((resolve) => {
        waiters.push({ from, resolve })
        schedule(false)
      })
    },
    note(from) {
      if (stopped) return
      dirty.add(from)
      schedule(false)
    },
    async hold(from) {
      held.add(from)
      while (running !== null) await running
    },
    free(from) {
      held.delete(from)
      schedule(false)
    },
    async flush() {
      while (!stopped && (running !== null || dirty.size > 0) && clock.monotonic() < aliveUntil()) {
        schedule(true)
        if (running === null) break
        await running
      }
    },
    stop() {
      stopped = true
      cancelTimer?.()
      for (const { resolve } of waiters) resolve('unknown')
      waiters = []
      dirty.clear()
    },
  }
}

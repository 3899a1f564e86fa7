// Positions on their way to the server. One commit takes the server milliseconds however many partitions are in it, so there is one
// at a time for all partitions of a membership, and what comes meanwhile goes with the next.

import type { SettleResult } from '@posthorn/core/adapter'
import type { Cluster } from './cluster.ts'
import { type Committer, commit, type Places } from './offsets.ts'
import type { Place } from './progress.ts'

export interface Commits {
  /** Something of a partition was finished. Answers when the server has it; `now`: as soon as may be. */
  settle(from: Settling, now?: boolean): Promise<SettleResult>
  /** The same, and nobody waits for it. */
  note(from: Settling): void
  /** Nothing of the partition is written until `free` is called; resolves when nothing is under way. */
  hold(from: Settling): Promise<void>
  free(from: Settling): void
  /** Nothing of it is written any more: what it says is not where the group is. Its waiters hear `unknown`. */
  forget(from: Settling): void
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
/** What is kept beside the position is more than the server allows. */
const tooLarge = 12

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
  /** From now on only the position. False: there was no more than that, or what is beside it is needed. */
  leaveOutMarks(): boolean
}

const keyOf = ({ source, partition }: Pick<Settling, 'source' | 'partition'>): string => `${source} ${partition}`

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
  const forgotten = new WeakSet<Settling>()
  let waiters: Waiter[] = []
  let running: Promise<void> | null = null
  let cancelTimer: (() => void) | null = null
  let startedAt = Number.NEGATIVE_INFINITY
  /** Somebody hands out no more before the answer. */
  let hurried = false
  let stopped = false

  const ready = (): readonly Settling[] => [...dirty].filter((from) => !held.has(from))

  function schedule(now: boolean): void {
    if (stopped || running !== null || dirty.size === 0) return
    const wait = now || hurried || waiters.length >= enough ? 0 : startedAt + spacingMs - clock.monotonic()
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
    hurried = false
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
    const codes = await commit(cluster, purpose, who(), places).then(
      (unwritten) => new Map(unwritten.map(({ topic, partition, code }) => [keyOf({ source: topic, partition }), code])),
      () => null,
    )
    if (codes === null) cluster.forgetCoordinator(who().groupId)
    else if ([...codes.values()].some((code) => stale.has(code))) {
      for (const { resolve } of mine) resolve('stale')
      if (!stopped) expelled()
      return
    }
    // One partition that cannot be written now says nothing of the others.
    const open = codes === null ? given : given.filter((from) => codes.has(keyOf(from)))
    const goesOn = (from: Settling): boolean => !stopped && !forgotten.has(from)
    const shorter = open.filter((from) => codes?.get(keyOf(from)) === tooLarge && goesOn(from) && from.leaveOutMarks())
    const unknown = new Set(open.filter((from) => !shorter.includes(from)))
    const written = mine.filter(({ from }) => !open.includes(from))
    for (const { resolve } of written) resolve('settled')
    waiters = [...mine.filter(({ from }) => shorter.includes(from)), ...waiters]
    // What came meanwhile was in no request: it goes with the next one.
    for (const { resolve } of mine.filter(({ from }) => unknown.has(from))) resolve('unknown')
    if (stopped) return
    const refusal = [...(codes?.values() ?? [])].find((code) => denied.has(code))
    if (refusal !== undefined) return refused(refusal)
    for (const from of open) if (goesOn(from)) dirty.add(from)
    if (unknown.size > 0) await cluster.pause(retryMs)
  }

  return {
    settle(from, now = false) {
      if (stopped) return Promise.resolve('stale')
      if (forgotten.has(from)) return Promise.resolve('unknown')
      dirty.add(from)
      return new Promise((resolve) => {
        waiters.push({ from, resolve })
        hurried ||= now
        schedule(false)
      })
    },
    note(from) {
      if (stopped || forgotten.has(from)) return
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
    forget(from) {
      forgotten.add(from)
      dirty.delete(from)
      const mine = waiters.filter((each) => each.from === from)
      waiters = waiters.filter((each) => each.from !== from)
      for (const { resolve } of mine) resolve('unknown')
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

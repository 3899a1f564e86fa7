// Positions on their way to the server. One commit takes the server milliseconds however many partitions are in it, so there is one
// at a time for all partitions of a membership, and what comes meanwhile goes with the next.

import type { SettleResult } from '@posthorn/core/adapter'
import type { Cluster } from './cluster.ts'
import { commit, type Committer } from './offsets.ts'

export interface Commits {
  /** Everything of the partition before `position` is done. Answers when the server has it. */
  settle(topic: string, partition: number, position: number): Promise<SettleResult>
  /** The same, and nobody waits for it. */
  note(topic: string, partition: number, position: number): void
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
  readonly resolve: (result: SettleResult) => void
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
  let pending = new Map<string, Map<number, number>>()
  let waiters: Waiter[] = []
  let running: Promise<void> | null = null
  let cancelTimer: (() => void) | null = null
  let startedAt = Number.NEGATIVE_INFINITY
  let stopped = false

  function put(topic: string, partition: number, position: number): void {
    let partitions = pending.get(topic)
    if (partitions === undefined) {
      partitions = new Map()
      pending.set(topic, partitions)
    }
    partitions.set(partition, Math.max(position, partitions.get(partition) ?? -1))
  }

  function schedule(now: boolean): void {
    if (stopped || running !== null || pending.size === 0) return
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
    if (stopped || running !== null || pending.size === 0) return
    startedAt = clock.monotonic()
    const given = pending
    const mine = waiters
    pending = new Map()
    waiters = []
    running = attempt(given, mine).finally(() => {
      running = null
      schedule(false)
    })
  }

  // A position may be written twice, so what has no answer is asked again, for as long as the partitions are ours.
  async function attempt(given: Map<string, Map<number, number>>, mine: readonly Waiter[]): Promise<void> {
    const answer = (result: SettleResult): void => {
      for (const { resolve } of mine) resolve(result)
    }
    for (;;) {
      let code: number
      try {
        code = await commit(cluster, purpose, who(), given)
      } catch {
        cluster.forgetCoordinator(who().groupId)
        code = -1
      }
      if (code === 0) return answer('settled')
      if (stale.has(code)) {
        answer('stale')
        expelled()
        return
      }
      if (denied.has(code)) {
        answer('unknown')
        refused(code)
        return
      }
      if (stopped || cluster.closed || clock.monotonic() >= aliveUntil()) return answer('unknown')
      await cluster.pause(retryMs)
    }
  }

  return {
    settle(topic, partition, position) {
      if (stopped) return Promise.resolve('stale')
      put(topic, partition, position)
      return new Promise((resolve) => {
        waiters.push({ resolve })
        schedule(false)
      })
    },
    note(topic, partition, position) {
      if (stopped) return
      put(topic, partition, position)
      schedule(false)
    },
    async flush() {
      while (!stopped && (running !== null || pending.size > 0)) {
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
      pending = new Map()
    },
  }
}

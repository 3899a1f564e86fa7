import type { Entry } from './entry.ts'

/**
 * Handlers that still run although their assignment is over. Its successor in this process gets the same messages: they
 * must not run a second time beside the first, and what is behind them in their key must wait.
 */
export interface BusyHandlers {
  /** The assignment of this running entry is over; `ended` follows when its handler ends. */
  add(entry: Entry): void
  /** Nothing more comes of this entry here. A handler of it that outlived its time keeps its key busy until it ends; where there is no key it holds up nobody. */
  outlived(entry: Entry): void
  /** Its handler ended; with `finished`, successfully and with nothing left to do but settle. */
  ended(entry: Entry, finished: boolean): void
  /**
   * If this entry, or its key, is busy: calls `then` when that ends, and returns true. `then(true)` means that the same
   * message finished, so that the copy is to be settled instead of run.
   */
  waitFor(entry: Entry, then: (finished: boolean) => void): boolean
}

export function busyHandlers(): BusyHandlers {
  interface Busy {
    readonly lane: string | null
    readonly waiters: { readonly same: boolean; readonly then: (finished: boolean) => void }[]
  }
  const byIdentity = new Map<string, Busy>()
  const laneOf = (entry: Entry): string | null => (entry.lane === null ? null : `${entry.runner.topic.name}\n${entry.lane}`)
  const busy: BusyHandlers = {
    add(entry) {
      if (!byIdentity.has(entry.identity)) byIdentity.set(entry.identity, { lane: laneOf(entry), waiters: [] })
    },
    outlived(entry) {
      if (entry.overdue === null || entry.lane === null) return
      busy.add(entry)
      void entry.overdue.then(() => busy.ended(entry, false))
    },
    ended(entry, finished) {
      const ended = byIdentity.get(entry.identity)
      if (ended === undefined) return
      byIdentity.delete(entry.identity)
      for (const waiter of ended.waiters) waiter.then(finished && waiter.same)
    },
    waitFor(entry, then) {
      if (byIdentity.size === 0) return false
      const same = byIdentity.get(entry.identity)
      if (same !== undefined) {
        same.waiters.push({ same: true, then })
        return true
      }
      const lane = laneOf(entry)
      if (lane === null) return false
      for (const other of byIdentity.values()) {
        if (other.lane !== lane) continue
        other.waiters.push({ same: false, then })
        return true
      }
      return false
    },
  }
  return busy
}

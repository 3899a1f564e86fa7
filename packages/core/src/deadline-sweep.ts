import type { Clock } from './contract.ts'

// Deadlines are looked at in steps, never by a timer per message.
const finestMs = 10
const coarsestMs = 250

/** What a sweep looks at: when it must be over, in monotonic milliseconds. */
export interface Bounded {
  readonly request: { readonly deadline: number }
}
export interface Sweep {
  /** Something with this deadline is open now. */
  watch(deadline: number): void
  stop(): void
}

/**
 * Ends what is out of time: one timer, set only while something is open, a twentieth of the shortest wait apart (10 to
 * 250 ms). `open` gives what is open; `expire` ends one of them.
 */
export function createSweep<T extends Bounded>(
  clock: Clock,
  open: { readonly count: () => number; readonly entries: () => Iterable<T> },
  expire: (entry: T) => void,
): Sweep {
  let cancel: (() => void) | null = null
  let sweepAt = 0
  let earliest = Number.POSITIVE_INFINITY
  let grain = coarsestMs

  function arm(now: number): void {
    cancel?.()
    const wait = Math.min(coarsestMs, Math.max(grain, earliest - now))
    sweepAt = now + wait
    cancel = clock.timer(wait, sweep)
  }
  function sweep(): void {
    cancel = null
    if (open.count() === 0) {
      earliest = Number.POSITIVE_INFINITY
      return
    }
    const now = clock.monotonic()
    if (now >= earliest) {
      earliest = Number.POSITIVE_INFINITY
      for (const entry of open.entries()) {
        const { deadline } = entry.request
        if (deadline <= now) expire(entry)
        else if (deadline < earliest) earliest = deadline
      }
    }
    if (open.count() > 0 && cancel === null) arm(now)
  }

  return {
    watch(deadline) {
      if (deadline < earliest) earliest = deadline
      if (cancel !== null && deadline >= sweepAt) return
      const now = clock.monotonic()
      if (cancel === null) grain = coarsestMs
      grain = Math.min(grain, Math.max(finestMs, (deadline - now) / 20))
      arm(now)
    },
    stop() {
      cancel?.()
      cancel = null
    },
  }
}

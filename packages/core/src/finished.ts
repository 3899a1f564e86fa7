import type { Clock } from './contract.ts'

/** Messages whose handling ended here while the settlement is not known to have arrived. */
export interface FinishedMemory {
  has(id: string): boolean
  add(id: string): void
  delete(id: string): void
  readonly size: number
  /** Grows with each `add`: what was looked at since is worth no second look. */
  readonly added: number
}

/**
 * Remembers what finished but is not known settled, so that a redelivered copy is settled instead of run again.
 * Bounded: the oldest of more than `max` ids, and ids older than `forMs`, are forgotten and may then run a second time.
 */
export function finishedMemory(clock: Clock, max: number = 10_000, forMs: number = 60_000): FinishedMemory {
  const until = new Map<string, number>()
  let added = 0
  function forgetOld(): void {
    const now = clock.monotonic()
    for (const [id, end] of until) {
      if (end > now && until.size <= max) return
      until.delete(id)
    }
  }
  return {
    has(id) {
      if (until.size === 0) return false
      const end = until.get(id)
      return end !== undefined && end > clock.monotonic()
    },
    add(id) {
      added++
      until.delete(id)
      until.set(id, clock.monotonic() + forMs)
      forgetOld()
    },
    delete: (id) => void until.delete(id),
    get size() {
      return until.size
    },
    get added() {
      return added
    },
  }
}

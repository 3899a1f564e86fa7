import type { Clock } from './contract.ts'

/** Looks after an assignment whose last proof of ownership is too old. */
export interface ProofWatch {
  /** It is too old now: say so once, and look until there is a newer one. */
  stalled(): void
  stop(): void
}

const lookEveryMs = 50

/** Nothing starts past the proof of ownership; `resumed` is called when the adapter has a newer one. A lost assignment ends the watch by `stop`. */
export function watchProof(clock: Clock, hooks: { alive(): boolean; stalled(): void; resumed(): void }): ProofWatch {
  let watching = false
  let cancel: (() => void) | null = null
  function look(): void {
    if (hooks.alive()) {
      watching = false
      hooks.resumed()
    } else cancel = clock.timer(lookEveryMs, look)
  }
  return {
    stalled() {
      if (watching) return
      watching = true
      hooks.stalled()
      cancel = clock.timer(lookEveryMs, look)
    },
    stop: () => cancel?.(),
  }
}

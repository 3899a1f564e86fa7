import type { Clock } from './contract.ts'

/** The time limits of what a consumer has given out. They outlive a lost assignment, but not the consumer. */
export interface TimeLimits {
  /** Runs `run` after `ms`; returns what cancels it. After `stop` it never runs. */
  start(ms: number, run: () => void): () => void
  /** The consumer has ended: none is left. */
  stop(): void
}

export function timeLimits(clock: Clock): TimeLimits {
  const cancels = new Set<() => void>()
  let stopped = false
  return {
    start(ms, run) {
      if (stopped) return () => undefined
      const cancelTimer = clock.timer(ms, () => {
        cancels.delete(cancel)
        run()
      })
      const cancel = (): void => {
        if (cancels.delete(cancel)) cancelTimer()
      }
      cancels.add(cancel)
      return cancel
    },
    stop() {
      stopped = true
      for (const cancel of [...cancels]) cancel()
    },
  }
}

import { performance } from 'node:perf_hooks'
import type { Clock } from '@posthorn/core/adapter'

/** Real time, the only place of this package that touches it. */
export const realClock: Clock = Object.freeze({
  now: (): number => Date.now(),
  monotonic: (): number => performance.now(),
  timer(ms: number, run: () => void): () => void {
    const timeout = setTimeout(run, Math.min(ms, 2 ** 31 - 1))
    return () => clearTimeout(timeout)
  },
})

/** Real randomness, in [0, 1). */
export const realRandom = (): number => Math.random()

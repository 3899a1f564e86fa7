import { randomFillSync } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import type { Clock } from './contract.ts'

/** Real time, the only place of this package that touches it. */
export const realClock: Clock = Object.freeze({
  now: (): number => Date.now(),
  monotonic: (): number => performance.now(),
  timer(ms: number, run: () => void): () => void {
    if (ms <= 0) {
      const soon = setImmediate(run)
      return () => clearImmediate(soon)
    }
    const timeout = setTimeout(run, Math.min(ms, 2 ** 31 - 1))
    return () => clearTimeout(timeout)
  },
})

/** Real randomness, in [0, 1). */
export const realRandom = (): number => Math.random()

/** Fills it with real random bytes, from the system's source. */
export function realBytes(into: Uint8Array): void {
  randomFillSync(into)
}

// Taken at load: a test that replaces the global timers must not stop those who only wait for promises to settle.
const nextTurn = setImmediate

/** Resolves in a later turn of the event loop: every promise that could settle by itself has settled by then. Moves no time. */
export function macrotask(): Promise<void> {
  return new Promise((resolve) => {
    nextTurn(resolve)
  })
}

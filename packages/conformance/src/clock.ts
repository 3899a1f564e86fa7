import type { Clock } from '@posthorn/core/adapter'

/** Real time, the only place of this package that touches it. Its monotonic clock is the machine's, so that times of several processes compare. */
export const realClock: Clock = Object.freeze({
  now: (): number => Date.now(),
  monotonic: (): number => Number(process.hrtime.bigint()) / 1e6,
  timer(ms: number, run: () => void): () => void {
    const timeout = setTimeout(run, Math.min(ms, 2 ** 31 - 1))
    return () => clearTimeout(timeout)
  },
})

/** Resolves when all promises that can go on have gone on. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Runs `run` in a later turn of the event loop. */
export const later = (run: () => void): void => void setImmediate(run)

/** Runs `run` every `ms` milliseconds; returns what ends it. */
export function every(ms: number, run: () => void): () => void {
  const interval = setInterval(run, ms)
  return () => clearInterval(interval)
}

import type { Clock } from '@posthorn/core/adapter'

/** Real time, the only place of this package that touches it. Its monotonic clock is the machine's, so that times of several processes compare. */
export const realClock: Clock = Object.freeze({
  now: (): number => Date.now(),
  monotonic: (): number => Number(process.hrtime.bigint()) / 1e6,
  timer(ms: number, run: () => void): () => void {
    if (ms <= 0) {
      const soon = setImmediate(run)
      return () => clearImmediate(soon)
    }
    const due = realClock.monotonic() + ms
    const wait = (left: number): NodeJS.Timeout =>
      setTimeout(
        () => {
          // Node's timers count whole milliseconds and may be a fraction early; lower bounds are never stretched.
          const early = due - realClock.monotonic()
          if (early > 0) timeout = wait(early)
          else run()
        },
        Math.min(Math.ceil(left), 2 ** 31 - 1),
      )
    let timeout = wait(ms)
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

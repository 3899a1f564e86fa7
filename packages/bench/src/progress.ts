import { sleep } from './clock.ts'

/** Resolves when `enough()`, or when `count()` has stood still for `stallMs`. */
export async function settledDown(enough: () => boolean, count: () => number, stallMs: number): Promise<void> {
  const step = Math.max(1, Math.min(50, stallMs / 10))
  let last = count()
  for (let still = 0; !enough() && still < stallMs; ) {
    await sleep(step)
    still = count() === last ? still + step : 0
    last = count()
  }
}

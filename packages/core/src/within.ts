import type { Clock } from './contract.ts'

/** Waits for `work` until `deadline` (monotonic milliseconds). True: it ended, well or not; false: time was up, and what it does later is ignored. */
export function within(clock: Clock, deadline: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.timer(Math.max(0, deadline - clock.monotonic()), () => resolve(false))
    const end = (): void => {
      cancel()
      resolve(true)
    }
    work.then(end, end)
  })
}

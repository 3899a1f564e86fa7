import type { Clock } from '@posthorn/core/adapter'

/** Resolves when the work has ended, however it did, or after `ms`. Leaves no timer behind. */
export function endedWithin(clock: Clock, ms: number, work: Promise<unknown> | undefined): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.timer(ms, resolve)
    const done = (): void => {
      cancel()
      resolve()
    }
    if (work === undefined) done()
    else work.then(done, done)
  })
}

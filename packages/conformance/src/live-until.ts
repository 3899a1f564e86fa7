// Waiting in live tests, and leaving them out where there is no server.

import { realClock } from './clock.ts'

/**
 * Waits for a condition, looking every 20 ms; resolves to what it returned when that is neither false nor nothing.
 * @throws Error which says what was waited for, after `ms` (20_000)
 */
export async function until<T>(what: string, condition: () => T | Promise<T>, ms = 20_000): Promise<NonNullable<T>> {
  const deadline = realClock.monotonic() + ms
  for (;;) {
    const value = await condition()
    if (value !== undefined && value !== null && value !== false) return value
    if (realClock.monotonic() > deadline) throw new Error(`not within ${ms} ms: ${what}`)
    await new Promise<void>((resolve) => void realClock.timer(20, resolve))
  }
}

/** The same promise, for at most so many milliseconds. @throws Error which says what did not come */
export function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = realClock.timer(ms, () => reject(new Error(`not within ${ms} ms: ${what}`)))
    work.then(resolve, reject).finally(cancel)
  })
}

/** What is used of a test runner's `describe`. */
export interface Skippable {
  skipIf(condition: boolean): (title: string, tests: () => void) => unknown
}

/** `describe` for tests that need a server: without one they are skipped, and their title says why. */
export const whereFound =
  (describe: Skippable, found: { readonly available: boolean; readonly reason?: string }): ((title: string, tests: () => void) => void) =>
  (title, tests) =>
    void describe.skipIf(!found.available)(found.available ? title : `${title} [no server: ${found.reason?.split('\n')[0] ?? ''}]`, tests)

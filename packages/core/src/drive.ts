// The one place that moves a virtual clock. A turn lets every promise settle that can, then moves time to the next due
// time, if that is wanted. However many wait at once, a turn is taken once for all of them, so no step is ever taken
// before what the step before set off has settled.

import { macrotask, realClock } from './clock.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** What one turn did: time moved, time should have moved but nothing is due, or it was held back. */
export type Turn = 'moved' | 'nothing-due' | 'held'

/** Moves a virtual clock for everybody who waits under it. */
export interface Driver {
  /** One turn, shared by all who ask at the same time. */
  turn(): Promise<Turn>
  /** Takes turns, moving time, until the promise settles; passes it on. For what may need time to end: a send, a close. */
  driven<T>(work: Promise<T>): Promise<T>
  /** Promises given to `driven` that are open. */
  readonly open: number
}

export interface DriverOptions {
  /** Asked when everything settled and nothing given to `driven` is open: is time wanted? Without it: always. */
  readonly wanted?: (() => boolean | Promise<boolean>) | undefined
  /** Asked before each step; true: real work is going on, so time stands still a little longer. */
  readonly hold?: (() => boolean) | undefined
}

/** Resolves after real milliseconds. */
export function realPause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    realClock.timer(ms, resolve)
  })
}

/** Makes the driver of a clock. A clock should have one: two do not wait for each other's promises. */
export function createDriver(clock: VirtualClock, options: DriverOptions = {}): Driver {
  let open = 0
  let pumping = false
  let turning: Promise<Turn> | null = null

  async function take(): Promise<Turn> {
    await macrotask()
    if (open === 0 && options.wanted !== undefined && !(await options.wanted())) return 'held'
    if (options.hold?.() === true) return 'held'
    return clock.step() ? 'moved' : 'nothing-due'
  }

  function turn(): Promise<Turn> {
    turning ??= take().finally(() => {
      turning = null
    })
    return turning
  }

  // While nothing is due, or somebody holds time back, real work has to go on: it needs a real moment.
  async function pump(): Promise<void> {
    pumping = true
    try {
      while (open > 0) if ((await turn()) !== 'moved') await realPause(1)
    } finally {
      pumping = false
    }
  }

  return {
    turn,
    driven(work) {
      open += 1
      const end = (): void => {
        open -= 1
      }
      work.then(end, end)
      if (!pumping) void pump()
      return work
    },
    get open() {
      return open
    },
  }
}

/**
 * Moves the clock from due time to due time until the promise settles, and passes it on.
 *
 * @throws Error when nothing is due any more and nothing real ends it within `withinMs` real milliseconds: it can never end
 * @default withinMs 4_000
 */
export async function drive<T>(clock: VirtualClock, work: Promise<T>, withinMs: number = 4_000): Promise<T> {
  let settled = false
  const end = (): void => {
    settled = true
  }
  work.then(end, end)
  const driver = createDriver(clock)
  const deadline = realClock.monotonic() + withinMs
  while (!settled) {
    const turn = await driver.turn()
    if (settled) break
    if (realClock.monotonic() > deadline) {
      throw new Error(
        `no end within ${withinMs} ms of real time; ${turn === 'moved' ? 'timers go on for ever' : 'no timer is set, and nothing else ends it'}`,
      )
    }
    if (turn !== 'moved') await realPause(1)
  }
  return work
}

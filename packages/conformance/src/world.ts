// Time for one clause. On a simulated broker a pump moves the virtual clock whenever nothing else can go on; on a real one time
// passes by itself. Clauses are written once for both.

import type { Clock } from '@posthorn/core/adapter'
import { ClauseFailure, shown } from './assert.ts'
import { realClock, settled } from './clock.ts'
import type { SteppedClock } from './harness.ts'

export interface World {
  readonly clock: Clock
  readonly virtual: boolean
  until(what: string, condition: () => boolean | Promise<boolean>, withinMs: number, seen?: () => unknown): Promise<void>
  sleep(ms: number): Promise<void>
  /** Virtual time stands still until the work is done. */
  real<T>(work: Promise<T>): Promise<T>
  stepWall(ms: number): void
  /** Rejects when the clause can never end: nothing is left that could happen, or its time is used up. */
  readonly failed: Promise<never>
  /** Gives the clause more virtual time, as everything that shows progress does. */
  progress(ms?: number): void
  stop(): void
}

/** How far virtual time may run while the clause shows no progress. Heartbeats go on for ever, so silence alone proves nothing. */
const patienceMs = 15 * 60_000
/** Turns without any timer after which nothing can ever happen again. */
const idleTurns = 5

/** Time that is moved: `pending` says what is waited for when a clause hangs. */
export function simulatedWorld(clock: SteppedClock, pending: () => string): World {
  const waiters = new Set<() => void>()
  let stopped = false
  let holds = 0
  let limit = clock.monotonic() + patienceMs
  let reject: (error: unknown) => void = () => {}
  const failed = new Promise<never>((_, no) => {
    reject = no
  })
  failed.catch(() => {})
  const awaited = new Map<object, string>()

  const waitsFor = (): string =>
    [...awaited.values(), pending()].filter((text) => text !== '').join('; ') || 'nothing that the suite knows of'

  async function pump(): Promise<void> {
    let idle = 0
    while (!stopped) {
      await settled()
      if (waiters.size > 0) {
        const turn = [...waiters]
        waiters.clear()
        for (const wake of turn) wake()
        await settled()
      }
      if (stopped || holds > 0) continue
      if (clock.monotonic() > limit) {
        reject(
          new ClauseFailure('fail', `no end after ${patienceMs / 60_000} virtual minutes without progress; waiting for: ${waitsFor()}`),
        )
        return
      }
      if (clock.step()) idle = 0
      else if (++idle > idleTurns) {
        reject(new ClauseFailure('fail', `proof of a hang: no timer is left and nothing runs; waiting for: ${waitsFor()}`))
        return
      }
    }
  }
  // What a timer throws is an uncaught exception of the code under test, and is reported as one.
  pump().catch((error: unknown) => {
    reject(new ClauseFailure('fail', `a timer threw: ${shown(error)}`))
  })

  const progress = (ms = 0): void => {
    limit = Math.max(limit, clock.monotonic() + ms + patienceMs)
  }
  return {
    clock,
    virtual: true,
    failed,
    progress,
    async until(what, condition, withinMs, seen) {
      const deadline = clock.monotonic() + withinMs
      const entry = {}
      awaited.set(entry, what)
      progress(withinMs)
      try {
        while (!(await condition())) {
          if (clock.monotonic() > deadline) throw late(what, withinMs, seen)
          await new Promise<void>((resolve) => waiters.add(resolve))
        }
      } finally {
        awaited.delete(entry)
      }
    },
    sleep(ms) {
      progress(ms)
      return new Promise((resolve) => {
        clock.timer(ms, resolve)
      })
    },
    async real(work) {
      holds++
      try {
        return await work
      } finally {
        holds--
      }
    },
    stepWall: (ms) => clock.stepWall(ms),
    stop() {
      stopped = true
      for (const wake of waiters) wake()
    },
  }
}

/** Time as it is. */
export function realWorld(): World {
  const failed = new Promise<never>(() => {})
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      realClock.timer(ms, resolve)
    })
  return {
    clock: realClock,
    virtual: false,
    failed,
    progress() {},
    async until(what, condition, withinMs, seen) {
      const deadline = realClock.monotonic() + withinMs
      while (!(await condition())) {
        if (realClock.monotonic() > deadline) throw late(what, withinMs, seen)
        await sleep(10)
      }
    },
    sleep,
    real: (work) => work,
    stepWall() {
      throw new ClauseFailure('not proven', 'the wall clock of a real machine is not stepped')
    },
    stop() {},
  }
}

function late(what: string, withinMs: number, seen: (() => unknown) | undefined): ClauseFailure {
  const found = seen === undefined ? '' : `; seen: ${shown(seen())}`
  return new ClauseFailure('fail', `not within ${withinMs} ms: ${what}${found}`)
}

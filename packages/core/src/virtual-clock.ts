// A clock that stands still until somebody moves it. Nothing here waits for real time, so an hour of backoff takes as long
// as the code that runs in it. Whoever drives it lets promises settle between two steps.

import type { Clock } from './contract.ts'

/** Time that moves only by `step` and `stepWall`. */
export interface VirtualClock extends Clock {
  /** Timers that are set and neither ran nor were cancelled. */
  pending(): number
  /** Monotonic time of the earliest timer, or null when none is set. */
  nextDue(): number | null
  /**
   * Moves both times to the earliest due time and runs every timer that was due then, in the order they were set. A timer
   * that one of them sets with 0 ms waits for the next step. Answers false, and moves nothing, when no timer is set. What a
   * timer throws is thrown here, after the others of that time ran.
   */
  step(): boolean
  /** Moves only `now()`, as an administrator or NTP does: timers and `monotonic()` do not notice. May be negative. */
  stepWall(ms: number): void
}

interface Timer {
  readonly due: number
  readonly order: number
  run: (() => void) | null
}

const before = (a: Timer, b: Timer): boolean => a.due < b.due || (a.due === b.due && a.order < b.order)

function siftUp(heap: Timer[], from: number): void {
  const timer = heap[from] as Timer
  let index = from
  while (index > 0) {
    const parent = (index - 1) >> 1
    const above = heap[parent] as Timer
    if (!before(timer, above)) break
    heap[index] = above
    index = parent
  }
  heap[index] = timer
}

function siftDown(heap: Timer[]): void {
  const timer = heap[0] as Timer
  const { length } = heap
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    if (child >= length) break
    const right = child + 1
    if (right < length && before(heap[right] as Timer, heap[child] as Timer)) child = right
    const below = heap[child] as Timer
    if (!before(below, timer)) break
    heap[index] = below
    index = child
  }
  heap[index] = timer
}

function popEarliest(heap: Timer[]): void {
  const last = heap.pop() as Timer
  if (heap.length === 0) return
  heap[0] = last
  siftDown(heap)
}

/**
 * Makes a virtual clock. `startMs` is its first wall time in milliseconds since 1970 (default: 1 January 2026, UTC);
 * `monotonic()` starts at 1,000,000, so that nobody mistakes 0 for "never". Timers last whole milliseconds, rounded up, so
 * that both times are as whole as a real wall clock's.
 */
export function virtualClock(options: { startMs?: number | undefined } = {}): VirtualClock {
  let wall = options.startMs ?? Date.UTC(2026, 0, 1)
  let elapsed = 1_000_000
  let order = 0
  let pending = 0
  const heap: Timer[] = []

  // Cancelled timers stay in the heap until they surface: taking one out of the middle would cost more than skipping it.
  function earliest(): Timer | null {
    for (;;) {
      const first = heap[0]
      if (first === undefined) return null
      if (first.run !== null) return first
      popEarliest(heap)
    }
  }

  return {
    now: () => wall,
    monotonic: () => elapsed,
    timer(ms, run) {
      const timer: Timer = { due: elapsed + Math.ceil(Math.max(0, ms || 0)), order: order++, run }
      heap.push(timer)
      siftUp(heap, heap.length - 1)
      pending++
      return () => {
        if (timer.run === null) return
        timer.run = null
        pending--
      }
    },
    pending: () => pending,
    nextDue: () => earliest()?.due ?? null,
    step() {
      const first = earliest()
      if (first === null) return false
      const { due } = first
      const limit = order
      wall += due - elapsed
      elapsed = due
      let failed = false
      let failure: unknown
      for (let next: Timer | null = first; next !== null && next.due === due && next.order < limit; next = earliest()) {
        popEarliest(heap)
        const { run } = next
        next.run = null
        pending--
        try {
          run?.()
        } catch (error) {
          failure = failed ? failure : error
          failed = true
        }
      }
      if (failed) throw failure
      return true
    },
    stepWall(ms) {
      wall += ms
    },
  }
}

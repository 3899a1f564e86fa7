// Many timers that nearly always are cancelled (deadlines, backoffs) on one timer of the clock: setting and cancelling
// one costs an object and a few pointers. They are grouped by due time; no group runs before its last due time.

import type { Clock } from './contract.ts'

export interface TimerWheel {
  /**
   * Runs `run` once, `ms` milliseconds from now or up to one bucket later, never earlier; returns what cancels it, at
   * O(1) and any number of times. `run` should not throw; if it does, the others of its time still run, then it surfaces.
   */
  timer(ms: number, run: () => void): () => void
  /** Timers that are set. With none, no timer of the clock is set either. */
  readonly size: number
  /** Cancels all. The wheel may be used again. */
  clear(): void
}

interface Entry {
  run: () => void
  bucket: Bucket | null
  before: Entry | null
  after: Entry | null
}
interface Bucket {
  readonly index: number
  first: Entry | null
  last: Entry | null
}

/** Makes a wheel whose timers are late by at most `bucketMs`. It may be used as a `Clock`'s `timer`. */
export function createTimerWheel(clock: Clock, bucketMs: number = 10): TimerWheel {
  const buckets = new Map<number, Bucket>()
  // Indices of the buckets in `buckets`, the earliest first. Buckets stay until they are due, even when they are empty.
  let heap: number[] = []
  let size = 0
  let armed = Number.POSITIVE_INFINITY
  let disarm: (() => void) | null = null

  function arm(): void {
    const next = heap[0]
    if (next === undefined || next >= armed) return
    disarm?.()
    armed = next
    // Clocks that count whole milliseconds must not be a part of one early.
    disarm = clock.timer(Math.max(0, Math.ceil(next * bucketMs - clock.monotonic())), fire)
  }

  function reset(): void {
    disarm?.()
    disarm = null
    armed = Number.POSITIVE_INFINITY
    buckets.clear()
    heap = []
  }

  function fire(): void {
    disarm = null
    armed = Number.POSITIVE_INFINITY
    const now = clock.monotonic()
    let failed = false
    let failure: unknown
    for (let next = heap[0]; next !== undefined && next * bucketMs <= now; next = heap[0]) {
      pop(heap)
      const bucket = buckets.get(next) as Bucket
      buckets.delete(next)
      for (let entry = bucket.first; entry !== null; entry = bucket.first) {
        unlink(entry)
        size -= 1
        try {
          entry.run()
        } catch (error) {
          failure = failed ? failure : error
          failed = true
        }
      }
    }
    if (size === 0) reset()
    else arm()
    if (failed) throw failure
  }

  return {
    timer(ms, run) {
      const index = Math.ceil((clock.monotonic() + Math.max(0, ms)) / bucketMs)
      let bucket = buckets.get(index)
      if (bucket === undefined) {
        bucket = { index, first: null, last: null }
        buckets.set(index, bucket)
        push(heap, index)
      }
      const entry: Entry = { run, bucket, before: bucket.last, after: null }
      if (bucket.last === null) bucket.first = entry
      else bucket.last.after = entry
      bucket.last = entry
      size += 1
      arm()
      return () => {
        if (entry.bucket === null) return
        unlink(entry)
        size -= 1
        if (size === 0) reset()
      }
    },
    get size() {
      return size
    },
    clear() {
      for (const bucket of buckets.values()) for (let entry = bucket.first; entry !== null; entry = bucket.first) unlink(entry)
      size = 0
      reset()
    },
  }
}

function unlink(entry: Entry): void {
  const { bucket, before, after } = entry
  if (bucket === null) return
  if (before === null) bucket.first = after
  else before.after = after
  if (after === null) bucket.last = before
  else after.before = before
  entry.bucket = null
  entry.before = null
  entry.after = null
}

function push(heap: number[], value: number): void {
  let index = heap.length
  heap.push(value)
  while (index > 0) {
    const parent = (index - 1) >> 1
    const above = heap[parent] as number
    if (above <= value) break
    heap[index] = above
    index = parent
  }
  heap[index] = value
}

function pop(heap: number[]): void {
  const value = heap.pop() as number
  const { length } = heap
  if (length === 0) return
  let index = 0
  for (let child = 1; child < length; child = 2 * index + 1) {
    if (child + 1 < length && (heap[child + 1] as number) < (heap[child] as number)) child += 1
    if ((heap[child] as number) >= value) break
    heap[index] = heap[child] as number
    index = child
  }
  heap[index] = value
}

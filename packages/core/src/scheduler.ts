import type { Clock } from './contract.ts'

/** Something that has work ready: an assignment. */
export interface WorkQueue<W> {
  /** How much could start now. 0 where nothing may start here: it is leaving, lost or past its proof of ownership. */
  ready(): number
  /** The next piece; only called when `ready()` > 0. */
  take(): W
}
export interface Scheduler<W> {
  /** Work has become ready in this queue. */
  offer(queue: WorkQueue<W>): void
  /** One of the started pieces ended: its slot is free. */
  freed(): void
  /** Looks again: after a resume, a moved-on proof, more time. */
  kick(): void
  pause(): void
  resume(): void
  stop(): void
  readonly running: number
  readonly paused: boolean
}

/**
 * Starts work while slots are free, taking turns between queues so that a busy one starves nobody, and no faster than the
 * rate allows. `start` may end its piece at once by calling `freed`.
 */
export function createScheduler<W>(options: {
  readonly clock: Clock
  readonly concurrency: number
  readonly rate: { readonly max: number; readonly perMs: number } | undefined
  readonly start: (work: W) => void
}): Scheduler<W> {
  const { clock, concurrency, start } = options
  const waiting: WorkQueue<W>[] = []
  const listed = new Set<WorkQueue<W>>()
  const limit = options.rate === undefined ? undefined : rateLimit(clock, options.rate, () => run())
  let running = 0
  let paused = false
  let stopped = false
  let inside = false
  let again = false

  function run(): void {
    // A piece that ends at once frees its slot from inside `start`; the loop below picks that up instead of recursing.
    if (inside) {
      again = true
      return
    }
    inside = true
    do {
      again = false
      while (!paused && !stopped && running < concurrency && waiting.length > 0) {
        const queue = waiting[0] as WorkQueue<W>
        if (queue.ready() === 0) {
          waiting.shift()
          listed.delete(queue)
          continue
        }
        if (limit !== undefined && !limit.permit()) break
        if (waiting.length > 1) {
          waiting.shift()
          waiting.push(queue)
        }
        running++
        start(queue.take())
      }
    } while (again)
    inside = false
  }

  return {
    offer(queue) {
      if (!listed.has(queue)) {
        listed.add(queue)
        waiting.push(queue)
      }
      run()
    },
    freed() {
      running--
      run()
    },
    kick: run,
    pause() {
      paused = true
    },
    resume() {
      paused = false
      run()
    },
    stop() {
      stopped = true
      limit?.stop()
    },
    get running() {
      return running
    },
    get paused() {
      return paused
    },
  }
}

// At most `max` starts in any window of `perMs`: a ring of the last `max` start times.
function rateLimit(
  clock: Clock,
  rate: { readonly max: number; readonly perMs: number },
  wake: () => void,
): { permit(): boolean; stop(): void } {
  const starts = new Array<number>(rate.max).fill(Number.NEGATIVE_INFINITY)
  let next = 0
  let cancel: (() => void) | null = null
  return {
    permit() {
      const now = clock.monotonic()
      const free = (starts[next] as number) + rate.perMs
      if (free > now) {
        cancel ??= clock.timer(Math.ceil(free - now), () => {
          cancel = null
          wake()
        })
        return false
      }
      starts[next] = now
      next = (next + 1) % rate.max
      return true
    },
    stop: () => cancel?.(),
  }
}

import type { Attempt } from './attempt.ts'
import type { Dispatch, ReadyQueue } from './consumption.ts'
import type { Clock } from './contract.ts'
import type { Entry } from './entry.ts'
import type { ReceivePlan } from './receive-plan.ts'
import { createScheduler } from './scheduler.ts'

/** Hands entries to the handler one by one, as slots and the rate allow. */
export function dispatchSingly(clock: Clock, plan: ReceivePlan, counts: { running: number }, attempt: () => Attempt): Dispatch {
  let run: Attempt | undefined
  const freed = (): void => {
    counts.running--
    scheduler.freed()
  }
  const scheduler = createScheduler<Entry>({
    clock,
    concurrency: plan.concurrency,
    rate: plan.rate,
    start: (entry) => {
      run ??= attempt()
      counts.running++
      run(entry, freed)
    },
  })
  return scheduler
}

/** Hands entries out in batches: a full one at once, a smaller one when its first message has waited `waitMs`. */
export function dispatchBatches(
  clock: Clock,
  plan: ReceivePlan,
  counts: { running: number },
  start: (batch: readonly Entry[], freed: () => void) => void,
): Dispatch {
  const queues: ReadyQueue[] = []
  // Were in a batch that threw: they go alone, as slots are free.
  const alone: Entry[] = []
  let running = 0
  let paused = false
  let stopped = false
  // So many have waited long enough: they go with the next free slot, however few they are.
  let due = 0
  let inside = false
  let again = false
  let cancel: (() => void) | null = null

  function take(max: number): Entry[] {
    const batch: Entry[] = []
    while (batch.length < max && queues.length > 0) {
      const queue = queues.shift() as ReadyQueue
      let ready = queue.ready()
      while (ready > 0 && batch.length < max) {
        const entry = queue.take()
        ready--
        if (entry.alone) alone.push(entry)
        else batch.push(entry)
      }
      if (ready > 0) queues.push(queue)
    }
    return batch
  }

  function count(): number {
    let ready = 0
    for (const queue of queues) ready += queue.ready()
    return ready
  }

  function run(): void {
    // Who looks for work may offer some.
    again = true
    if (inside) return
    inside = true
    while (again) {
      again = false
      let more = true
      while (more && !paused && !stopped) more = next()
    }
    inside = false
  }

  // Starts one batch, if there is one and a slot is free.
  function next(): boolean {
    const free = running < plan.concurrency
    const single = free ? alone.shift() : undefined
    if (single !== undefined) {
      launch([single])
      return true
    }
    const ready = count()
    due = Math.min(due, ready)
    const goes = ready >= plan.max || due > 0
    if (ready > 0 && due === 0 && !(goes && free)) wait()
    if (!goes || !free) return false
    cancel?.()
    cancel = null
    const batch = take(plan.max)
    due = Math.max(0, due - batch.length)
    if (batch.length > 0) launch(batch)
    return true
  }

  // From the first message on, whether a slot is free or not.
  function wait(): void {
    cancel ??= clock.timer(plan.waitMs, () => {
      cancel = null
      due = count()
      run()
    })
  }

  function launch(batch: readonly Entry[]): void {
    running++
    counts.running++
    start(batch, () => {
      running--
      counts.running--
      run()
    })
  }

  return {
    offer(queue) {
      if (!queues.includes(queue)) queues.push(queue)
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
      cancel?.()
      cancel = null
    },
    get paused() {
      return paused
    },
  }
}

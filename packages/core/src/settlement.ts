import type { Assignment, Clock, Outgoing, SettleResult } from './contract.ts'
import type { Entry } from './entry.ts'
import { createSettledPrefix, type SettledPrefix } from './settled-prefix.ts'

/** Settles the finished deliveries of one assignment: in one call per tick or hundred, and only prefixes where the server knows nothing else. */
export interface Settlement {
  /** Gives a delivery its place in delivery order. Call for every one, in that order. */
  admit(entry: Entry): void
  /** This one is finished: settle it as soon as may be. */
  finish(entry: Entry): void
  /** Settles these now, before they are handled, in delivery order. */
  before(entries: readonly Entry[]): Promise<SettleResult>
  /** Resolves when everything finished so far has its answer. */
  flush(): Promise<void>
  /** The assignment is over: nothing more is sent. Returns what was finished and never answered, and what finished behind something unfinished. */
  stop(): { readonly unanswered: readonly Entry[]; readonly behind: readonly Entry[] }
  /** Entries whose settlement has left and is not answered. */
  readonly inFlight: number
}

const perCall = 100
const openCalls = 4
// A server that hands out so many messages at most waits for what leaves here: full calls do not wait for answers.
const openFullCalls = 32

export function createSettlement(options: {
  readonly clock: Clock
  readonly assignment: Assignment
  readonly mode: 'each' | 'prefix'
  /** Some settlements come with outputs: both are one step. */
  readonly atomic: boolean
  /** Called with every answer. */
  readonly answered: (entries: readonly Entry[], result: SettleResult) => void
  /** Called when some have left: they no longer fill the window. */
  readonly sent: () => void
}): Settlement {
  const { clock, assignment, answered, atomic } = options
  const prefix: SettledPrefix<Entry> | null = options.mode === 'prefix' ? createSettledPrefix<Entry>() : null
  // Finished, and waiting for something before it: where only prefixes are settled.
  const behind = new Set<Entry>()
  let due: Entry[] = []
  let inFlight = 0
  const open = new Set<readonly Entry[]>()
  let scheduled = false
  let stopped = false
  // A step with outputs was not done, or is not known to be, where only prefixes are settled: whatever is settled after it would
  // settle it too, without its outputs. Nothing more is said then, and the next owner begins with it.
  let barred = false
  let idle: (() => void)[] = []

  function schedule(): void {
    if (scheduled || stopped || due.length === 0) return
    scheduled = true
    // The end of this turn of the event loop: handlers that end together are settled together.
    clock.timer(0, send)
  }

  function send(): void {
    scheduled = false
    while (!stopped && !barred && due.length > 0 && mayCall()) {
      const size = sizeOfCall()
      if (size === 0) break
      const batch = due.length === size ? due : due.slice(0, size)
      due = batch === due ? [] : due.slice(size)
      void call(batch)
      options.sent()
    }
    tellIdle()
  }

  function mayCall(): boolean {
    return open.size < openCalls || (prefix === null && !atomic && due.length >= perCall && open.size < openFullCalls)
  }

  // While calls are open the rest grows: the next call takes all of it, up to a thousand.
  function sizeOfCall(): number {
    const most = Math.min(due.length, perCall * 10)
    if (!atomic) return most
    // One step with outputs after the other, so that none is settled past one that failed.
    if (prefix !== null) return open.size > 0 ? 0 : most
    // A step by itself: one that is refused must not take its neighbours along.
    const first = due.findIndex((entry) => entry.outputs !== null)
    return first < 0 ? most : Math.min(most, Math.max(1, first))
  }

  async function call(batch: readonly Entry[]): Promise<SettleResult> {
    open.add(batch)
    inFlight += batch.length
    const outputs = outputsOf(batch)
    let result: SettleResult
    try {
      const tokens = batch.map((entry) => entry.delivery.token)
      result = await (outputs === null ? assignment.settle(tokens) : assignment.settle(tokens, outputs))
    } catch {
      // The contract forbids it; an answer that did not come is an answer that is not known.
      result = 'unknown'
    }
    if (outputs !== null && prefix !== null && result !== 'settled') barred = true
    if (!open.delete(batch)) return result
    inFlight -= batch.length
    answered(batch, result)
    if (due.length > 0) schedule()
    tellIdle()
    return result
  }

  function tellIdle(): void {
    if ((due.length > 0 && !barred) || open.size > 0) return
    const waiting = idle
    idle = []
    for (const each of waiting) each()
  }

  return {
    admit(entry) {
      if (prefix !== null) entry.slot = prefix.add(entry)
    },
    finish(entry) {
      if (stopped) return
      if (prefix === null) due.push(entry)
      else {
        if (entry.slot !== null) prefix.finish(entry.slot)
        const ready = prefix.take()
        if (ready.length === 0) behind.add(entry)
        for (const each of ready) {
          if (behind.size > 0) behind.delete(each)
          due.push(each)
        }
      }
      schedule()
    },
    before(entries) {
      if (prefix !== null) {
        for (const entry of entries) if (entry.slot !== null) prefix.finish(entry.slot)
        prefix.take()
      }
      return call(entries)
    },
    flush() {
      if ((due.length === 0 || barred) && open.size === 0) return Promise.resolve()
      return new Promise((resolve) => {
        idle.push(resolve)
        schedule()
      })
    },
    stop() {
      stopped = true
      const left = [...due]
      for (const batch of open) left.push(...batch)
      due = []
      open.clear()
      tellIdle()
      return { unanswered: left, behind: [...behind] }
    },
    get inFlight() {
      return inFlight
    },
  }
}

function outputsOf(batch: readonly Entry[]): readonly Outgoing[] | null {
  let outputs: Outgoing[] | null = null
  for (const entry of batch) {
    if (entry.outputs === null) continue
    outputs ??= []
    outputs.push(...entry.outputs)
  }
  return outputs
}

import type { Consumption } from './consumption.ts'
import type { Entry } from './entry.ts'
import type { TelemetryEvent } from './telemetry.ts'

/** What finished here while its settlement is not known to have arrived: said so, and remembered for when it comes again. */
export interface Repeats {
  /** Was it handled here before? Then its copy is only to be settled. */
  finishedBefore(entry: Entry): boolean
  /** The server answered so, or not at all. */
  unsettled(entries: readonly Entry[], result: 'stale' | 'unknown'): void
  /** Finished behind something unfinished, where only prefixes are settled: it cannot be settled any more. */
  behind(entries: readonly Entry[]): void
}

export function createRepeats({ finished, plan, context }: Consumption, about: TelemetryEvent): Repeats {
  const { telemetry, capabilities } = context
  // Where a step with outputs was not done and only prefixes are settled, all that follows it comes again, and runs in order.
  const remembers = plan.atomicTo === undefined || capabilities.settlement === 'each'
  function told(name: 'settle-stale' | 'settle-unknown' | 'behind-waiting', entries: readonly Entry[]): void {
    if (entries.length === 0) return
    // With atomic outputs a copy comes back only if neither was done, so it has to run.
    if (remembers) for (const entry of entries) if (entry.outputs === null) finished.add(entry.identity)
    telemetry.emit(name, { ...about, count: entries.length, ids: entries.map((each) => each.id) })
  }
  return {
    finishedBefore: (entry) => finished.size > 0 && finished.has(entry.identity),
    unsettled: (entries, result) => told(result === 'stale' ? 'settle-stale' : 'settle-unknown', entries),
    behind: (entries) => told('behind-waiting', entries),
  }
}

import type { Delivery } from './contract.ts'
import type { Entry } from './entry.ts'
import type { Settlement } from './settlement.ts'
import type { Telemetry, TelemetryEvent } from './telemetry.ts'

/** At most once: settles before anything starts, and counts what will never start because of it. */
export interface SettleFirst {
  /** Settles these; those that may start are placed. */
  take(deliveries: readonly Delivery[]): Promise<void>
  started(entry: Entry): void
  /** The assignment is over: what is settled and not started is lost, and said so. */
  stop(): void
}

export function settleFirst<A extends { readonly entry: Entry }>(options: {
  readonly settlement: Settlement
  readonly telemetry: Telemetry
  readonly about: TelemetryEvent
  readonly over: () => boolean
  readonly admit: (delivery: Delivery) => A
  /** They were settled: they are held until they end. */
  readonly place: (admitted: readonly A[]) => void
}): SettleFirst {
  const { settlement, telemetry, about } = options
  const settled = new Set<Entry>()
  function dropped(entry: Entry, reason: string, note: string): void {
    entry.state = 'gone'
    telemetry.emit('dropped', { ...about, id: entry.id, reason, note })
  }
  return {
    async take(deliveries) {
      const admitted = deliveries.map(options.admit)
      const result = await settlement.before(admitted.map((each) => each.entry))
      if (result === 'settled' && !options.over()) {
        for (const { entry } of admitted) settled.add(entry)
        options.place(admitted)
        return
      }
      const reason = options.over() ? 'lost' : `settle-${result}`
      for (const { entry } of admitted) dropped(entry, reason, 'its settlement before handling is not confirmed, so it is not handled')
    },
    started: (entry) => void settled.delete(entry),
    stop() {
      for (const entry of settled) dropped(entry, 'not-started', 'it was settled before it could start, and its assignment is over')
      settled.clear()
    },
  }
}

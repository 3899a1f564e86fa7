import { createLedger, type Faults } from '../ledger.ts'
import { laneOf, workOf } from '../messages.ts'
import { faultBytes, faultLanes } from './place.ts'

/** A message is in time if it is handled within so many milliseconds of the moment in which it should have been sent. */
export const inTimeMs = 200
/** Messages arrive in time again when they did for so long. */
const steadyMs = 1000

/** What became of each message of a fault run. */
export interface FaultRecord {
  called(n: number): void
  confirmed(n: number): void
  handled(n: number, at: number): void
  /** Messages that were called for and are not confirmed, and the number of the next that was not called for. */
  unconfirmed(): { readonly again: readonly number[]; readonly from: number }
  /** Is everything that was called for confirmed and handled? */
  complete(): boolean
  /** Do messages that were due after the fault arrive in time, and have done so for a while? */
  steady(faultAt: number): boolean
  /** Milliseconds from the fault to the moment from which on messages were in time; undefined while they are not. */
  backMs(faultAt: number): number | undefined
  readonly worstMs: number
  counts(): { readonly sent: number; readonly confirmed: number; readonly received: number }
  /** Lost are those that were confirmed and not handled. */
  faults(): Faults
}

/** Makes the record of a run whose message 0 is due at `since`. */
export function recordOf(since: () => number, perSecond: number, most: number, keyed: boolean): FaultRecord {
  const make = workOf(faultBytes, faultLanes)
  const ledger = createLedger(most, faultLanes)
  const sure = new Uint8Array(most)
  const seen = new Uint8Array(most)
  let sent = 0
  let confirmedCount = 0
  let firstUnseen = 0
  let lastLate = -1
  let worstMs = 0
  const dueAt = (n: number): number => since() + (n * 1000) / perSecond
  const steady = (faultAt: number): boolean => firstUnseen > 0 && dueAt(firstUnseen) >= Math.max(faultAt, dueAt(lastLate)) + steadyMs
  return {
    called(n) {
      sent = Math.max(sent, n + 1)
    },
    confirmed(n) {
      if (sure[n] === 1) return
      sure[n] = 1
      confirmedCount++
    },
    handled(n, at) {
      ledger.handled(n, keyed ? laneOf(make(n)) : -1)
      if (seen[n] === 1) return
      seen[n] = 1
      while (seen[firstUnseen] === 1) firstUnseen++
      const delay = at - dueAt(n)
      worstMs = Math.max(worstMs, delay)
      if (delay > inTimeMs) lastLate = Math.max(lastLate, n)
    },
    unconfirmed() {
      const again = []
      for (let n = 0; n < sent; n++) if (sure[n] === 0) again.push(n)
      return { again, from: sent }
    },
    complete: () => confirmedCount === sent && ledger.count >= sent,
    steady,
    backMs(faultAt) {
      if (!steady(faultAt)) return undefined
      return lastLate < 0 ? 0 : Math.max(0, dueAt(lastLate + 1) - faultAt)
    },
    get worstMs() {
      return worstMs
    },
    counts: () => ({ sent, confirmed: confirmedCount, received: ledger.received }),
    faults() {
      let lost = 0
      for (let n = 0; n < sent; n++) if (sure[n] === 1 && seen[n] === 0) lost++
      return { ...ledger.faults(0), lost }
    },
  }
}

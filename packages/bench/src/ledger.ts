/** What went wrong in a run, by message. All zero, or the figures of the run are worth nothing. */
export interface Faults {
  /** Sent, stored and not handled. */
  readonly lost: number
  /** Handled again, each time counted. */
  readonly twice: number
  /** Handled after a newer message of the same key. */
  readonly misordered: number
}

/** Ticks off the messages of one run by their numbers, 0 and up. */
export interface Ledger {
  /** Message `n` was handled; `lane` is the number of its key, -1 where there is no order to keep. */
  handled(n: number, lane: number): void
  /** Different messages handled so far. */
  readonly count: number
  /** Messages handled so far, repeats too. */
  readonly received: number
  /** `sent`: how many there were to handle. */
  faults(sent: number): Faults
}

/** No faults. */
export const clean: Faults = Object.freeze({ lost: 0, twice: 0, misordered: 0 })

/** Makes the ledger of a run of at most `most` messages of `lanes` keys. */
export function createLedger(most: number, lanes: number): Ledger {
  const seen = new Uint8Array(most)
  const last = new Int32Array(lanes).fill(-1)
  let count = 0
  let twice = 0
  let misordered = 0
  return {
    handled(n, lane) {
      // What comes again is counted as a repeat only: the first time says whether it was in order.
      if (seen[n] === 1) {
        twice++
        return
      }
      seen[n] = 1
      count++
      if (lane < 0) return
      if (n < (last[lane] ?? -1)) misordered++
      else last[lane] = n
    },
    get count() {
      return count
    },
    get received() {
      return count + twice
    },
    faults: (sent) => ({ lost: Math.max(0, sent - count), twice, misordered }),
  }
}

/** Is there any? */
export const faulty = (faults: Faults): boolean => faults.lost + faults.twice + faults.misordered > 0

/** All of several runs together. */
export function summed(all: readonly Faults[]): Faults {
  return all.reduce(
    (sum, each) => ({ lost: sum.lost + each.lost, twice: sum.twice + each.twice, misordered: sum.misordered + each.misordered }),
    clean,
  )
}

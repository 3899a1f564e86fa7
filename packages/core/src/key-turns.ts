import type { BusyHandlers } from './busy-handlers.ts'
import type { Clock, SettleResult } from './contract.ts'
import type { Entry } from './entry.ts'
import { keyLanes } from './key-lanes.ts'

/** Whose turn it is in each key of one assignment: nothing starts beside, or before, what it has to wait for. */
export interface KeyTurns {
  /** It was read: its turn comes at once, or when everything before it in its key is through. */
  enter(entry: Entry): void
  /** It is through: whoever waits behind it has its turn. */
  open(entry: Entry): void
  /** Its handler is through, its outputs become one step with its settlement: those behind it wait for the answer. */
  hold(entry: Entry): void
  /** These were held, and this is the answer. */
  answered(entries: readonly Entry[], result: SettleResult): void
  clear(): void
}

// Without an answer, or with another than hoped for, a held message runs again, and before those behind it, or they would be
// done in the wrong order. If it has not come again after this long, the server has done both and will not bring it.
const comesAgainWithinMs = 10_000

/** Its handler is through, and whether it has to run again is not known. */
interface Held {
  readonly entry: Entry
  /** What came again of it before the answer did. */
  repeat: Entry | null
  /** Ends the wait for its repeat; null: there is no answer yet. */
  cancel: (() => void) | null
}

export function keyTurns(options: {
  readonly clock: Clock
  readonly busy: BusyHandlers
  readonly over: () => boolean
  /** It finished here before, and only its settlement did not arrive. */
  readonly finishedBefore: (entry: Entry) => boolean
  /** Settles it without running it. */
  readonly settleAgain: (entry: Entry) => void
  /** It was just read, and may start. */
  readonly ready: (entry: Entry) => void
  /** What it waited for is over, and it may start. */
  readonly released: (entry: Entry) => void
}): KeyTurns {
  const { clock, busy, over } = options
  const lanes = keyLanes()
  const held = new Map<string, Held>()

  // Looked at when its turn comes, and not only when it is read: its first copy may have finished since.
  function turn(entry: Entry, start: (entry: Entry) => void): void {
    for (let next: Entry | null = entry; next !== null && !over(); next = lanes.pass(next)) {
      const { finishedBefore, settleAgain } = options
      if (finishedBefore(next)) {
        settleAgain(next)
        continue
      }
      const waiting = next
      const waits = busy.waitFor(waiting, (finished) => {
        if (over()) return
        if (!finished) return turn(waiting, options.released)
        settleAgain(waiting)
        open(waiting)
      })
      if (!waits) start(waiting)
      return
    }
  }

  function open(entry: Entry): void {
    lanes.open(entry, (behind) => turn(behind, options.released))
  }

  function again(before: Held, repeat: Entry, start: (entry: Entry) => void): void {
    before.cancel?.()
    held.delete(repeat.identity)
    lanes.replace(before.entry, repeat)
    turn(repeat, start)
  }

  function letGo({ entry, repeat }: Held): void {
    held.delete(entry.identity)
    if (over()) return
    open(entry)
    if (repeat !== null && lanes.enter(repeat)) turn(repeat, options.released)
  }

  return {
    enter(entry) {
      const before = held.size > 0 ? held.get(entry.identity) : undefined
      if (before === undefined) {
        if (lanes.enter(entry)) turn(entry, options.ready)
      } else if (before.cancel !== null) again(before, entry, options.ready)
      // It came before the answer did.
      else if (before.repeat === null) before.repeat = entry
      else lanes.enter(entry)
    },
    open,
    hold: (entry) => void held.set(entry.identity, { entry, repeat: null, cancel: null }),
    answered(entries, result) {
      if (held.size === 0) return
      for (const entry of entries) {
        if (entry.outputs === null) continue
        const before = held.get(entry.identity)
        if (before?.entry !== entry) continue
        if (result === 'settled') letGo(before)
        else if (before.repeat !== null) again(before, before.repeat, options.released)
        else before.cancel = clock.timer(comesAgainWithinMs, () => letGo(before))
      }
    },
    clear() {
      for (const { cancel } of held.values()) cancel?.()
      held.clear()
      lanes.clear()
    },
  }
}

import type { Entry } from './entry.ts'

/** Messages of one key, one behind the other: a map of key to tail, and a link only from the second message on. */
export interface KeyLanes {
  /** Appends; true if nothing is before it. Without a key nothing ever is. */
  enter(entry: Entry): boolean
  /** The head of this lane is through: `next` is called with the one behind it, at once or when an overdue handler has ended. */
  open(entry: Entry, next: (behind: Entry) => void): void
  /** The same for one that was not run: answers who is behind it. */
  pass(entry: Entry): Entry | null
  /** Its repeat takes its place, before those behind it. */
  replace(entry: Entry, repeat: Entry): void
  clear(): void
}

// A map that loses and gains a key with each message is made anew all the time. So keys that come again and again stay in
// it, empty: short ones, and so many at most, or as many as there are others.
const idleKeys = 1024
const idleLength = 64

export function keyLanes(): KeyLanes {
  const tails = new Map<string, Entry | null>()
  let idle = 0

  function empty(lane: string): void {
    if (lane.length > idleLength) {
      tails.delete(lane)
      return
    }
    tails.set(lane, null)
    idle++
    if (idle <= idleKeys || idle * 2 <= tails.size) return
    for (const [key, tail] of tails) if (tail === null) tails.delete(key)
    idle = 0
  }

  const lanes: KeyLanes = {
    enter(entry) {
      if (entry.lane === null) return true
      const tail = tails.get(entry.lane)
      tails.set(entry.lane, entry)
      if (tail === undefined) return true
      if (tail === null) {
        idle--
        return true
      }
      tail.behind = entry
      return false
    },
    open(entry, next) {
      if (entry.lane === null) return
      if (entry.overdue !== null) {
        void entry.overdue.then(() => {
          entry.overdue = null
          lanes.open(entry, next)
        })
        return
      }
      const behind = lanes.pass(entry)
      if (behind !== null) next(behind)
    },
    pass(entry) {
      if (entry.lane === null) return null
      const { behind } = entry
      if (behind === null) {
        if (tails.get(entry.lane) === entry) empty(entry.lane)
        return null
      }
      // Cut, so that what is through keeps nothing alive that comes after it.
      entry.behind = null
      return behind
    },
    replace(entry, repeat) {
      if (repeat.lane === null) return
      if (tails.get(repeat.lane) === entry) tails.set(repeat.lane, repeat)
      repeat.behind = entry.behind
      entry.behind = null
    },
    clear() {
      tails.clear()
      idle = 0
    },
  }
  return lanes
}

import type { Entry } from './entry.ts'

/** Messages of one key, one behind the other: a map of key to tail, and a link only from the second message on. */
export interface KeyLanes {
  /** Appends; true if nothing is before it. Without a key nothing ever is. */
  enter(entry: Entry): boolean
  /** The head of this lane is through: `next` is called with the one behind it, at once or when an overdue handler has ended. */
  open(entry: Entry, next: (behind: Entry) => void): void
  clear(): void
}

export function keyLanes(): KeyLanes {
  const tails = new Map<string, Entry>()
  const lanes: KeyLanes = {
    enter(entry) {
      if (entry.lane === null) return true
      const tail = tails.get(entry.lane)
      tails.set(entry.lane, entry)
      if (tail === undefined) return true
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
      } else if (entry.behind !== null) next(entry.behind)
      else if (tails.get(entry.lane) === entry) tails.delete(entry.lane)
    },
    clear: () => tails.clear(),
  }
  return lanes
}

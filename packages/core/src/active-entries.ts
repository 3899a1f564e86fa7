import type { Entry } from './entry.ts'

/** Entries in no order, each at most once: what a `Set` does, without a new table every few messages. */
export interface ActiveEntries extends Iterable<Entry> {
  readonly size: number
  add(entry: Entry): void
  delete(entry: Entry): void
  clear(): void
}

/** Makes an empty one. An entry is in one of them only: it knows its place itself. */
export function activeEntries(): ActiveEntries {
  let all: Entry[] = []
  return {
    [Symbol.iterator]: () => all[Symbol.iterator](),
    get size() {
      return all.length
    },
    add(entry) {
      if (entry.place >= 0) return
      entry.place = all.length
      all.push(entry)
    },
    delete(entry) {
      const { place } = entry
      if (place < 0) return
      entry.place = -1
      const last = all.pop() as Entry
      if (last === entry) return
      all[place] = last
      last.place = place
    },
    clear() {
      for (const entry of all) entry.place = -1
      all = []
    },
  }
}

/** First in, first out, O(1) per item over its lifetime: taken items are skipped, and given back in lumps. */
export interface ReadyList<T> {
  push(item: T): void
  /** The oldest; only called when `size` > 0. */
  take(): T
  readonly size: number
  /** Keeps what `keep` says, in order; returns the others. */
  sift(keep: (item: T) => boolean): readonly T[]
  clear(): void
}

export function readyList<T>(): ReadyList<T> {
  let items: T[] = []
  let head = 0
  return {
    push: (item) => void items.push(item),
    take() {
      const item = items[head] as T
      head++
      if (head === items.length) {
        items = []
        head = 0
      } else if (head > 1024 && head * 2 > items.length) {
        items = items.slice(head)
        head = 0
      }
      return item
    },
    get size() {
      return items.length - head
    },
    sift(keep) {
      const kept: T[] = []
      const others: T[] = []
      for (const item of items.slice(head)) (keep(item) ? kept : others).push(item)
      items = kept
      head = 0
      return others
    },
    clear() {
      items = []
      head = 0
    },
  }
}

/** First in, first out, O(1) per item over its lifetime: taken items are skipped, and given back in lumps. */
export interface ReadyList<T> {
  push(item: T): void
  /** The oldest; only called when `size` > 0. */
  take(): T
  readonly size: number
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
    clear() {
      items = []
      head = 0
    },
  }
}

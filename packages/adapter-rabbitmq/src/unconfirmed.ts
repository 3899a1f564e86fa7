// What was published on a channel and is not confirmed yet. The server counts publishes from 1 and confirms by number: one, or all
// up to one, in any order.

/** The publishes of one channel, by number. */
export interface Unconfirmed<T> {
  /** The next publish. */
  add(item: T): void
  /** Takes out the publish `tag`, or with `upTo` all up to it, and calls `each` with them. A number that is not open is nothing. */
  confirm(tag: number, upTo: boolean, each: (item: T) => void): void
  /** Takes out all that is left, in order. */
  drain(): readonly T[]
  /** How many are open. */
  readonly size: number
}

export function createUnconfirmed<T extends object>(): Unconfirmed<T> {
  // From the oldest that is open; what was confirmed out of turn is null.
  let open: (T | null)[] = []
  let head = 0
  /** The number of `open[head]`. */
  let first = 1
  let size = 0

  function take(index: number, each: (item: T) => void): void {
    const item = open[index]
    if (item === null || item === undefined) return
    open[index] = null
    size--
    each(item)
  }

  function advance(): void {
    while (head < open.length && open[head] === null) {
      head++
      first++
    }
    if (head === open.length) {
      open = []
      head = 0
    } else if (head >= 1024 && head * 2 >= open.length) {
      open = open.slice(head)
      head = 0
    }
  }

  return {
    add(item) {
      open.push(item)
      size++
    },
    confirm(tag, upTo, each) {
      const last = head + tag - first
      if (!upTo) take(last, each)
      else for (let index = head; index <= last && index < open.length; index++) take(index, each)
      advance()
    },
    drain() {
      const left = open.filter((item) => item !== null)
      first += open.length - head
      open = []
      head = 0
      size = 0
      return left
    },
    get size() {
      return size
    },
  }
}

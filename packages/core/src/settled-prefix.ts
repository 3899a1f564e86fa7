// Where a server can only settle "everything up to here", what finished behind something unfinished must wait. This
// tracks the contiguous finished start of what was delivered, in delivery order. It counts no offsets: servers skip some.

/** One delivery in the tracker. */
export interface PrefixSlot {
  readonly finished: boolean
}

/** Tokens in delivery order, and which of them may be settled. */
export interface SettledPrefix<T> {
  /** Appends the token of the next delivery. Order of the calls is delivery order. */
  add(token: T): PrefixSlot
  /** Marks a delivery as finished. Twice is the same as once; after `clear` it does nothing. */
  finish(slot: PrefixSlot): void
  /** The tokens that became part of the finished start since the last call, in order. Each is returned once. */
  take(): T[]
  /** The same where only the last one matters (a commit of "up to here"): it, or undefined where there is none. */
  takeLast(): T | undefined
  /** Deliveries that are not taken yet. */
  readonly size: number
  /** Of these, how many are finished but wait behind an unfinished one (or for `take`). */
  readonly waiting: number
  /** Forgets everything: the assignment is over. */
  clear(): void
}

interface Slot<T> {
  readonly token: T
  finished: boolean
  owner: object | null
}

/** Makes an empty tracker. Every operation is O(1) over its lifetime; memory follows `size`. */
export function createSettledPrefix<T>(): SettledPrefix<T> {
  const self = {}
  let slots: Slot<T>[] = []
  let head = 0
  let waiting = 0

  // The start is moved, not shifted out, and given back once it is the larger half.
  function compact(): void {
    if (head === slots.length) {
      slots = []
      head = 0
    } else if (head >= 512 && head * 2 >= slots.length) {
      slots = slots.slice(head)
      head = 0
    }
  }

  function pass(each: (token: T) => void): void {
    for (let slot = slots[head]; slot?.finished === true; slot = slots[head]) {
      each(slot.token)
      slot.owner = null
      head += 1
      waiting -= 1
    }
    compact()
  }

  return {
    add(token) {
      const slot: Slot<T> = { token, finished: false, owner: self }
      slots.push(slot)
      return slot
    },
    finish(slot) {
      const own = slot as Slot<T>
      if (own.owner !== self || own.finished) return
      own.finished = true
      waiting += 1
    },
    take() {
      const tokens: T[] = []
      pass((token) => tokens.push(token))
      return tokens
    },
    takeLast() {
      let last: T | undefined
      pass((token) => {
        last = token
      })
      return last
    },
    get size() {
      return slots.length - head
    },
    get waiting() {
      return waiting
    },
    clear() {
      for (let i = head; i < slots.length; i++) (slots[i] as Slot<T>).owner = null
      slots = []
      head = 0
      waiting = 0
    },
  }
}

// What of a partition is done. The server keeps one position, before which everything is done; what was finished behind something
// unfinished is kept beside it, as bits in the text that Kafka lets a position carry. So a successor repeats none of it, and to any
// other client it is a position like all others.

/** The farthest that something may be finished ahead of the position: its bits fit the 4,096 bytes that servers allow by default. */
export const farthest = 20_000
const mark = 'ph1:'

/** A position as the server keeps it. */
export interface Place {
  /** Everything before it is done. */
  readonly offset: number
  /** What is done behind it. */
  readonly metadata: string
}

interface Slot {
  readonly offset: number
  finished: boolean
}

export interface Progress {
  /** A message is handed out. In order. False: a predecessor has finished it, and it is not handed out. */
  handOut(offset: number): boolean
  finish(offset: number): void
  /** Up to here everything was looked at. */
  reach(offset: number): void
  /** How far ahead of the position `offset` is. */
  ahead(offset: number): number
  /** What the server is to be told; `also` are counted as finished. */
  place(also?: ReadonlySet<number>): Place
}

/** Begins at a position as the server gave it. */
export function createProgress(start: Place): Progress {
  const carried = readBits(start)
  let slots: Slot[] = []
  let head = 0
  const open = new Map<number, Slot>()
  /** Where the position is when nothing is unfinished. */
  let reached = start.offset

  function advance(): void {
    while (head < slots.length && (slots[head] as Slot).finished) head++
    if (head === slots.length) {
      slots = []
      head = 0
    } else if (head >= 1024 && head * 2 >= slots.length) {
      slots = slots.slice(head)
      head = 0
    }
  }
  const first = (): number => slots[head]?.offset ?? reached

  return {
    handOut(offset) {
      reached = Math.max(reached, offset + 1)
      if (carried.delete(offset)) {
        // Only behind something unfinished does it still have to be told.
        if (head < slots.length) slots.push({ offset, finished: true })
        return false
      }
      const slot = { offset, finished: false }
      slots.push(slot)
      open.set(offset, slot)
      return true
    },
    finish(offset) {
      const slot = open.get(offset)
      if (slot === undefined) return
      open.delete(offset)
      slot.finished = true
      advance()
    },
    reach(offset) {
      reached = Math.max(reached, offset)
    },
    ahead: (offset) => offset - first(),
    place(also) {
      let at = head
      while (at < slots.length && isDone(slots[at] as Slot, also)) at++
      const base = slots[at]?.offset ?? reached
      const done: number[] = []
      for (; at < slots.length; at++) {
        const slot = slots[at] as Slot
        if (isDone(slot, also)) done.push(slot.offset)
      }
      for (const offset of carried) if (offset > base) done.push(offset)
      return { offset: base, metadata: writeBits(base, done) }
    },
  }
}

const isDone = ({ offset, finished }: Slot, also: ReadonlySet<number> | undefined): boolean => finished || also?.has(offset) === true

function writeBits(base: number, done: readonly number[]): string {
  if (done.length === 0) return ''
  let last = base
  for (const offset of done) if (offset > last) last = offset
  const bits = Buffer.alloc(Math.ceil((last - base + 1) / 8))
  for (const offset of done) {
    const bit = offset - base
    bits[bit >> 3] = (bits[bit >> 3] as number) | (1 << (bit & 7))
  }
  return mark + bits.toString('base64')
}

/** What is done behind a position. Texts of others say nothing. */
export function readBits({ offset, metadata }: Place): Set<number> {
  const done = new Set<number>()
  if (!metadata.startsWith(mark)) return done
  const bits = Buffer.from(metadata.slice(mark.length), 'base64')
  for (let at = 0; at < bits.length; at++) {
    const byte = bits[at] as number
    if (byte === 0) continue
    for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) done.add(offset + at * 8 + bit)
  }
  return done
}

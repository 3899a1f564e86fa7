// How far one group is with one log: what is settled, what is out at whom, what comes next.

import type { Entry, Log, Reader } from './log.ts'

/** Somebody who reads a cursor and may be waiting for something to read. */
export interface Waiter {
  readonly waiting: boolean
  wake(): void
}

const pending = 0
const settled = -1

/** Position of a group in one log. Marks are kept from the first unsettled offset on; a mark above 0 is the epoch of the holder. */
export class Cursor implements Reader {
  readonly log: Log
  /** Deliveries are a copy of the group's retries. */
  readonly parked: boolean
  /** Who reads it now: one owner, or all who share a queue. */
  readonly owners: Waiter[] = []
  low: number
  /** Handed out and not settled. */
  held = 0
  settledCount = 0
  handedOut = 0
  repeated = 0
  /** Unsettled entries that left behind the group's back and that no member was told of. */
  lost = 0
  /** Everything below it is handed out or settled. */
  #scan: number
  #base: number
  #marks: number[] = []
  #turn = 0
  /** Earlier hand-overs by offset, only of what came back. */
  readonly #repeats = new Map<number, number>()

  constructor(log: Log, from: number, parked: boolean) {
    this.log = log
    this.parked = parked
    this.low = this.#scan = this.#base = Math.max(from, log.start)
    log.readers.push(this)
    log.scan(this.low, (entry) => {
      entry.left++
      entry.wanted = true
    })
  }

  /** Not handed out to anybody now. Entries that left the log behind the group's back are counted until they are passed. */
  get backlog(): number {
    return this.remaining - this.held
  }

  /** Not settled. */
  get remaining(): number {
    const marks = this.#marks
    let count = this.log.end - this.low
    for (let index = this.low - this.#base; index < marks.length; index++) if (marks[index] === settled) count--
    return count
  }

  /** May `take` find something? Exact unless entries left behind the group's back. */
  get available(): boolean {
    return this.#scan < this.log.end
  }

  arrived(): void {
    const { owners } = this
    if (owners.length === 1) {
      const only = owners[0] as Waiter
      if (only.waiting) only.wake()
      return
    }
    // Whoever is first gets the most, so each time another one is first.
    const { length } = owners
    const from = length === 0 ? 0 : this.#turn++ % length
    for (const owner of [...owners.slice(from), ...owners.slice(0, from)]) if (owner.waiting) owner.wake()
  }

  /** Hands out up to `max` entries and `maxBytes` bytes (at least one entry) to the holder `epoch`, oldest first. */
  take(epoch: number, max: number, maxBytes: number, into: Entry[]): void {
    const { log } = this
    const marks = this.#marks
    const end = log.end
    let at = this.#scan
    let bytes = 0
    let count = 0
    while (at < end && count < max) {
      const index = at - this.#base
      if (index === marks.length) marks.push(pending)
      if (marks[index] === pending) {
        const entry = log.at(at)
        if (entry === null) marks[index] = settled
        else {
          if (count > 0 && bytes + entry.bytes > maxBytes) break
          marks[index] = epoch
          into.push(entry)
          bytes += entry.bytes
          count++
        }
      }
      at++
    }
    this.#scan = at
    this.held += count
    this.handedOut += count
    if (this.#repeats.size > 0) for (const entry of into) if (this.#repeats.has(entry.offset)) this.repeated++
    if (this.#marks[this.low - this.#base] === settled) this.#advance()
  }

  /** Hand-overs of an entry, the one at hand included. */
  deliveries(offset: number): number {
    return this.#repeats.size === 0 ? 1 : (this.#repeats.get(offset) ?? 0) + 1
  }

  holds(epoch: number, offset: number): boolean {
    return this.#marks[offset - this.#base] === epoch
  }

  /** Settles one entry that `epoch` holds; false: it does not, nothing was touched. */
  settle(epoch: number, offset: number): boolean {
    if (!this.holds(epoch, offset)) return false
    this.#settleAt(offset)
    if (offset === this.low) this.#advance()
    return true
  }

  /** Settles everything up to an entry that `epoch` was given; false: it was not. What is settled already stays so. */
  settleUpTo(epoch: number, offset: number): boolean {
    if (offset < this.low) return true
    if (!this.holds(epoch, offset)) return false
    for (let at = this.low; at <= offset; at++) if (this.#marks[at - this.#base] !== settled) this.#settleAt(at)
    this.#advance()
    return true
  }

  /** Takes back everything that `epoch` holds: it is handed out again, before anything newer, in its order. */
  giveBack(epoch: number): number {
    const marks = this.#marks
    let count = 0
    for (let index = this.low - this.#base; index < marks.length; index++) {
      if (marks[index] !== epoch) continue
      const at = index + this.#base
      marks[index] = pending
      this.#repeats.set(at, this.deliveries(at))
      if (at < this.#scan) this.#scan = at
      count++
    }
    this.held -= count
    return count
  }

  /** Takes one entry back from its holder. */
  giveBackOne(epoch: number, offset: number): void {
    if (!this.holds(epoch, offset)) return
    this.#marks[offset - this.#base] = pending
    this.#repeats.set(offset, this.deliveries(offset))
    if (offset < this.#scan) this.#scan = offset
    this.held--
  }

  /** The log below `offset` was cut off: what was not settled there counts as lost. */
  cut(offset: number): void {
    for (let at = this.low; at < offset; at++) {
      const index = at - this.#base
      const mark = this.#marks[index] ?? pending
      if (mark === settled) continue
      if (mark !== pending) this.held--
      this.lost++
      while (this.#marks.length <= index) this.#marks.push(pending)
      this.#marks[index] = settled
      this.#repeats.delete(at)
    }
    if (this.#scan < offset) this.#scan = offset
    if (this.low < offset) this.#advance()
  }

  /** The group is gone: its entries need it no longer. */
  close(): void {
    const at = this.log.readers.indexOf(this)
    if (at >= 0) this.log.readers.splice(at, 1)
    this.log.scan(this.low, (entry) => {
      if ((this.#marks[entry.offset - this.#base] ?? pending) !== settled) this.log.finish(entry)
    })
  }

  #settleAt(offset: number): void {
    const index = offset - this.#base
    if ((this.#marks[index] ?? pending) > pending) this.held--
    this.#marks[index] = settled
    this.settledCount++
    if (this.#repeats.size > 0) this.#repeats.delete(offset)
    const entry = this.log.at(offset)
    if (entry !== null) this.log.finish(entry)
  }

  #advance(): void {
    const marks = this.#marks
    let index = this.low - this.#base
    while (index < marks.length && marks[index] === settled) index++
    this.low = this.#base + index
    if (index === marks.length) {
      marks.length = 0
      this.#base = this.low
    } else if (index > 1024 && index * 2 > marks.length) {
      this.#marks = marks.slice(index)
      this.#base = this.low
    }
    if (this.#scan < this.low) this.#scan = this.low
  }
}

// Messages that the server holds until their time: one heap by due time, for all topics.

import type { Entry, Log, Usage } from './log.ts'
import type { Topic } from './topic.ts'

/** A stored message that is not in its log yet. */
export interface Delayed {
  readonly due: number
  readonly order: number
  readonly topic: Topic
  readonly log: Log
  readonly usage: Usage
  readonly entry: Entry
}

const before = (a: Delayed, b: Delayed): boolean => a.due < b.due || (a.due === b.due && a.order < b.order)

/** A binary heap, earliest first, equal times in the order they came. */
export class DelayHeap {
  #items: Delayed[] = []
  #order = 0

  get size(): number {
    return this.#items.length
  }

  get first(): Delayed | null {
    return this.#items[0] ?? null
  }

  add(due: number, topic: Topic, log: Log, entry: Entry): void {
    const item: Delayed = { due, order: this.#order++, topic, log, usage: log.usage, entry }
    item.usage.add(entry.bytes)
    const items = this.#items
    let index = items.push(item) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = items[parent] as Delayed
      if (!before(item, above)) break
      items[index] = above
      index = parent
    }
    items[index] = item
  }

  take(): Delayed | null {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (first === undefined || last === undefined) return null
    first.usage.remove(first.entry.bytes)
    if (items.length > 0) this.#sink(last)
    return first
  }

  /** Those of one log or topic, by due time. */
  of(match: (item: Delayed) => boolean): readonly Delayed[] {
    return this.#items.filter(match).sort((a, b) => a.due - b.due || a.order - b.order)
  }

  /** Forgets what matches. */
  remove(match: (item: Delayed) => boolean): void {
    const all = this.#items.filter((item) => {
      if (!match(item)) return true
      item.usage.remove(item.entry.bytes)
      return false
    })
    // A sorted array is a heap.
    this.#items = all.sort((a, b) => a.due - b.due || a.order - b.order)
  }

  #sink(item: Delayed): void {
    const items = this.#items
    const { length } = items
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= length) break
      if (child + 1 < length && before(items[child + 1] as Delayed, items[child] as Delayed)) child++
      const below = items[child] as Delayed
      if (!before(below, item)) break
      items[index] = below
      index = child
    }
    items[index] = item
  }
}

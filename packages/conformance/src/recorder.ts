// Counts every start and every end of handlers, and never de-duplicates. One recorder looks at one group (its members may be
// many); give each group its own.

import type { BatchHandler, Decision, Message } from '@posthorn/core'
import { fail } from './assert.ts'
import { isHidden, type Order, unharmed } from './orders.ts'

/** One run of a handler. */
export interface Start {
  /** Counts all starts of this recorder, from 0, in the order of their times. */
  n: number
  readonly member: string
  readonly topic: string
  /** The order's id, or the message's where the value is no order. */
  readonly id: string
  readonly key: string | undefined
  readonly seq: number
  readonly attempt: number
  readonly position: string | undefined
  readonly at: number
  endedAt: number | undefined
  /** `open` while it runs. `threw` includes decisions that are not `done`. `lost`: its process died or was abandoned. */
  end: 'open' | 'done' | 'threw' | 'decided' | 'lost'
}
/** What a handler of a clause does with a message. Not given: done at once. */
export type Play<T = Order> = (message: Message<T>, start: Start) => Promise<Decision | void> | Decision | void

/** Every start and end of one group's handlers. */
export interface Recorder {
  readonly name: string
  /** A handler that records and then plays. Markers and warm-ups are recorded apart and never played. */
  handler<T = Order>(play?: Play<T>, member?: string): (message: Message<T>) => Promise<Decision | void>
  /** The same for `consumeBatch`: `play` decides for the whole batch. */
  batchHandler<T = Order>(
    play?: (messages: readonly Message<T>[], starts: readonly Start[]) => ReturnType<BatchHandler<Message<T>>>,
    member?: string,
  ): BatchHandler<Message<T>>
  /** For what does not come through a handler (`pull`). */
  begin(message: Message<unknown>, member?: string): Start
  end(start: Start, how: Start['end']): void

  readonly starts: readonly Start[]
  /** Handlers running now. */
  readonly running: number
  /** Handler runs that ended as done. */
  readonly done: number
  /** Different orders that were done at least once. */
  readonly finished: number
  /** Starts of one order, in time. */
  of(order: { readonly id: string } | string): readonly Start[]
  /**
   * Starts that no failure explains: the order was done before, or another start of it was still open or lost. In a quiet run
   * there is none.
   */
  readonly repeats: number
  readonly repeated: readonly Start[]
  /** Pairs of handlers of one key that ran at the same time. */
  readonly overlaps: readonly { readonly key: string; readonly first: Start; readonly second: Start }[]
  /** First starts that came after a later order of their key, and orders that were passed while they waited for their next attempt. */
  disorder(): readonly { readonly key: string; readonly start: Start; readonly after: number }[]
  /** Largest number of handlers that ran at the same time. */
  readonly mostRunning: number
  /** Fails unless each order was started exactly once and done, and nothing else came. */
  exactly(orders: readonly { readonly id: string }[], what?: string): void
  /** Fails unless each order was done at least once, and nothing else came. */
  each(orders: readonly { readonly id: string }[], what?: string): void
  /** Fails if two handlers of a key overlapped or a key went out of order. */
  ordered(what?: string): void
  /** Markers and warm-ups seen, by id. */
  readonly hidden: ReadonlyMap<string, number>
  /** Members that handled a warm-up or an order. */
  handledBy(member: string): number
  /** Forgets everything, for a clause with rounds. Runs that are open stay. */
  reset(): void
}

/** What a recorder in another process saw, in plain data. `run` counts that process's starts. */
export type RecorderEvent =
  | ({ readonly kind: 'start'; readonly run: number } & Omit<Start, 'n' | 'endedAt' | 'end'>)
  | { readonly kind: 'end'; readonly run: number; readonly how: Exclude<Start['end'], 'open'>; readonly at: number }
  | { readonly kind: 'hidden'; readonly id: string; readonly member: string }
/** A recorder that also takes what others saw. */
export interface OpenRecorder extends Recorder {
  /** Answers the start that the event began; give it back with the event that ends it. */
  told(event: RecorderEvent, start?: Start): Start | undefined
}

export interface RecorderTools {
  readonly name: string
  now(): number
  /** A line in the history. */
  note(text: string, id: string, at?: number): void
  /** A body that is not what was sent. */
  harmed(id: string): void
  /** Told what this recorder sees, for one in another process. */
  readonly tell?: ((event: RecorderEvent) => void) | undefined
}

/**
 * What went out of order. A repeat after a crash may go back; but nothing may start for the first time after a later order of its
 * key, and nothing may pass an order that failed and waits for its next attempt.
 */
function disorderIn(starts: readonly Start[]): { key: string; start: Start; after: number }[] {
  const lanes = new Map<string, { top: number; topAt: number }>()
  const previous = new Map<string, Start>()
  const found: { key: string; start: Start; after: number }[] = []
  for (const [index, start] of starts.entries()) {
    if (start.key === undefined || start.seq < 0) continue
    const name = `${start.topic} ${start.key}`
    const lane = lanes.get(name) ?? { top: -1, topAt: -1 }
    lanes.set(name, lane)
    const before = previous.get(start.id)
    const failed = before !== undefined && (before.end === 'threw' || before.end === 'decided')
    if (start.seq < lane.top && (before === undefined || (failed && lane.topAt > before.n)))
      found.push({ key: start.key, start, after: lane.top })
    previous.set(start.id, start)
    if (start.seq > lane.top) {
      lane.top = start.seq
      lane.topAt = index
    }
  }
  return found
}

/** Starts that no failure explains. */
function repeatsIn(byId: ReadonlyMap<string, readonly Start[]>): Start[] {
  const found: Start[] = []
  for (const list of byId.values()) {
    for (const [index, start] of list.entries()) {
      const explained = (other: Start): boolean =>
        (other.end === 'threw' || other.end === 'decided') && other.endedAt !== undefined && other.endedAt <= start.at
      if (!list.slice(0, index).every(explained)) found.push(start)
    }
  }
  return found.sort((a, b) => a.n - b.n)
}

/** Handlers of one key that ran at the same time. */
function overlapsIn(starts: readonly Start[]): { key: string; first: Start; second: Start }[] {
  const lanes = new Map<string, Start[]>()
  const found: { key: string; first: Start; second: Start }[] = []
  for (const second of starts) {
    if (second.key === undefined) continue
    const lane = `${second.topic} ${second.key}`
    const open = (lanes.get(lane) ?? []).filter((first) => first.endedAt === undefined || first.endedAt > second.at)
    for (const first of open) found.push({ key: second.key, first, second })
    lanes.set(lane, [...open, second])
  }
  return found
}

/** See `Recorder`. */
export function createRecorder(tools: RecorderTools): OpenRecorder {
  const starts: Start[] = []
  const byId = new Map<string, Start[]>()
  const openByKey = new Map<string, Set<Start>>()
  const overlaps: { key: string; first: Start; second: Start }[] = []
  const repeated: Start[] = []
  const hidden = new Map<string, number>()
  const members = new Map<string, number>()
  const runs = new Map<Start, number>()
  let told = false
  let stale = false
  let begun = 0
  let running = 0
  let mostRunning = 0
  let done = 0
  let finished = 0

  /** News from several processes comes in any order, so what follows from the order is worked out when somebody asks. */
  function derive(): void {
    if (!stale) return
    stale = false
    repeated.splice(0, repeated.length, ...repeatsIn(byId))
    overlaps.splice(0, overlaps.length, ...overlapsIn(starts))
  }

  function begin(message: Message<unknown>, member: string): Start {
    const value = message.value as Partial<Order> | undefined
    const known = unharmed(value)
    if (known === false) tools.harmed(message.id)
    const start = add({
      member,
      topic: message.topic,
      id: known === undefined ? message.id : (value as Order).id,
      key: message.key,
      seq: known === undefined ? -1 : (value as Order).seq,
      attempt: message.attempt,
      position: message.position,
      at: tools.now(),
    })
    if (tools.tell !== undefined) {
      const { n: _n, end: _end, endedAt: _endedAt, ...facts } = start
      runs.set(start, begun)
      tools.tell({ kind: 'start', run: begun++, ...facts })
    }
    return start
  }

  function add(facts: Omit<Start, 'n' | 'endedAt' | 'end'>): Start {
    const start: Start = { n: starts.length, ...facts, endedAt: undefined, end: 'open' }
    const placed = place(starts, start)
    if (placed !== starts.length - 1) for (let index = placed; index < starts.length; index++) (starts[index] as Start).n = index
    const before = byId.get(start.id)
    if (before === undefined) byId.set(start.id, [start])
    else {
      if (!told && before.some((other) => other.end === 'done' || other.end === 'open' || other.end === 'lost')) repeated.push(start)
      place(before, start)
    }
    if (!told && start.key !== undefined) {
      const lane = `${start.topic} ${start.key}`
      const open = openByKey.get(lane) ?? new Set<Start>()
      openByKey.set(lane, open)
      for (const first of open) overlaps.push({ key: start.key, first, second: start })
      open.add(start)
    }
    stale = told
    members.set(start.member, (members.get(start.member) ?? 0) + 1)
    running++
    mostRunning = Math.max(mostRunning, running)
    tools.note(`${tools.name}: ${start.member} starts, attempt ${start.attempt}`, start.id, start.at)
    return start
  }

  function end(start: Start, how: Start['end'], at: number = tools.now()): void {
    if (start.end !== 'open' || how === 'open') return
    if (how === 'done' && !(byId.get(start.id) ?? []).some((other) => other.end === 'done')) finished++
    start.end = how
    start.endedAt = at
    stale = told
    if (start.key !== undefined) openByKey.get(`${start.topic} ${start.key}`)?.delete(start)
    running--
    if (how === 'done') done++
    tools.note(`${tools.name}: ${start.member} ${how === 'done' ? 'is done' : how}`, start.id, at)
    const run = runs.get(start)
    if (run !== undefined) {
      runs.delete(start)
      tools.tell?.({ kind: 'end', run, how, at })
    }
  }

  function hide(id: string, member: string): void {
    hidden.set(id, (hidden.get(id) ?? 0) + 1)
    members.set(member, (members.get(member) ?? 0) + 1)
    tools.tell?.({ kind: 'hidden', id, member })
  }
  function hides(message: Message<unknown>, member: string): boolean {
    if (!isHidden(message.value)) return false
    hide(message.value.id, member)
    return true
  }

  const recorder: OpenRecorder = {
    name: tools.name,
    begin: (message, member = 'm0') => begin(message, member),
    end,
    told(event, start) {
      told = true
      if (event.kind === 'hidden') hide(event.id, event.member)
      else if (event.kind === 'end') {
        if (start !== undefined) end(start, event.how, event.at)
      } else {
        const { kind: _kind, run: _run, ...facts } = event
        return add(facts)
      }
      return undefined
    },
    handler:
      (play, member = 'm0') =>
      async (message) => {
        if (hides(message, member)) return
        const start = begin(message, member)
        try {
          const decision = await play?.(message, start)
          end(start, decision === undefined ? 'done' : 'decided')
          return decision
        } catch (error) {
          end(start, 'threw')
          throw error
        }
      },
    batchHandler:
      (play, member = 'm0') =>
      async (messages) => {
        const shown = messages.filter((message) => !hides(message, member))
        const begun = shown.map((message) => begin(message, member))
        try {
          const decisions = (await play?.(shown, begun)) ?? []
          for (const [index, start] of begun.entries()) end(start, decisions[index] === undefined ? 'done' : 'decided')
          let next = 0
          return messages.map((message) => (isHidden(message.value) ? undefined : decisions[next++]))
        } catch (error) {
          for (const start of begun) end(start, 'threw')
          throw error
        }
      },
    starts,
    get running() {
      return running
    },
    get done() {
      return done
    },
    get finished() {
      return finished
    },
    get repeats() {
      derive()
      return repeated.length
    },
    get repeated() {
      derive()
      return repeated
    },
    get overlaps() {
      derive()
      return overlaps
    },
    get mostRunning() {
      return mostRunning
    },
    hidden,
    of: (order) => byId.get(typeof order === 'string' ? order : order.id) ?? [],
    handledBy: (member) => members.get(member) ?? 0,
    disorder: () => disorderIn(starts),
    exactly(orders, what = 'orders') {
      recorder.each(orders, what)
      derive()
      if (repeated.length > 0)
        fail(
          `${repeated.length} repeats in a quiet run (${what}, ${tools.name})`,
          repeated.map((start) => start.id),
        )
      const twice = orders.filter((order) => recorder.of(order).length !== 1)
      if (twice.length > 0)
        fail(
          `${twice.length} of ${orders.length} ${what} were started more than once (${tools.name})`,
          twice.map((order) => order.id),
        )
    },
    each(orders, what = 'orders') {
      const missing = orders.filter((order) => !recorder.of(order).some((start) => start.end === 'done'))
      if (missing.length > 0)
        fail(
          `${missing.length} of ${orders.length} ${what} were never done (${tools.name})`,
          missing.map((order) => order.id),
        )
      const known = new Set(orders.map((order) => order.id))
      const extra = [...byId.keys()].filter((id) => !known.has(id))
      if (extra.length > 0) fail(`${extra.length} came that are none of the ${orders.length} ${what} (${tools.name})`, extra)
    },
    ordered(what = 'orders') {
      derive()
      const [pair] = overlaps
      if (pair !== undefined) {
        fail(`${overlaps.length} times two handlers of one key ran at once (${what}, ${tools.name}); first: key "${pair.key}"`, [
          pair.first.id,
          pair.second.id,
        ])
      }
      const wrong = recorder.disorder()
      const [first] = wrong
      if (first !== undefined) {
        fail(
          `${wrong.length} times a key went out of order (${what}, ${tools.name}); first: key "${first.key}", counter ${first.start.seq} after ${first.after}`,
          [first.start.id],
        )
      }
    },
    reset() {
      const open = starts.filter((start) => start.end === 'open')
      derive()
      starts.length = 0
      repeated.length = 0
      overlaps.length = 0
      byId.clear()
      for (const start of open) {
        starts.push(start)
        byId.set(start.id, [start])
      }
      done = 0
      finished = 0
      mostRunning = running
      members.clear()
    },
  }
  return recorder
}

/** Into a list in the order of time, nearly always at its end; answers where. */
function place(list: Start[], start: Start): number {
  let index = list.length
  while (index > 0 && (list[index - 1] as Start).at > start.at) index--
  list.splice(index, 0, start)
  return index
}

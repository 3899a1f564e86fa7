// Messages that wait in retained messages of their own, in the order in which they are due. What is small stays in memory; beyond a
// bound only names and times do, and the message is fetched when its time has come.

import type { Clock } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import { packetBytes } from './decode.ts'
import { waitingIn } from './layout.ts'

/** One message that waits. */
export interface Waiting {
  readonly topic: string
  readonly due: number
  readonly partition: number | null
  /** The how manieth that came. */
  readonly nth: number
  /** null: to be fetched. */
  packet: IPublishPacket | null
  taken: boolean
}

export interface WaitingList {
  /** A retained message of the folder came, or, without a body, went. */
  put(packet: IPublishPacket): void
  /** Those that are due and not taken yet, the one that is due first in front; they are taken now. */
  take(most: number): readonly Waiting[]
  /** It was not possible: it may be taken again. */
  giveBack(one: Waiting): void
  /** It is done with. */
  drop(one: Waiting): void
  stop(): void
}

/** Messages in memory together, in bytes. */
const mostBytes = 16 * 1024 * 1024
/** The wall clock may be set: it is looked at again after so long. So is what could not be fetched. */
const lookAgainMs = 1000
/** Fetched at once: a subscription each. */
const mostFetches = 64

/** `ready` is called when something is due; `fetch` asks the server to send a message again, which comes by `put`; it resolves when it has asked. */
export function createWaitingList(clock: Clock, ready: () => void, fetch: (topic: string) => Promise<unknown>): WaitingList {
  const all = new Map<string, Waiting>()
  /** By due time, the latest first; a message that went is skipped. */
  let order: Waiting[] = []
  let sorted = true
  let bytes = 0
  let count = 0
  let cancel: (() => void) | null = null
  let wakeAt = Number.POSITIVE_INFINITY
  let stopped = false
  const fetching = new Set<Waiting>()
  const late: Waiting[] = []
  let cancelLate: (() => void) | null = null

  function sort(): void {
    if (sorted) return
    order.sort((a, b) => b.due - a.due || b.nth - a.nth)
    sorted = true
  }

  function arm(): void {
    if (stopped) return
    sort()
    while (order.length > 0 && all.get(order.at(-1)?.topic ?? '') !== order.at(-1)) order.pop()
    const first = order.at(-1)
    if (first === undefined) return
    // Whatever is fetched calls when it has come.
    if (first.packet === null && fetching.size >= mostFetches) return
    if (cancel !== null && wakeAt <= first.due) return
    cancel?.()
    wakeAt = first.due
    cancel = clock.timer(Math.max(0, Math.min(lookAgainMs, first.due - clock.now())), () => {
      cancel = null
      wakeAt = Number.POSITIVE_INFINITY
      if (first.due <= clock.now()) ready()
      else arm()
    })
  }

  function forget(one: Waiting): void {
    if (all.get(one.topic) !== one) return
    all.delete(one.topic)
    if (fetching.delete(one)) arm()
    if (one.packet !== null) bytes -= packetBytes(one.packet)
    one.packet = null
  }

  function fetchNow(one: Waiting): void {
    fetching.add(one)
    const asked = (): void => {
      if (stopped || !fetching.has(one)) return
      late.push(one)
      cancelLate ??= clock.timer(lookAgainMs, again)
    }
    fetch(one.topic).then(asked, asked)
  }

  // It could not be asked for, or did not come.
  function again(): void {
    cancelLate = null
    for (const each of late.splice(0)) if (fetching.delete(each)) giveBack(each)
  }

  function giveBack(one: Waiting): void {
    if (all.get(one.topic) !== one) return
    one.taken = false
    order.push(one)
    sorted = false
    arm()
  }

  return {
    put(packet) {
      const known = all.get(packet.topic)
      if (packet.payload.length === 0) {
        if (known !== undefined) forget(known)
        return
      }
      if (known !== undefined) {
        if (known.packet === null) {
          known.packet = packet
          bytes += packetBytes(packet)
          // What is not being fetched is in the order still.
          if (fetching.delete(known)) {
            order.push(known)
            sorted = false
          }
          if (!known.taken && known.due <= clock.now()) ready()
          else arm()
        }
        return
      }
      const fits = bytes + packetBytes(packet) <= mostBytes
      const one: Waiting = { topic: packet.topic, ...waitingIn(packet.topic), nth: ++count, packet: fits ? packet : null, taken: false }
      if (fits) bytes += packetBytes(packet)
      all.set(packet.topic, one)
      order.push(one)
      sorted = false
      // What is due later changes nothing now: ten thousand of them are sorted once.
      if (cancel === null || one.due < wakeAt) arm()
    },
    take(most) {
      // Whoever has no room calls again when there is some.
      if (most <= 0) return []
      const found: Waiting[] = []
      const now = clock.now()
      sort()
      while (found.length < most) {
        const first = order.at(-1)
        if (first === undefined || first.due > now) break
        if (first.packet === null && fetching.size >= mostFetches && all.get(first.topic) === first) break
        order.pop()
        if (all.get(first.topic) !== first || first.taken) continue
        if (first.packet === null) fetchNow(first)
        else {
          first.taken = true
          found.push(first)
        }
      }
      arm()
      return found
    },
    giveBack,
    drop: forget,
    stop() {
      stopped = true
      cancel?.()
      cancelLate?.()
      all.clear()
      order = []
    },
  }
}

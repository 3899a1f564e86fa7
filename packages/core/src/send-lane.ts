import type { SendRequest } from './context.ts'
import type { Content, Outgoing, Place } from './contract.ts'
import type { MessagingError, Receipt } from './errors.ts'
import type { TallySpan } from './tally.ts'

/** One message on its way out. In exactly one of: its lane's queue, a flight, finished. */
export interface SendEntry {
  readonly request: SendRequest
  readonly resolve: (receipt: Receipt) => void
  readonly reject: (error: MessagingError) => void
  lane: SendLane
  readonly span: TallySpan
  /** What travels: the request's, of a copy with a trace of its own. */
  readonly content: Content
  readonly bytes: number
  /** How long the delay lane holds it, in milliseconds; null: it is not for a delay lane. */
  readonly step: number | null
  /** Where it was put with its first publish; every repeat goes there too. */
  partition: number | null
  /** Kept between repeats where it does not depend on the time. */
  outgoing: Outgoing | null
  flight: SendFlight | null
  previous: SendEntry | null
  next: SendEntry | null
  queued: boolean
  finished: boolean
  /** A publish of it left whose outcome is not known: from then on it is never "surely not stored". */
  mayBeStored: boolean
  publishes: number
  /** What the last publish of it said. */
  fault: unknown
  /** Takes it off its signal. */
  offAbort: (() => void) | null
}

/** One `publish` that is open. */
export interface SendFlight {
  readonly number: number
  readonly entries: readonly SendEntry[]
  readonly lanes: readonly SendLane[]
  readonly controller: AbortController
  /** Entries without an outcome. At none, the publish is of no use to anybody and is aborted. */
  live: number
  landed: boolean
  /** Of the wait for a publish that was aborted and does not resolve. */
  cancelGrace: (() => void) | null
}

/**
 * What waits for one partition of a place, in the order of the calls. A linked list: an entry leaves from the middle
 * (its time is up, it was cancelled) without a search and without being kept until its turn comes.
 */
export class SendLane {
  readonly place: Place
  readonly partition: number | null
  /** Only one publish of an ordered lane is open at a time, so that a repeat cannot be overtaken. */
  readonly ordered: boolean
  /** An open publish holds it closed. */
  busy = false
  /** It waits to be repeated. */
  paused = false
  /** Failures since something was stored; with any, it leaves by itself, so that its trouble stays its own. */
  failures = 0
  cancelPause: (() => void) | null = null
  /** Where repeats of a lane without order wait, once there were any. */
  aside: SendLane | null = null
  /** The number of the last publish that stored something of it. */
  storedBy = 0
  first: SendEntry | null = null
  #last: SendEntry | null = null

  constructor(place: Place, partition: number | null) {
    this.place = place
    this.partition = partition
    this.ordered = partition !== null
  }

  push(entry: SendEntry): void {
    entry.queued = true
    entry.previous = this.#last
    if (this.#last === null) this.first = entry
    else this.#last.next = entry
    this.#last = entry
  }

  /** Back to the front; of several, the last one first. */
  unshift(entry: SendEntry): void {
    entry.queued = true
    entry.next = this.first
    if (this.first === null) this.#last = entry
    else this.first.previous = entry
    this.first = entry
  }

  remove(entry: SendEntry): void {
    if (!entry.queued) return
    entry.queued = false
    if (entry.previous === null) this.first = entry.next
    else entry.previous.next = entry.next
    if (entry.next === null) this.#last = entry.previous
    else entry.next.previous = entry.previous
    entry.previous = null
    entry.next = null
  }
}

export interface Lanes {
  of(place: Place, partition: number | null): SendLane
  /** Where the repeats of a lane without order wait while the others go on. */
  aside(lane: SendLane): SendLane
  all(): Iterable<SendLane>
}

/** Finds the lane of a place and partition; made on first use. Places are compared by what they say, known objects at once. */
export function createLanes(): Lanes {
  const byName = new Map<string, Map<number, SendLane>>()
  const byObject = new WeakMap<Place, Map<number, SendLane>>()
  const all: SendLane[] = []
  let lastPlace: Place | undefined
  let lastLanes: Map<number, SendLane> | undefined

  function lanesOf(place: Place): Map<number, SendLane> {
    let lanes = byObject.get(place)
    if (lanes === undefined) {
      const name = `${place.role} ${place.topic} ${place.group ?? ''}`
      lanes = byName.get(name) ?? new Map<number, SendLane>()
      byName.set(name, lanes)
      byObject.set(place, lanes)
    }
    lastPlace = place
    lastLanes = lanes
    return lanes
  }

  function make(place: Place, partition: number | null): SendLane {
    const lane = new SendLane(place, partition)
    all.push(lane)
    return lane
  }

  return {
    of(place, partition) {
      const lanes = place === lastPlace && lastLanes !== undefined ? lastLanes : lanesOf(place)
      const index = partition ?? -1
      let lane = lanes.get(index)
      if (lane === undefined) {
        lane = make(place, partition)
        lanes.set(index, lane)
      }
      return lane
    },
    aside(lane) {
      if (lane.aside !== null) return lane.aside
      const aside = make(lane.place, lane.partition)
      aside.aside = aside
      lane.aside = aside
      return aside
    },
    all: () => all,
  }
}

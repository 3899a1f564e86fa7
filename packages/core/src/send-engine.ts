import type { BrokerContext, Feeder, Sender, SendRequest } from './context.ts'
import type { Outgoing, PublishReport } from './contract.ts'
import { createSweep } from './deadline-sweep.ts'
import { formOf } from './entry-form.ts'
import { isMessagingError, MessagingError, type Receipt } from './errors.ts'
import { explained } from './explained.ts'
import { onAbort } from './on-abort.ts'
import { cancelled, closed, outOfTime, receiptOf, refusal, settled } from './outcome.ts'
import { roughBytes } from './outgoing.ts'
import { retraced } from './retraced.ts'
import { createRouter } from './route.ts'
import { createLanes, type SendEntry, type SendFlight, type SendLane } from './send-lane.ts'
import { createTally } from './tally.ts'

// One publish is at most this large, and never larger for one partition than one message may be: some servers store what
// one publish brings to a partition as one record set, under the limit of a message.
const mostBytes = 4 * 1024 * 1024
// A repeat waits this long, doubling, so that a server in trouble is not met by a storm.
const firstPauseMs = 50
const longestPauseMs = 1000
// How long an aborted publish may take to resolve before its lanes open again without it.
const abortGraceMs = 1000

const microtask = Promise.resolve()
const nothing = (): void => undefined

interface Load {
  readonly entries: SendEntry[]
  readonly batch: Outgoing[]
  readonly lanes: SendLane[]
  /** Bytes that still fit. */
  room: number
}
interface Failure {
  readonly outcome: 'failed' | 'unknown'
  readonly error: unknown
}

// A promise without a closure of its own: the executor leaves its two functions here.
let heldResolve: (receipt: Receipt) => void = nothing
let heldReject: (error: MessagingError) => void = nothing
function hold(resolve: (receipt: Receipt) => void, reject: (error: MessagingError) => void): void {
  heldResolve = resolve
  heldReject = reject
}

/**
 * Makes the engine behind every send: lanes in the order of the calls, batches that leave at once while the window has
 * room and grow while it has none, repeats under the same content until the deadline.
 */
export function createSender(context: Omit<BrokerContext, 'sender'>): Sender {
  const { adapter, session, capabilities, clock, random, telemetry } = context
  const { batch: batchLimit, batches: window } = capabilities.limits
  const laneBytes = Math.min(mostBytes, capabilities.limits.messageBytes)
  const router = createRouter(context.catalog, capabilities.delay)
  const lanes = createLanes()
  const ready = new Set<SendLane>()
  const flights = new Set<SendFlight>()
  const tally = createTally()
  let flown = 0
  let pumpQueued = false
  const feeders = new Set<Feeder>()
  let shut = false

  function* openEntries(): Iterable<SendEntry> {
    for (const flight of flights) for (const entry of flight.entries) if (!entry.finished && entry.flight === flight) yield entry
    for (const lane of lanes.all()) {
      for (let entry = lane.first; entry !== null; ) {
        const { next } = entry
        yield entry
        entry = next
      }
    }
  }

  const sweep = createSweep<SendEntry>(clock, { count: () => tally.open, entries: openEntries }, (entry) =>
    refuse(entry, outOfTime(adapter, entry)),
  )

  // ── the end of one message ───────────────────────────────────────────────────────────────────────────────────────
  function end(entry: SendEntry): void {
    entry.finished = true
    entry.lane.remove(entry)
    const { flight } = entry
    entry.flight = null
    entry.offAbort?.()
    tally.end(entry.span)
    if (flight !== null && --flight.live === 0 && !flight.landed) abandon(flight)
  }
  function store(entry: SendEntry, receipt: Receipt): void {
    end(entry)
    const { request } = entry
    tell('sent', entry, undefined)
    conclude(entry, request.onEnd?.(request, undefined) ?? receipt)
  }
  function refuse(entry: SendEntry, error: MessagingError): void {
    end(entry)
    const { request } = entry
    const final = request.onEnd?.(request, error) ?? error
    if (isMessagingError(final)) tell(final.outcome === 'unknown' ? 'send-unknown' : 'send-failed', entry, final)
    conclude(entry, final)
  }
  function tell(name: 'sent' | 'send-failed' | 'send-unknown', entry: SendEntry, error: MessagingError | undefined): void {
    const { place, content, copy } = entry.request
    if (copy === true || place.role !== 'main' || !telemetry.wants(name)) return
    const { id, key } = content
    telemetry.emit(name, {
      topic: place.topic,
      partition: entry.lane.partition,
      id,
      key: key ?? undefined,
      attempt: entry.publishes,
      error,
    })
  }
  function conclude(entry: SendEntry, outcome: Receipt | MessagingError): void {
    if (isMessagingError(outcome)) entry.reject(outcome)
    else entry.resolve(outcome)
  }

  // ── leaving ──────────────────────────────────────────────────────────────────────────────────────────────────────
  function list(lane: SendLane): void {
    if (lane.first === null || lane.busy || lane.paused) return
    ready.add(lane)
    wake()
  }
  function wake(): void {
    if (pumpQueued || shut) return
    pumpQueued = true
    microtask.then(pump)
  }
  function pump(): void {
    pumpQueued = false
    if (ready.size === 0) return
    const now = clock.monotonic()
    while (flights.size < window && ready.size > 0) {
      const load: Load = { entries: [], batch: [], lanes: [], room: mostBytes }
      const visited: SendLane[] = []
      for (const lane of ready) {
        // A lane in trouble leaves by itself: what holds its publish up must hold up nobody else's.
        if (lane.failures > 0 && load.entries.length > 0) continue
        ready.delete(lane)
        visited.push(lane)
        take(lane, load, now)
        if (load.entries.length >= batchLimit || load.room <= 0 || lane.failures > 0) break
      }
      // Only now, so that no lane is asked twice for one publish.
      for (const lane of visited) if (lane.first !== null && !lane.busy && !lane.paused) ready.add(lane)
      if (load.entries.length > 0) depart(load)
    }
  }
  function take(lane: SendLane, load: Load, now: number): void {
    const { entries, batch } = load
    const wall = clock.now()
    const before = entries.length
    let share = laneBytes
    for (let entry = lane.first; entry !== null && entries.length < batchLimit; entry = lane.first) {
      if (entry.bytes > load.room && entries.length > 0) {
        load.room = 0
        break
      }
      if (entry.bytes > share && entries.length > before) break
      const form = leave(entry, now, wall)
      if (form === undefined) continue
      lane.remove(entry)
      entries.push(entry)
      batch.push(form)
      load.room -= entry.bytes
      share -= entry.bytes
    }
    if (entries.length === before) return
    load.lanes.push(lane)
    if (lane.ordered) lane.busy = true
  }
  // The adapter's form of an entry that may leave now; one that may not has its outcome afterwards.
  function leave(entry: SendEntry, now: number, wall: number): Outgoing | undefined {
    const { request } = entry
    if (request.deadline <= now) refuse(entry, outOfTime(adapter, entry))
    else if (request.allowed !== undefined && !request.allowed()) refuse(entry, cancelled(entry, 'what it belongs to is over'))
    else {
      try {
        return formOf(capabilities, router, entry, wall)
      } catch (error) {
        refuse(entry, refusal(adapter, entry, error))
      }
    }
    return undefined
  }
  function depart(load: Load): void {
    const { entries, batch } = load
    const controller = new AbortController()
    const flight: SendFlight = {
      number: ++flown,
      entries,
      lanes: load.lanes,
      controller,
      live: entries.length,
      landed: false,
      cancelGrace: null,
    }
    for (const entry of entries) {
      entry.flight = flight
      entry.publishes++
    }
    flights.add(flight)
    let publishing: Promise<PublishReport>
    try {
      publishing = session.publish(batch, controller.signal)
    } catch (error) {
      publishing = Promise.reject(error)
    }
    publishing.then(
      (report) => land(flight, report, undefined),
      (error: unknown) => land(flight, null, error),
    )
  }

  // ── coming back ──────────────────────────────────────────────────────────────────────────────────────────────────
  function land(flight: SendFlight, answer: PublishReport | null, error: unknown): void {
    if (flight.landed) return
    flight.landed = true
    flight.cancelGrace?.()
    flights.delete(flight)
    const report = answer !== null && Array.isArray(answer?.failures) ? answer : null
    const failures = new Map<number, Failure>()
    if (report !== null) for (const failure of report.failures) failures.set(failure.index, failure)
    const again: SendEntry[] = []
    const { entries } = flight
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index] as SendEntry
      if (entry.finished) continue
      const failure: Failure | undefined = report === null ? { outcome: 'unknown', error } : failures.get(index)
      if (failure === undefined && report !== null) {
        entry.lane.failures = 0
        entry.lane.storedBy = flight.number
        store(entry, receiptOf(entry.request.content.id, report, index))
      } else if (failure !== undefined && comesBack(entry, failure)) again.push(entry)
    }
    if (again.length > 0) repeat(flight, again)
    for (const lane of flight.lanes) {
      if (lane.ordered) lane.busy = false
      list(lane)
    }
    if (ready.size > 0) wake()
  }
  function comesBack(entry: SendEntry, failure: Failure): boolean {
    entry.flight = null
    entry.fault = failure.error ?? new Error('the adapter gave no reason')
    const unknown = failure.outcome !== 'failed'
    if (unknown) entry.mayBeStored = true
    if (!shut && (unknown ? entry.request.retryUnknown : explained(adapter, entry.fault).retryable)) return true
    refuse(entry, refusal(adapter, entry, entry.fault))
    return false
  }
  // To the front of their lanes in order, which then wait. Where there is no order to keep and others of the lane were
  // stored meanwhile, they wait aside: what one message meets must not slow the rest down.
  function repeat(flight: SendFlight, again: readonly SendEntry[]): void {
    const waiting = new Map<SendLane, SendEntry[]>()
    for (let index = again.length - 1; index >= 0; index--) {
      const entry = again[index] as SendEntry
      if (entry.finished) continue
      if (!entry.lane.ordered && entry.lane.storedBy === flight.number) entry.lane = lanes.aside(entry.lane)
      entry.lane.unshift(entry)
      const others = waiting.get(entry.lane)
      if (others === undefined) waiting.set(entry.lane, [entry])
      else others.push(entry)
    }
    for (const [lane, entries] of waiting) pause(lane, entries)
  }
  function pause(lane: SendLane, again: readonly SendEntry[]): void {
    lane.failures++
    if (telemetry.wants('send-repeated')) {
      telemetry.emit('send-repeated', {
        topic: lane.place.topic,
        group: lane.place.group ?? undefined,
        partition: lane.partition,
        ids: again.map((entry) => entry.request.content.id).reverse(),
        count: again.length,
        reason: lane.place.role,
        error: context.wrap(again[0]?.fault, `cannot send to "${lane.place.topic}"`),
      })
    }
    if (lane.paused) return
    lane.paused = true
    ready.delete(lane)
    const full = Math.min(longestPauseMs, firstPauseMs * 2 ** (lane.failures - 1))
    lane.cancelPause = clock.timer(Math.ceil(full * (0.5 + random() / 2)), () => {
      lane.cancelPause = null
      lane.paused = false
      list(lane)
    })
  }
  // Nobody waits for this publish any more. Its lanes stay closed until it resolves, so that nothing overtakes it.
  function abandon(flight: SendFlight): void {
    if (!shut) flight.cancelGrace = clock.timer(abortGraceMs, () => land(flight, null, undefined))
    flight.controller.abort()
  }

  // ── coming in ────────────────────────────────────────────────────────────────────────────────────────────────────
  function send(request: SendRequest): Promise<Receipt> {
    if (shut) return refusedAtOnce(request, 'CLOSED', 'the broker is closed')
    const { content, signal } = request
    if (signal?.aborted) return refusedAtOnce(request, 'CANCELLED', 'its signal was aborted before it could leave')
    let lane: SendLane
    let step: number | null = null
    try {
      if ((request.due > 0 || request.place.role !== 'main') && router.delayed(request, clock.now())) {
        const route = router.lane(request, clock.now())
        lane = lanes.of(route.place, route.partition)
        step = route.step
      } else lane = lanes.of(request.place, router.partition(request))
    } catch (error) {
      const known = context.wrap(error, request.attempted, { outcome: 'failed', messageId: content.id })
      return settled(request.onEnd?.(request, known) ?? known)
    }
    const promise = new Promise<Receipt>(hold)
    const entry: SendEntry = {
      request,
      resolve: heldResolve,
      reject: heldReject,
      lane,
      step,
      span: tally.begin(),
      content: request.copy === true ? retraced(content, random) : content,
      bytes: roughBytes(content),
      partition: null,
      outgoing: step === null ? (request.outgoing ?? null) : null,
      flight: null,
      previous: null,
      next: null,
      queued: false,
      finished: false,
      mayBeStored: false,
      publishes: 0,
      fault: undefined,
      offAbort: null,
    }
    if (signal !== undefined) {
      entry.offAbort = onAbort(signal, () => refuse(entry, cancelled(entry, 'its signal was aborted')))
    }
    lane.push(entry)
    sweep.watch(request.deadline)
    list(lane)
    return promise
  }
  function refusedAtOnce(request: SendRequest, code: 'CLOSED' | 'CANCELLED', text: string): Promise<Receipt> {
    const error = new MessagingError(code, `${request.attempted}: ${text}. it was not stored`, {
      retryable: false,
      outcome: 'failed',
      messageId: request.content.id,
    })
    return settled(request.onEnd?.(request, error) ?? error)
  }

  return {
    send,
    flush: () => tally.flush(),
    async close(deadline) {
      let cancelTimer = nothing
      let late = false
      const timer = new Promise<void>((resolve) => {
        cancelTimer = clock.timer(Math.max(0, deadline - clock.monotonic()), () => {
          late = true
          resolve()
        })
      })
      while (!late && (tally.open > 0 || feeders.size > 0)) {
        await Promise.race([Promise.all([tally.flush(), ...[...feeders].map((feeder) => feeder.flush())]), timer])
      }
      cancelTimer()
      shut = true
      for (const entry of [...openEntries()]) refuse(entry, closed(entry))
      for (const feeder of [...feeders]) feeder.end()
      for (const flight of flights) flight.cancelGrace?.()
      for (const lane of lanes.all()) lane.cancelPause?.()
      flights.clear()
      ready.clear()
      sweep.stop()
    },
    enlist(feeder) {
      feeders.add(feeder)
      return () => feeders.delete(feeder)
    },
    get stats() {
      let open = 0
      for (const flight of flights) open += flight.live
      return { buffered: tally.open, open }
    },
  }
}

import type { BrokerContext } from './context.ts'
import type { Assignment, Content, Delivery, Place } from './contract.ts'
import { nextHop, withoutHop } from './delay-lanes.ts'
import { unwrapEnvelope } from './incoming.ts'
import type { TopicDefinition } from './topic.ts'
import { within } from './within.ts'

/** One delay lane that is owned here. */
export interface DelayLane {
  /** Resolves when the lane is not ours any more. */
  readonly ended: Promise<void>
  /** Starts nothing more, waits for what is on its way, settles it, releases the rest. Resolves soon after `deadline`. */
  handOver(deadline: number): Promise<void>
}

interface Held {
  readonly delivery: Delivery
  readonly content: Content
  /** This very hop of this very message; null where it cannot be told. */
  readonly identity: string | null
  state: 'waiting' | 'leaving' | 'done' | 'settling'
  /** Wall clock. */
  wakeAt: number
  failures: number
}

// Lane 0 holds rests of different lengths, which must not wait for each other: it is read far ahead. The others are queues
// whose head comes first, so little is held of them until their heads are due.
const wideWindow = 240
const narrowWindow = 32
const sendWithinMs = 30_000
const mostFinished = 10_000
const shortestLookMs = 1_000
const doubtMs = 100

/**
 * Works one lane off. A message is held until its hop is over by the wall clock, then sent to its topic or to a shorter
 * lane, and settled when that is confirmed; what was not confirmed is sent again under the same id. `finished` remembers
 * what was moved and may not be known settled, so that a repeat of the lane is settled without moving it twice.
 */
export function runDelayLane(options: {
  readonly context: BrokerContext
  readonly topic: TopicDefinition
  readonly assignment: Assignment
  readonly handOverMs: number
  readonly finished: Set<string>
}): DelayLane {
  const { context, topic, assignment, finished } = options
  const { clock, sender, capabilities } = context
  const { leaving, lost } = assignment
  const main: Place = { topic: topic.name, role: 'main', group: null }
  const delay: Place = { topic: topic.name, role: 'delay', group: null }
  const first = assignment.partition === 0
  const prefix = capabilities.settlement === 'prefix'
  let held: Held[] = []
  let reading = false
  let over = false
  let cancelTimer: (() => void) | null = null
  let headWasDue = false
  let quiet: (() => void)[] = []
  let left: Promise<void> | undefined
  let finish = (): void => undefined
  const ended = new Promise<void>((resolve) => {
    finish = resolve
  })

  const alive = (): boolean => !over && !lost.aborted && clock.monotonic() < assignment.aliveUntil
  const starts = (): boolean => alive() && left === undefined && !leaving.aborted

  async function read(): Promise<void> {
    const window = first || headWasDue ? wideWindow : narrowWindow
    if (reading || !starts() || held.length >= window) return
    reading = true
    const deliveries = await assignment.read(window - held.length)
    reading = false
    if (over) return
    if (deliveries.length === 0) return
    const before = held.length
    for (const delivery of deliveries) held.push(admit(delivery))
    headWasDue = held.slice(before).every((each) => each.wakeAt <= clock.now())
    step()
  }

  function admit(delivery: Delivery): Held {
    const content = contentOf(delivery)
    const hop = content.transport?.['ph-hop']
    const identity = hop === undefined ? null : `${assignment.partition}\n${content.attributes.source ?? ''}\n${content.id}\n${hop}`
    const known = identity !== null && finished.has(identity)
    return { delivery, content, identity, state: known ? 'done' : 'waiting', wakeAt: wakeTime(content), failures: 0 }
  }

  function contentOf(delivery: Delivery): Content {
    const raw = delivery.content
    const position = delivery.position()
    const id = position === null ? context.newId() : `${topic.name}__delay@${position}`
    if ('undecodable' in raw) {
      // Not ours, and not to be lost: its consumers will set it aside with the reason.
      return { id, key: null, body: raw.body, time: null, expiresAt: null, attributes: {}, headers: null, transport: null }
    }
    try {
      const read = unwrapEnvelope(capabilities, raw)
      return { ...read, id: read.id ?? id }
    } catch {
      return { ...raw, id: raw.id ?? id }
    }
  }

  function wakeTime(content: Content): number {
    const now = clock.now()
    const hop = nextHop(content.transport, now)
    return hop.kind === 'hold' ? hop.until : now
  }

  function stopTimer(): void {
    cancelTimer?.()
    cancelTimer = null
  }

  // Everything whose time has come leaves; then one timer for the next.
  function step(): void {
    stopTimer()
    if (over) return
    const now = clock.now()
    let next = Number.POSITIVE_INFINITY
    if (starts()) {
      for (const each of held) {
        if (each.state !== 'waiting') continue
        if (each.wakeAt <= now) void move(each)
        if (each.state === 'waiting') next = Math.min(next, each.wakeAt)
      }
    }
    settle()
    // Whether the lane is still ours is not known now, and may be soon.
    if (left === undefined && !alive()) next = now + doubtMs
    if (next < Number.POSITIVE_INFINITY) {
      // Looked at now and then, so that a step of the wall clock is followed.
      const wait = Math.max(1, next - now)
      cancelTimer = clock.timer(Math.ceil(Math.min(wait, Math.max(shortestLookMs, wait / 20))), step)
    }
    void read()
  }

  async function move(each: Held): Promise<void> {
    const hop = nextHop(each.content.transport, clock.now())
    if (hop.kind === 'hold') {
      each.wakeAt = hop.until
      return
    }
    each.state = 'leaving'
    const { content } = each
    try {
      await sender.send({
        place: hop.kind === 'due' ? main : delay,
        partition: null,
        content: { ...content, transport: withoutHop(content.transport) },
        due: hop.kind === 'due' ? 0 : hop.due,
        slot: null,
        deadline: clock.monotonic() + sendWithinMs,
        retryUnknown: true,
        allowed: alive,
        attempted: `cannot forward a delayed message to "${topic.name}"`,
        copy: true,
      })
      each.state = 'done'
      remember(each)
    } catch (error) {
      each.state = 'waiting'
      each.failures++
      each.wakeAt = clock.now() + Math.min(30_000, 500 * 2 ** Math.min(each.failures, 6))
      const failure = context.wrap(error, `cannot forward a delayed message to "${topic.name}"`)
      if (alive())
        context.telemetry.emit('notice', {
          topic: topic.name,
          id: content.id,
          reason: 'delay',
          error: failure,
          note: `${failure.message}. it stays delayed and is tried again`,
        })
    }
    if (!over) step()
    calm()
  }

  function remember(each: Held): void {
    if (each.identity === null) return
    finished.add(each.identity)
    if (finished.size <= mostFinished) return
    for (const oldest of finished) {
      finished.delete(oldest)
      return
    }
  }

  function settle(): void {
    const ready: Held[] = []
    for (const each of held) {
      if (each.state === 'done') ready.push(each)
      else if (prefix && each.state !== 'settling') break
    }
    if (ready.length === 0) return
    for (const each of ready) each.state = 'settling'
    void assignment
      .settle(ready.map((each) => each.delivery.token))
      .catch(() => 'unknown' as const)
      .then((result) => {
        // Settled it will not come again; otherwise its repeat is recognised.
        if (result === 'settled') for (const each of ready) if (each.identity !== null) finished.delete(each.identity)
        const gone = new Set(ready)
        held = held.filter((each) => !gone.has(each))
        if (!over) step()
        calm()
      })
  }

  function calm(): void {
    if (held.some((each) => each.state === 'leaving' || each.state === 'settling' || (each.state === 'done' && !prefix))) return
    for (const wake of quiet) wake()
    quiet = []
  }

  async function leave(deadline: number): Promise<void> {
    stopTimer()
    if (alive()) {
      settle()
      const still = new Promise<void>((resolve) => quiet.push(resolve))
      calm()
      await within(clock, deadline, still)
    }
    over = true
    stopTimer()
    await within(clock, Math.max(deadline, clock.monotonic()) + 200, assignment.release())
    leaving.removeEventListener('abort', onLeaving)
    lost.removeEventListener('abort', onLost)
    finish()
  }
  function handOver(deadline: number): Promise<void> {
    left ??= leave(deadline)
    return left
  }
  function onLeaving(): void {
    void handOver(clock.monotonic() + options.handOverMs)
  }
  function onLost(): void {
    over = true
    stopTimer()
    calm()
    void handOver(clock.monotonic())
  }

  leaving.addEventListener('abort', onLeaving, { once: true })
  lost.addEventListener('abort', onLost, { once: true })
  if (lost.aborted) onLost()
  else if (leaving.aborted) onLeaving()
  else void read()

  return { ended, handOver }
}

import type { Adapter, Assignment, Session } from '@posthorn/core/adapter'
import { monotonic } from './clock.ts'

/** What passed through an adapter, and how long its calls took, in milliseconds of this thread. */
export interface Meter {
  storeMs: number
  readMs: number
  settleMs: number
  /** Handed to core and not given back in a settlement, by assignment. */
  readonly held: Map<Assignment, number>
  /** The most that any one assignment held. */
  mostHeld: number
}

/** A meter at zero. */
export const newMeter = (): Meter => ({ storeMs: 0, readMs: 0, settleMs: 0, held: new Map(), mostHeld: 0 })

/**
 * The adapter with a meter on its calls. Two looks at the clock per call, and a call is for a batch, so that the meter
 * costs a few nanoseconds per message. Only the time inside the call counts: a broker that answers later costs nothing then.
 */
export function metered(adapter: Adapter, meter: Meter): Adapter {
  return { ...adapter, open: async (context, signal) => meteredSession(await adapter.open(context, signal), meter) }
}

function meteredSession(session: Session, meter: Meter): Session {
  return {
    ...session,
    publish(batch, signal) {
      const since = monotonic()
      const report = session.publish(batch, signal)
      meter.storeMs += monotonic() - since
      return report
    },
    async subscribe(source, signal) {
      const assignments = await session.subscribe(source, signal)
      return each(assignments, meter)
    },
  }
}

async function* each(assignments: AsyncIterable<Assignment>, meter: Meter): AsyncIterable<Assignment> {
  for await (const assignment of assignments) yield meteredAssignment(assignment, meter)
}

function meteredAssignment(inner: Assignment, meter: Meter): Assignment {
  const hold = (by: number): void => {
    const now = (meter.held.get(outer) ?? 0) + by
    meter.held.set(outer, now)
    if (now > meter.mostHeld) meter.mostHeld = now
  }
  const outer: Assignment = {
    topic: inner.topic,
    role: inner.role,
    partition: inner.partition,
    leaving: inner.leaving,
    lost: inner.lost,
    get aliveUntil() {
      return inner.aliveUntil
    },
    async read(max) {
      const since = monotonic()
      const reading = inner.read(max)
      meter.readMs += monotonic() - since
      const deliveries = await reading
      hold(deliveries.length)
      return deliveries
    },
    settle(tokens, outputs) {
      const since = monotonic()
      const answer = outputs === undefined ? inner.settle(tokens) : inner.settle(tokens, outputs)
      meter.settleMs += monotonic() - since
      hold(-tokens.length)
      return answer
    },
    release: () => inner.release(),
  }
  return outer
}

import type { BrokerContext } from './context.ts'
import type { Assignment } from './contract.ts'
import { type DelayLane, runDelayLane } from './forwarder-lane.ts'
import type { TopicDefinition } from './topic.ts'
import { within } from './within.ts'

/** Longest hand-over of a lane, in milliseconds: what is on its way to its topic gets its confirmation. */
const handOverMs = 2_000
/** Deliveries that one lane gives out and are not settled; over all nine lanes few are held, see the lane. */
export const laneWindow = 240
const firstPauseMs = 100
const longestPauseMs = 30_000

/** Moves a topic's delayed messages on while somebody here consumes it. */
export interface DelayForwarder {
  /** Hands the lanes over. Resolves soon after `deadline` (monotonic) at the latest; twice is the same promise. */
  close(deadline: number): Promise<void>
}

/**
 * Reads the delay lanes of a topic: a message enters its topic when its time has come, never before, and leaves its lane
 * only when that is confirmed. Several processes share the lanes; one of them owns each. It goes on by itself through
 * lost connections and refusals, because delayed messages must not depend on anybody's looking.
 */
export function startForwarder(context: BrokerContext, topic: TopicDefinition): DelayForwarder {
  const { clock, session, catalog, telemetry } = context
  const stop = new AbortController()
  const lanes = new Set<DelayLane>()
  const finished = new Set<string>()
  const attempted = `cannot forward the delayed messages of "${topic.name}"`
  let closed: Promise<void> | undefined

  async function member(): Promise<void> {
    await catalog.ensure(topic, attempted, { signal: stop.signal })
    const assignments = await session.subscribe(
      {
        topic: topic.name,
        kind: 'forwarder',
        group: null,
        keyed: topic.key !== undefined,
        settleFirst: false,
        atomic: false,
        handOverMs,
        maxUnsettled: laneWindow,
        maxBytes: topic.maxBytes,
        native: undefined,
      },
      stop.signal,
    )
    for await (const assignment of assignments) take(assignment)
  }

  function take(assignment: Assignment): void {
    const lane = runDelayLane({ context, topic, assignment, handOverMs, finished })
    lanes.add(lane)
    if (stop.signal.aborted) void lane.handOver(clock.monotonic() + handOverMs)
    void lane.ended.then(() => lanes.delete(lane))
  }

  async function keepOn(): Promise<void> {
    for (let tries = 0; !stop.signal.aborted; tries++) {
      const since = clock.monotonic()
      try {
        await member()
      } catch (error) {
        if (stop.signal.aborted) return
        const failure = context.wrap(error, attempted)
        telemetry.emit('adapter', { topic: topic.name, reason: 'forwarder', error: failure, note: failure.message })
      }
      if (clock.monotonic() - since > longestPauseMs) tries = 0
      const full = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(tries, 20))
      await pause(Math.ceil(full * (0.5 + context.random() / 2)))
    }
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        stop.signal.removeEventListener('abort', end)
        resolve()
      }
      const cancel = clock.timer(ms, end)
      stop.signal.addEventListener('abort', end, { once: true })
      if (stop.signal.aborted) end()
    })
  }

  const running = context.capabilities.delay === 'none' ? keepOn() : Promise.resolve()

  async function close(deadline: number): Promise<void> {
    stop.abort()
    await Promise.all([...lanes].map((lane) => lane.handOver(deadline)))
    await within(clock, Math.max(deadline, clock.monotonic() + 300), running)
    await Promise.all([...lanes].map((lane) => lane.handOver(deadline)))
  }

  return {
    close(deadline) {
      closed ??= close(deadline)
      return closed
    },
  }
}

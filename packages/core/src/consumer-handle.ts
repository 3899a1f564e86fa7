import type { Status } from './broker.ts'
import { checkOptions, milliseconds } from './check.ts'
import type { CloseOptions, Consumer, ConsumerStats } from './consumer.ts'
import type { Consumption, Dispatch } from './consumption.ts'
import type { BrokerContext } from './context.ts'
import type { MessagingError } from './errors.ts'
import type { Membership } from './membership.ts'
import type { ReceivePlan } from './receive-plan.ts'
import type { TimeLimits } from './time-limits.ts'
import type { TopicDefinition } from './topic.ts'

/** What a consumer needs of the broker object that made it. */
export interface ConsumerHost {
  readonly status: Status
  /** Runs the topic's delay forwarder while anybody consumes it; returns what lets go of it. */
  forward(topic: TopicDefinition): () => void
  /** The consumer lives from now on: `close` and `health` of the broker see it. */
  add(handle: ConsumerHandle): void
  remove(handle: ConsumerHandle): void
}
/** A consumer as its broker object sees it. */
export interface ConsumerHandle {
  readonly consumer: Consumer
  /** Why it is not ready, one line each; empty: it is. */
  problems(): readonly string[]
  /** Ends it for good: `closed` rejects with this error. */
  fail(error: MessagingError): void
  /** Why it died; null: it did not. */
  readonly failure: MessagingError | null
  /** Ends what was begun of a start that failed. */
  abandon(): Promise<void>
  /** It is subscribed; `releases` are called when it ends. */
  started(releases: readonly (() => void)[]): void
}

const defaultDrainMs = 10_000
const keepAliveMs = 2 ** 30

/** The consumer object around its memberships: state, numbers, pause, and the ways it can end. */
export function createConsumer(options: {
  readonly context: BrokerContext
  readonly host: ConsumerHost
  readonly plan: ReceivePlan
  readonly counts: Consumption['counts']
  readonly dispatch: Dispatch
  readonly limits: TimeLimits
  readonly memberships: readonly Membership[]
}): ConsumerHandle {
  const { context, host, plan, counts, dispatch, limits, memberships } = options
  const { clock, telemetry } = context
  let ending: Promise<void> | null = null
  let begun = false
  let ended = false
  let failure: MessagingError | null = null
  let releases: readonly (() => void)[] = []
  let keepAlive: (() => void) | null = null
  let settle: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | null = null
  const about = { topic: plan.topics.map((topic) => topic.name).join(','), group: plan.group }
  const closed = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject }
  })

  function stayAlive(): void {
    keepAlive = clock.timer(keepAliveMs, stayAlive)
  }

  function release(): void {
    limits.stop()
    keepAlive?.()
    keepAlive = null
    for (const each of releases) each()
    releases = []
    host.remove(handle)
  }

  async function leaveAll(drainMs: number): Promise<void> {
    dispatch.stop()
    const deadline = clock.monotonic() + drainMs
    await Promise.all(memberships.map((membership) => membership.leave(deadline)))
  }

  function close(closeOptions?: CloseOptions): Promise<void> {
    if (ending !== null) return ending
    let drainMs: number
    try {
      drainMs = checkOptions<CloseOptions>('cannot close the consumer', closeOptions, { drainMs: milliseconds }).drainMs ?? defaultDrainMs
    } catch (error) {
      return Promise.reject(error)
    }
    ending = leaveAll(drainMs).then(() => {
      ended = true
      release()
      telemetry.emit('consumer-closed', about)
      settle?.resolve()
    })
    return ending
  }

  const consumer: Consumer = {
    closed,
    get state() {
      if (failure !== null) return 'failed'
      if (ended) return 'closed'
      if (ending !== null) return 'draining'
      if (recovering()) return 'recovering'
      return dispatch.paused ? 'paused' : 'running'
    },
    stats(): ConsumerStats {
      let unsettled = 0
      for (const membership of memberships) for (const runner of membership.runners) unsettled += runner.unsettled
      return { running: counts.running, unsettled, handled: counts.handled, failed: counts.failed, deadLettered: counts.deadLettered }
    },
    pause() {
      dispatch.pause()
    },
    resume() {
      if (!dispatch.paused) return
      dispatch.resume()
      for (const membership of memberships) for (const runner of membership.runners) runner.wake()
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }

  function recovering(): boolean {
    if (host.status !== 'connected') return true
    return memberships.some(
      (membership) => membership.bereft || [...membership.runners].some((runner) => !runner.leaving && !runner.alive()),
    )
  }

  const handle: ConsumerHandle = {
    consumer,
    problems() {
      const name = `consumer of ${plan.topics.map((topic) => `"${topic.name}"`).join(', ')} as group "${plan.group}"`
      const { state } = consumer
      return state === 'running' || state === 'paused' ? [] : [`${name} is ${state}${failure === null ? '' : `: ${failure.message}`}`]
    },
    get failure() {
      return failure
    },
    fail(error) {
      if (failure !== null || ending !== null) return
      failure = error
      if (!begun) {
        // Its start, which is still on its way, rejects with this.
        dispatch.stop()
        return
      }
      telemetry.emit('consumer-failed', { ...about, error, note: error.message })
      // What runs may end, as at a close; then those who watch `closed` are told.
      ending = leaveAll(defaultDrainMs).then(release)
      settle?.reject(error)
    },
    async abandon() {
      ending ??= leaveAll(0)
      await ending
      limits.stop()
      // Nobody has seen this consumer: its promise is nobody's to observe.
      settle?.resolve()
      ended = true
    },
    started(held) {
      releases = held
      begun = true
      host.add(handle)
      stayAlive()
      telemetry.emit('consumer-started', about)
    },
  }
  return handle
}

import { runAssignment } from './assignment-runner.ts'
import type { Conclusions } from './conclude.ts'
import type { AssignmentRunner, Consumption } from './consumption.ts'
import type { Assignment } from './contract.ts'
import { isMessagingError, MessagingError } from './errors.ts'
import type { TopicDefinition } from './topic.ts'

/** One consumer's part in one topic: its subscription and the assignments it owns. */
export interface Membership {
  readonly topic: TopicDefinition
  readonly runners: ReadonlySet<AssignmentRunner>
  /** Lost something it did not give up, and was given nothing since. */
  readonly bereft: boolean
  /** Leaves: finishes what runs, settles, releases, and ends the subscription. Resolves soon after `deadline` at the latest. */
  leave(deadline: number): Promise<void>
}

const firstTryMs = 100

/**
 * Subscribes, trying again while the server is away. Resolves when accepted as a member.
 *
 * @throws MessagingError when refused, cancelled, or not accepted before `deadline`
 */
export async function joinTopic(
  consumption: Consumption,
  conclusions: Conclusions,
  topic: TopicDefinition,
  options: { readonly drainMs: number; readonly deadline: number; readonly signal: AbortSignal },
): Promise<Membership> {
  const { context, plan } = consumption
  const { clock } = context
  const leaving = new AbortController()
  const runners = new Set<AssignmentRunner>()
  let bereft = false
  const subscription = await subscribe()
  const iteration = iterate()

  async function subscribe(): Promise<AsyncIterable<Assignment>> {
    for (let tries = 0; ; tries++) {
      const attempt = new AbortController()
      const stop = (): void => attempt.abort()
      const cancel = clock.timer(Math.max(0, options.deadline - clock.monotonic()), stop)
      options.signal.addEventListener('abort', stop, { once: true })
      if (options.signal.aborted) stop()
      leaving.signal.addEventListener('abort', stop, { once: true })
      try {
        const asked = context.session.subscribe(
          {
            topic: topic.name,
            kind: plan.broadcast ? 'broadcast' : 'group',
            group: plan.group,
            keyed: topic.key !== undefined,
            settleFirst: plan.settleFirst,
            atomic: plan.atomicTo !== undefined,
            handOverMs: options.drainMs,
            maxUnsettled: plan.maxUnsettled,
            maxBytes: topic.maxBytes,
            native: plan.native[context.adapter.name],
          },
          attempt.signal,
        )
        // An adapter that is slow to give up must not hold the caller: what it subscribes after this leaves by its signal.
        const assignments = await Promise.race([asked, unlessAborted(attempt.signal)])
        if (attempt.signal.aborted) throw givenUp()
        return assignments
      } catch (error) {
        leaving.signal.removeEventListener('abort', stop)
        if (options.signal.aborted) throw givenUp()
        const failure = context.wrap(error, plan.attempted)
        if (!failure.retryable || clock.monotonic() >= options.deadline) throw failure
        await pause(Math.min(2_000, firstTryMs * 2 ** Math.min(tries, 5)))
      } finally {
        cancel()
        options.signal.removeEventListener('abort', stop)
      }
    }
  }

  function givenUp(): MessagingError {
    return options.signal.aborted
      ? new MessagingError('CANCELLED', `${plan.attempted}: the start was given up`)
      : new MessagingError('TIMED_OUT', `${plan.attempted}: the server did not accept the member in time`)
  }

  function unlessAborted(signal: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(givenUp()), { once: true })
    })
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        options.signal.removeEventListener('abort', end)
        resolve()
      }
      const cancel = clock.timer(ms, end)
      options.signal.addEventListener('abort', end, { once: true })
      if (options.signal.aborted) end()
    })
  }

  async function iterate(): Promise<void> {
    try {
      for await (const assignment of subscription) {
        bereft = false
        const runner = runAssignment(consumption, assignment, {
          topic,
          drainMs: options.drainMs,
          refuse: conclusions.refused,
          early: conclusions.early,
        })
        runners.add(runner)
        if (leaving.signal.aborted) void runner.handOver(clock.monotonic())
        void runner.ended.then(() => {
          runners.delete(runner)
          if (!runner.leaving && !leaving.signal.aborted) bereft = true
        })
      }
      if (leaving.signal.aborted || context.closing.aborted) return
      consumption.fail(
        new MessagingError(
          'UNAVAILABLE',
          `${plan.attempted} any longer: the subscription to "${topic.name}" ended by itself. connect and consume again`,
        ),
      )
    } catch (error) {
      if (leaving.signal.aborted) return
      consumption.fail(isMessagingError(error) ? error : context.wrap(error, `${plan.attempted} any longer`))
    }
  }

  let left: Promise<void> | undefined
  async function leaveNow(deadline: number): Promise<void> {
    leaving.abort()
    await Promise.all([...runners].map((runner) => runner.handOver(deadline)))
    // What was yielded in the same moment is handed over too; then the iteration ends.
    await Promise.race([
      iteration,
      new Promise<void>((resolve) => {
        const cancel = clock.timer(Math.max(300, deadline + 300 - clock.monotonic()), resolve)
        void iteration.then(cancel)
      }),
    ])
    await Promise.all([...runners].map((runner) => runner.handOver(deadline)))
  }

  return {
    topic,
    runners,
    get bereft() {
      return bereft
    },
    leave(deadline) {
      left ??= leaveNow(deadline)
      return left
    },
  }
}

import type { TopicState } from './contract.ts'
import { MessagingError } from './errors.ts'
import type { SendPlan } from './prepare.ts'

// A topic without groups is looked at again at most this often.
const lookEveryMs = 250

/** Knows whether messages of a topic have somewhere to go. */
export interface Routable {
  /** Nothing to wait for: the topic is declared, and has a group where it needs one. */
  readonly now: boolean
  /**
   * Declares the topic, and looks again for groups where it had none; one declare is shared by all who wait.
   * `nowhere`: the server would drop the message.
   */
  check(deadline: number): Promise<'ok' | 'nowhere'>
  /** What was known is not true any more. */
  forget(): void
}

/** Judges by the catalog: a server that keeps what no group reads yet takes everything, any other needs a group. */
export function createRoutable(plan: SendPlan, timeoutMs: number): Routable {
  const { catalog, clock, capabilities } = plan.context
  const needsGroup = capabilities.retention === 'queue'
  const { name } = plan.topic
  let known = false
  let looking: Promise<TopicState> | null = null
  let lookedAt = Number.NEGATIVE_INFINITY

  const enough = (state: TopicState): boolean => !needsGroup || state.groups.length > 0

  function look(): Promise<TopicState> {
    if (looking !== null) return looking
    const asked = catalog.ensure(plan.topic, plan.attempted, { deadline: clock.monotonic() + timeoutMs, finish: true })
    looking = asked
    const over = (): void => {
      looking = null
    }
    asked.then(over, over)
    return asked
  }

  return {
    get now() {
      return known
    },
    async check(deadline) {
      for (;;) {
        try {
          let state = await look()
          if (!enough(state) && clock.monotonic() - lookedAt >= lookEveryMs) {
            lookedAt = clock.monotonic()
            catalog.refresh(name)
            state = await look()
          }
          known = enough(state)
          return known ? 'ok' : 'nowhere'
        } catch (error) {
          // Whoever asked first had less time than this one.
          if (!(error instanceof MessagingError) || !error.retryable || clock.monotonic() >= deadline) throw error
        }
      }
    },
    forget() {
      known = false
      catalog.refresh(name)
    },
  }
}

/** The words for a message that would go nowhere. */
export function nowhere(plan: SendPlan, id: string, cause: unknown): MessagingError {
  return new MessagingError(
    'NOT_FOUND',
    `${plan.attempted} on ${plan.context.adapter.name}: it has no group, so the message would be dropped. it was not stored.\n` +
      `name the groups in the topic (groups: ['email']), call broker.declare(topic), start a consumer first, or say unrouted: 'drop'`,
    { outcome: 'failed', messageId: id, cause },
  )
}

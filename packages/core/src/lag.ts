import type { Lag } from './broker.ts'
import type { BrokerContext } from './context.ts'
import { MessagingError } from './errors.ts'
import type { TopicDefinition } from './topic.ts'

const withinMs = 10_000

/** What a group still has to do, as the server counts it. Looks only: makes neither topic nor group. */
export async function inspectGroup(
  context: BrokerContext,
  topic: TopicDefinition,
  group: string,
  signal: AbortSignal | undefined,
): Promise<Lag> {
  const { adapter, catalog, clock, session } = context
  const attempted = `cannot tell the lag of "${topic.name}" for group "${group}"`
  const give = new AbortController()
  let late = false
  const stop = (): void => give.abort()
  const cancel = clock.timer(withinMs, () => {
    late = true
    stop()
  })
  signal?.addEventListener('abort', stop, { once: true })
  context.closing.addEventListener('abort', stop, { once: true })
  if (signal?.aborted === true) stop()
  const givenUp = new Promise<never>((_, reject) => {
    const refuse = (): void => reject(stopped())
    if (give.signal.aborted) refuse()
    else give.signal.addEventListener('abort', refuse, { once: true })
  })
  function stopped(): MessagingError {
    if (late) return new MessagingError('TIMED_OUT', `${attempted}: no answer within ${withinMs} ms`)
    return signal?.aborted === true
      ? new MessagingError('CANCELLED', `${attempted}: the signal was aborted`)
      : new MessagingError('CLOSED', `${attempted}: the broker is closed`)
  }
  async function look(): Promise<Lag> {
    if (catalog.state(topic.name) === undefined) {
      const plan = {
        name: topic.name,
        keyed: topic.key !== undefined,
        partitions: null,
        retentionMs: null,
        groups: [],
        delays: [],
        create: false,
        native: topic.native[adapter.name],
      }
      await session.declare({ topics: [plan] }, give.signal)
    }
    const { backlog, unsettled, members } = await session.inspect(topic.name, group, give.signal)
    return Object.freeze({ backlog, unsettled, members })
  }
  const work = look()
  work.catch(() => undefined)
  try {
    return await Promise.race([work, givenUp])
  } catch (error) {
    throw give.signal.aborted ? stopped() : context.wrap(error, attempted)
  } finally {
    cancel()
    signal?.removeEventListener('abort', stop)
    context.closing.removeEventListener('abort', stop)
  }
}

import type { BrokerContext, Catalog, EnsureOptions } from './context.ts'
import type { Start, TopicPlan, TopicState } from './contract.ts'
import { stepsFor } from './delay-lanes.ts'
import { MessagingError, textOf } from './errors.ts'
import { explained } from './explained.ts'
import { onAbort } from './on-abort.ts'
import type { TopicDefinition } from './topic.ts'

/** A start that names no deadline may take this long, in milliseconds. */
const declareWithinMs = 30_000
const firstPauseMs = 100
const longestPauseMs = 2000

interface Known {
  readonly state: TopicState
  /** Groups that were declared here by name. */
  readonly groups: Set<string>
  stale: boolean
}
interface Declaring {
  readonly groups: ReadonlyMap<string, Start>
  readonly done: Promise<TopicState>
  readonly controller: AbortController
  waiting: number
  fault: unknown
}

/** Makes the catalog: one declare per topic and set of groups, shared by everybody who asks while it runs. */
export function createCatalog(context: Omit<BrokerContext, 'sender' | 'catalog'>): Catalog {
  const { adapter, session, capabilities, clock, random } = context
  const known = new Map<string, Known>()
  const declaring = new Map<string, Declaring>()
  let closed = false

  async function ensure(topic: TopicDefinition, attempted: string, options: EnsureOptions = {}): Promise<TopicState> {
    const { signal } = options
    const deadline = options.deadline ?? clock.monotonic() + declareWithinMs
    const wanted = new Map<string, Start>(topic.groups.map((group) => [group, 'earliest']))
    for (const group of options.groups ?? []) wanted.set(group.name, group.start)
    for (;;) {
      if (closed) throw new MessagingError('CLOSED', `${attempted}: the broker is closed`, { outcome: 'failed' })
      const have = known.get(topic.name)
      if (have !== undefined && !have.stale && has(have.groups, wanted.keys()) && agrees(topic, have.state)) return have.state
      const running = declaring.get(topic.name)
      if (running === undefined) start(topic, wanted)
      else if (!has(running.groups, wanted.keys())) {
        // Another set of groups is on its way: the adapter sees one declare of a topic at a time.
        await outcome(running, topic, attempted, deadline, options).catch((error: unknown) => {
          if (signal?.aborted || clock.monotonic() >= deadline) throw error
        })
        continue
      }
      return await outcome(declaring.get(topic.name) as Declaring, topic, attempted, deadline, options)
    }
  }

  function start(topic: TopicDefinition, groups: ReadonlyMap<string, Start>): void {
    const controller = new AbortController()
    const done = declare(topic, groups, controller.signal, (fault) => {
      entry.fault = fault
    }).then((state) => {
      const before = known.get(topic.name)?.groups
      // What this declare made is news to those who waited for it, and to nobody afterwards.
      known.set(topic.name, { state: { ...state, created: [] }, groups: new Set([...(before ?? []), ...groups.keys()]), stale: false })
      return state
    })
    const entry: Declaring = { groups, done, controller, waiting: 0, fault: undefined }
    declaring.set(topic.name, entry)
    const over = (): void => {
      if (declaring.get(topic.name) === entry) declaring.delete(topic.name)
    }
    done.then(over, over)
  }

  async function declare(
    topic: TopicDefinition,
    groups: ReadonlyMap<string, Start>,
    signal: AbortSignal,
    failing: (fault: unknown) => void,
  ): Promise<TopicState> {
    const plan: TopicPlan = {
      name: topic.name,
      keyed: topic.key !== undefined,
      partitions: topic.partitions ?? null,
      retentionMs: topic.retentionMs ?? null,
      groups: [...groups].map(([name, start]) => ({ name, start })),
      delays: stepsFor(capabilities),
      create: context.looksOnly !== true,
      native: Object.hasOwn(topic.native, adapter.name) ? topic.native[adapter.name] : undefined,
    }
    for (let tries = 0; ; tries++) {
      try {
        const states = await session.declare({ topics: [plan] }, signal)
        const state = states.find((each) => each.name === topic.name)
        if (state === undefined)
          throw new MessagingError('INTERNAL', `${adapter.name} declared "${topic.name}" and did not say what it has`)
        return state
      } catch (error) {
        if (signal.aborted || !explained(adapter, error).retryable) throw error
        failing(error)
        const pause = Math.min(longestPauseMs, firstPauseMs * 2 ** tries) * (0.5 + random() / 2)
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            cancel()
            off()
            resolve()
          }
          const cancel = clock.timer(Math.ceil(pause), wake)
          const off = onAbort(signal, wake)
        })
        if (signal.aborted) throw error
      }
    }
  }

  // What one caller waits for: the shared declare, within its own deadline and signal. When nobody waits any more it is given up.
  function outcome(
    running: Declaring,
    topic: TopicDefinition,
    attempted: string,
    deadline: number,
    options: EnsureOptions,
  ): Promise<TopicState> {
    const { signal } = options
    const closing = options.finish === true ? undefined : context.closing
    return new Promise((resolve, reject) => {
      let over = false
      running.waiting++
      const leave = (): boolean => {
        if (over) return false
        over = true
        cancel()
        for (const off of offs) off()
        if (--running.waiting === 0) abandonSoon(topic.name, running)
        return true
      }
      const refuse = (code: 'TIMED_OUT' | 'CANCELLED' | 'CLOSED', text: string): void => {
        if (leave()) reject(new MessagingError(code, `${attempted}: ${text}`, { outcome: 'failed', cause: running.fault }))
      }
      const offs: (() => void)[] = []
      const giveUp = (): void => refuse('CANCELLED', 'its signal was aborted')
      const close = (): void => refuse('CLOSED', 'the broker is closing')
      const cancel = clock.timer(Math.max(0, deadline - clock.monotonic()), () => {
        if (running.fault === undefined) return refuse('TIMED_OUT', `the server did not answer in time when "${topic.name}" was declared`)
        if (leave()) reject(worded(running.fault, topic, attempted))
      })
      running.done.then(
        (state) => {
          if (leave()) resolve(state)
        },
        (error: unknown) => {
          if (leave()) reject(worded(error, topic, attempted))
        },
      )
      if (signal?.aborted) return giveUp()
      if (closing?.aborted) return close()
      if (signal !== undefined) offs.push(onAbort(signal, giveUp))
      if (closing !== undefined) offs.push(onAbort(closing, close))
    })
  }

  // After this tick, so that somebody who asks again at once shares it.
  function abandonSoon(topic: string, running: Declaring): void {
    void Promise.resolve().then(() => {
      if (running.waiting > 0) return
      if (declaring.get(topic) === running) declaring.delete(topic)
      running.controller.abort()
    })
  }

  function worded(error: unknown, topic: TopicDefinition, attempted: string): MessagingError {
    const fault = explained(adapter, error)
    if (fault.code !== 'CONFLICT' || topic.partitions === undefined) return context.wrap(error, attempted, { outcome: 'failed' })
    return new MessagingError(
      'CONFLICT',
      `${attempted}: ${textOf(error)}. the topic says partitions: ${topic.partitions}. say what the server has, or leave "partitions" out; ` +
        'to change the server: `posthorn apply --repartition`',
      { outcome: 'failed', cause: error },
    )
  }

  return {
    ensure,
    state: (topic) => known.get(topic)?.state,
    knows: (topic, group) => topic.groups.includes(group) || (known.get(topic.name)?.groups.has(group) ?? false),
    refresh(topic) {
      const have = known.get(topic)
      if (have !== undefined) have.stale = true
    },
    close() {
      closed = true
      for (const { controller } of declaring.values()) controller.abort()
    },
  }
}

function has(groups: { has(group: string): boolean }, wanted: Iterable<string>): boolean {
  for (const group of wanted) if (!groups.has(group)) return false
  return true
}

// Another definition of the same topic may say another count: what that means is the server's to say.
function agrees(topic: TopicDefinition, state: TopicState): boolean {
  return topic.partitions === undefined || topic.partitions === state.partitions
}

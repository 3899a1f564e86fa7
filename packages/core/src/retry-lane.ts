import type { AssignmentRunner } from './consumption.ts'
import type { BrokerContext } from './context.ts'
import type { Content } from './contract.ts'
import { delaySteps, nextHop } from './delay-lanes.ts'
import type { Entry } from './entry.ts'
import type { TopicDefinition } from './topic.ts'

/** What becomes of the head of a retry lane once its hop is over. */
export type LaneOutcome =
  /** It may be handled in so many milliseconds; what is behind it need not wait for that. */
  | { readonly dueInMs: number }
  /** It went to a shorter lane, confirmed, and is to be settled here. */
  | 'moved'
  /** The assignment was left meanwhile; nothing was done. */
  | 'over'

const proofCheckMs = 50

/** Works off what a retry lane gave out, its head first. */
export async function workLane<A extends { readonly entry: Entry }>(
  runner: AssignmentRunner,
  admitted: Iterable<A>,
  work: {
    readonly pass: (entry: Entry) => Promise<LaneOutcome>
    readonly finishedBefore: (entry: Entry) => boolean
    readonly settleAgain: (entry: Entry) => void
    readonly offer: (admitted: A) => void
  },
): Promise<void> {
  for (const each of admitted) {
    const { entry } = each
    if (work.finishedBefore(entry)) {
      work.settleAgain(entry)
      continue
    }
    const outcome = await work.pass(entry)
    if (outcome === 'over') return
    if (outcome === 'moved') runner.finish(entry)
    else if (outcome.dueInMs > 0) runner.waitFor(entry, outcome.dueInMs, () => work.offer(each))
    else work.offer(each)
  }
}

/** Holds the head of a retry lane until its hop is over, then moves it on or says when it is due. */
export async function passLane(
  context: BrokerContext,
  topic: TopicDefinition,
  group: string,
  runner: AssignmentRunner,
  entry: Entry,
): Promise<LaneOutcome> {
  const { content } = entry
  if (content === null) return { dueInMs: 0 }
  for (let tries = 0; ; ) {
    const hop = nextHop(content.transport, context.clock.now())
    if (hop.kind === 'due') return { dueInMs: 0 }
    if (hop.kind === 'hold') {
      const left = hop.until - context.clock.now()
      // The last rest: shorter than any lane, so it is waited for in memory and blocks nobody.
      if (left < (delaySteps[0] ?? 0) && hop.until === Number(content.transport?.['ph-due'])) return { dueInMs: Math.max(0, left) }
      if (!(await pause(context, runner, left))) return 'over'
      continue
    }
    if (runner.over || runner.leaving) return 'over'
    if (!runner.alive()) {
      // The proof of ownership is late: what is read is kept until there is a new one, or the assignment is lost.
      if (!(await pause(context, runner, proofCheckMs))) return 'over'
      continue
    }
    try {
      await context.sender.send({
        place: { topic: topic.name, role: 'retry', group },
        partition: null,
        content: { ...content, id: entry.id } satisfies Content,
        due: hop.due,
        slot: null,
        deadline: context.clock.monotonic() + 30_000,
        retryUnknown: true,
        allowed: () => runner.alive() && !runner.leaving,
        attempted: `cannot move a waiting retry of "${topic.name}" on`,
        copy: true,
      })
      return 'moved'
    } catch (error) {
      const failure = context.wrap(error, `cannot move a waiting retry of "${topic.name}" on`)
      context.telemetry.emit('send-failed', { topic: topic.name, group, id: entry.id, error: failure, note: failure.message })
      if (!(await pause(context, runner, Math.min(30_000, 500 * 2 ** Math.min(tries++, 6))))) return 'over'
    }
  }
}

// Waits at most a second at a time, so that a step of the wall clock is followed; false if the assignment was left.
async function pause(context: BrokerContext, runner: AssignmentRunner, ms: number): Promise<boolean> {
  const { leaving, lost } = runner.assignment
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      cancel()
      leaving.removeEventListener('abort', finish)
      lost.removeEventListener('abort', finish)
      resolve()
    }
    const cancel = context.clock.timer(Math.min(ms, 1_000), finish)
    leaving.addEventListener('abort', finish, { once: true })
    lost.addEventListener('abort', finish, { once: true })
    if (leaving.aborted || lost.aborted) finish()
  })
  return !runner.over && !runner.leaving
}

import type { AssignmentRunner } from './assignment-runner.ts'
import type { BrokerContext } from './context.ts'
import type { Content } from './contract.ts'
import type { Entry } from './entry.ts'
import type { TopicDefinition } from './topic.ts'

/**
 * Holds the head of a retry lane until its hop is over. `due`: it may be handled now. `moved`: it went to a shorter lane,
 * confirmed, and is to be settled here. `over`: the assignment was left meanwhile; nothing was done.
 */
export async function holdUntilDue(context: BrokerContext, topic: TopicDefinition, group: string, runner: AssignmentRunner, entry: Entry): Promise<'due' | 'moved' | 'over'> {
  const { content } = entry
  if (content === null) return 'due'
  const due = Number(content.transport?.['ph-due'] ?? 0)
  const hop = Math.min(due, Number(content.transport?.['ph-hop'] ?? due))
  if (!(await until(context, runner, hop))) return 'over'
  for (let tries = 0; context.clock.now() < due; tries++) {
    // Less than the shortest step is left: the rest is waited here.
    if (due - context.clock.now() < 1_000) return (await until(context, runner, due)) ? 'due' : 'over'
    if (!runner.alive() || runner.leaving) return 'over'
    try {
      await context.sender.send({
        place: { topic: topic.name, role: 'retry', group },
        partition: null,
        content: { ...content, id: entry.id } satisfies Content,
        due,
        slot: null,
        deadline: context.clock.monotonic() + 30_000,
        retryUnknown: true,
        allowed: () => runner.alive() && !runner.leaving,
        attempted: `cannot move a waiting retry of "${topic.name}" on`,
      })
      return 'moved'
    } catch (error) {
      const failure = context.wrap(error, `cannot move a waiting retry of "${topic.name}" on`)
      context.telemetry.emit('send-failed', { topic: topic.name, group, id: entry.id, error: failure, note: failure.message })
      if (!(await until(context, runner, context.clock.now() + Math.min(30_000, 500 * 2 ** Math.min(tries, 6))))) return 'over'
    }
  }
  return 'due'
}

// Waits for a time of the wall clock, looking at it again each second so that a step of the clock is followed; false if the assignment was left.
async function until(context: BrokerContext, runner: AssignmentRunner, wall: number): Promise<boolean> {
  const { clock } = context
  while (!runner.over && !runner.leaving) {
    const left = wall - clock.now()
    if (!(left > 0)) return true
    await new Promise<void>((resolve) => {
      const { leaving, lost } = runner.assignment
      const finish = (): void => {
        cancel()
        leaving.removeEventListener('abort', finish)
        lost.removeEventListener('abort', finish)
        resolve()
      }
      const cancel = clock.timer(Math.min(left, 1_000), finish)
      leaving.addEventListener('abort', finish, { once: true })
      lost.addEventListener('abort', finish, { once: true })
      if (leaving.aborted || lost.aborted) finish()
    })
  }
  return false
}

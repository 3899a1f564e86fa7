// The process of one client: it is given one task, answers, and ends.

import { comparedBrokers } from './brokers.ts'
import { runTask } from './run-task.ts'
import type { Answer, Task } from './task.ts'

process.once('message', (task: Task) => {
  const answer = (message: Answer): void => {
    process.send?.(message, () => process.exit(0))
  }
  const broker = comparedBrokers.find(({ name }) => name === task.broker)
  if (broker === undefined) answer({ failed: `there is no broker "${task.broker}"` })
  else
    runTask(broker, task).then(
      (outcome) => answer({ outcome }),
      (error: unknown) => answer({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
})
// Whoever asked is gone: nobody reads the answer.
process.once('disconnect', () => process.exit(1))

// The process of one client: it is given one task, answers, and ends.

import { runTask } from '../tasks/run-task.ts'
import { brokerNamed } from './brokers.ts'
import type { Answer, Task } from './task.ts'

process.once('message', (task: Task) => {
  const answer = (message: Answer): void => {
    process.send?.(message, () => process.exit(0))
  }
  Promise.resolve()
    .then(() => runTask(brokerNamed(task.broker), task))
    .then(
      (outcome) => answer({ outcome }),
      (error: unknown) => answer({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
})
// Whoever asked is gone: nobody reads the answer.
process.once('disconnect', () => process.exit(1))

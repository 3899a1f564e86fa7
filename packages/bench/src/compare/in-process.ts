import { fork } from 'node:child_process'
import { after } from '../clock.ts'
import type { Answer, Outcome, Task } from './task.ts'

// Longer than any task takes on a busy machine.
const mostMs = 120_000

/**
 * Runs a task in a process of its own, so that no client pays for the heap, the compiled code or the sockets of another.
 * Rejects with what the process said, or with how it ended.
 */
export function inProcess(task: Task, profileFolder?: string): Promise<Outcome> {
  const worker = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)
  const profile = profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`]
  return new Promise((resolve, reject) => {
    const child = fork(worker, {
      execArgv: ['--expose-gc', ...process.execArgv, ...profile],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const overdue = after(mostMs, () => {
      child.kill('SIGKILL')
      reject(new Error(`${task.broker}, ${task.client}: no answer within ${mostMs / 1000} s`))
    })
    child.once('message', (answer: Answer) => {
      if ('outcome' in answer) resolve(answer.outcome)
      else reject(new Error(`${task.broker}, ${task.client}: ${answer.failed}`))
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      overdue()
      reject(new Error(`${task.broker}, ${task.client}: its process ended with ${signal ?? code}`))
    })
    child.send(task)
  })
}

// One server process: started, noted for the sweep, signalled, waited for.
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { isFrozen } from './identity.mjs'
import { note } from './runs.mjs'

/** Resolves after `ms`; keeps the process alive meanwhile. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Starts a program with its output in a file. It has a process group of its own, so that a Ctrl-C of the terminal does not reach
 * it: whoever started it decides how it ends. Rejects when there is no such program.
 */
export async function startChild({ command, args, env, cwd, log }) {
  const output = openSync(log, 'a')
  const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', output, output] })
  closeSync(output)
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? `code ${code}`)))
  await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject))
  const forget = note(child.pid)
  // A server alone does not keep the process alive that started it; only waiting for it does.
  child.unref()
  let end
  void ended.then((how) => {
    end = how
    forget()
  })

  async function untilEnded(deadlineMs) {
    child.ref()
    let timer
    const late = new Promise((resolve) => {
      timer = setTimeout(() => resolve(undefined), deadlineMs)
    })
    const how = await Promise.race([ended, late])
    clearTimeout(timer)
    child.unref()
    if (how === undefined) throw new Error(`process ${child.pid} (${command}) still runs ${deadlineMs / 1000} s after it was told to end`)
  }

  return {
    pid: child.pid,
    /** How it ended ("code 1", "SIGKILL"), or undefined while it runs. */
    get end() {
      return end
    },
    /** Sends a signal; SIGTERM and SIGKILL resolve when the process is gone, SIGSTOP when it stands still. */
    async signal(signal) {
      if (end !== undefined || child.exitCode !== null || child.signalCode !== null) return
      child.kill(signal)
      if (signal === 'SIGSTOP') {
        for (let tries = 0; tries < 500 && !isFrozen(child.pid); tries += 1) await pause(2)
      } else if (signal === 'SIGTERM' || signal === 'SIGKILL') {
        // One that stands still gets no signal but these two, and SIGTERM not before it moves again.
        if (signal === 'SIGTERM') child.kill('SIGCONT')
        await untilEnded(signal === 'SIGTERM' ? 60_000 : 10_000)
      }
    },
  }
}

// Child processes: run one and know how it ended.
import { spawn } from 'node:child_process'
import { root } from './workspace.mjs'

/**
 * Runs a command to its end and returns its exit code and what it printed (both streams, in order of arrival).
 *
 * `live` gives the child this process's own streams instead, and then `output` is empty. A command that cannot be started,
 * or that a signal ended, has a code other than 0. `timeoutMs` kills it; the output then says so.
 */
export function run(command, args, { cwd = root, env = process.env, live = false, timeoutMs, onText } = {}) {
  return new Promise((resolve) => {
    const chunks = []
    const keep = (text) => {
      chunks.push(text)
      onText?.(text)
    }
    // npm is a batch file on Windows, and those need a shell.
    const shell = process.platform === 'win32' && command === 'npm'
    const child = spawn(command, args, { cwd, env, shell, stdio: live ? 'inherit' : ['ignore', 'pipe', 'pipe'] })
    child.stdout?.setEncoding('utf8').on('data', keep)
    child.stderr?.setEncoding('utf8').on('data', keep)
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => overdue(), timeoutMs)
    const overdue = () => {
      keep(`\nstopped: it ran longer than ${timeoutMs / 1000} s\n`)
      child.kill('SIGKILL')
    }
    // A terminal sends Ctrl-C to both of us; anybody else sends it to this process only.
    const forward = (signal) => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal))
    process.on('SIGINT', forward).on('SIGTERM', forward)
    const end = (code) => {
      clearTimeout(timer)
      process.off('SIGINT', forward).off('SIGTERM', forward)
      resolve({ code, output: chunks.join('') })
    }
    child.on('error', (error) => {
      keep(`cannot start ${command}: ${error.message}\n`)
      end(127)
    })
    child.on('close', (code, signal) => end(code ?? (signal === 'SIGINT' ? 130 : 1)))
  })
}

/** Runs a script with this very Node. */
export function runNode(args, options) {
  return run(process.execPath, args, options)
}

// The command line as users have it: a program that is started, told where the server is by its environment, and read to its end.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { CommandLineOn, CommandLineResult } from './abilities.ts'
import { realClock } from './clock.ts'

const withinMs = 120_000

/** A harness's `commandLine`, of a program for Node. It is told the server's URL in `POSTHORN_BROKER`, and no other of these variables. */
export function commandLineAt(program: URL): (args: readonly string[], on: CommandLineOn) => Promise<CommandLineResult> {
  return (args, { address, interrupt }) => {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('POSTHORN_')))
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [fileURLToPath(program), ...args], {
        env: { ...env, POSTHORN_BROKER: address },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let [stdout, stderr] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text
      })
      const stop = (): void => void child.kill('SIGINT')
      interrupt?.addEventListener('abort', stop, { once: true })
      const cancel = realClock.timer(withinMs, () => {
        child.kill('SIGKILL')
        reject(new Error(`posthorn ${args.join(' ')} did not end within ${withinMs / 1000} s: ${stderr}`))
      })
      child.on('error', reject)
      child.on('close', (code) => {
        cancel()
        interrupt?.removeEventListener('abort', stop)
        resolve({ code: code ?? -1, stdout, stderr })
      })
    })
  }
}

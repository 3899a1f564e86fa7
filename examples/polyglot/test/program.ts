// One of the programs as a child process: lines in, lines out.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }

export interface Running {
  /** Resolves when it has said that it is ready. */
  readonly ready: Promise<void>
  /** What it printed, when it has ended well; otherwise rejects with its errors. */
  readonly lines: Promise<readonly unknown[]>
}

/** Starts a program with these lines as its input. It has so many milliseconds. */
export function start(command: readonly string[], args: readonly string[], input: readonly unknown[], withinMs = 90_000): Running {
  const [file = '', ...first] = command
  const child = spawn(file, [...first, ...args], { env, stdio: 'pipe' })
  let out = ''
  let errors = ''
  let saidReady = (): void => {}
  const ready = new Promise<void>((resolve) => {
    saidReady = resolve
  })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
    if (/^ready$/m.test(errors)) saidReady()
  })
  // A program that ends before it has read everything says why by its exit code.
  child.stdin.on('error', () => {})
  child.stdin.end(input.map((each) => `${typeof each === 'string' ? each : JSON.stringify(each)}\n`).join(''))
  const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
  const ended = once(child, 'close').then(([code]) => {
    clearTimeout(timer)
    if (code !== 0) {
      throw new Error(
        `${file.split('/').at(-1)} ${args.join(' ')} ended with ${code ?? `a signal, or after ${withinMs} ms`}:\n${errors}\n${out.slice(-2000)}`,
      )
    }
    return out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as unknown)
  })
  const known = Promise.race([ready, ended.then(() => {})])
  // Whoever waits for one of them hears of a failure; the other one is perhaps never asked.
  for (const each of [ended, known]) each.catch(() => {})
  return { ready: known, lines: ended }
}

import { type ChildProcess, fork } from 'node:child_process'
import { after } from '../clock.ts'
import type { News, Order, Part } from './parts.ts'

/** A process that is started again whenever it dies, as a process manager does. */
export interface Kept {
  /** Resolves when the first process says that it is ready. */
  readonly ready: Promise<void>
  /** Ends the process that runs now, without a word to it. */
  kill(): void
  /** Tells it to end well; resolves with what it took when it has, or after `deadlineMs` with nothing. */
  end(deadlineMs: number): Promise<{ readonly processorMs: number; readonly rssBytes: number } | undefined>
  /** What the last process that died by itself had to say. */
  readonly lastWords: string
}

// Soon enough not to be what is measured, late enough not to keep a processor busy while the server is away.
const againMs = 100

/** Keeps a part of an application running. `part` is asked anew for every process. */
export function keepRunning(part: () => Part, hear: (news: News) => void): Kept {
  const worker = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)
  let child: ChildProcess | undefined
  let ending = false
  let lastWords = ''
  let ended: (usage: { processorMs: number; rssBytes: number } | undefined) => void = () => undefined
  let ready: () => void = () => undefined
  const wasReady = new Promise<void>((resolve) => {
    ready = resolve
  })
  function start(): void {
    if (ending) return
    const born = fork(worker, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    child = born
    let words = ''
    born.stderr?.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-2000)
    })
    born.on('message', (news: News) => {
      if ('ready' in news) ready()
      if ('ended' in news) ended(news.ended)
      hear(news)
    })
    born.once('exit', (_code, signal) => {
      if (signal !== 'SIGKILL' && words !== '') lastWords = words
      if (ending) ended(undefined)
      // One that was killed is replaced at once, one that gave up after a moment.
      else if (signal === 'SIGKILL') start()
      else after(againMs, start)
    })
    born.once('error', () => undefined)
    born.send(part())
  }
  start()
  return {
    ready: wasReady,
    kill: () => void child?.kill('SIGKILL'),
    end(deadlineMs) {
      ending = true
      return new Promise((resolve) => {
        const overdue = after(deadlineMs, () => {
          child?.kill('SIGKILL')
          resolve(undefined)
        })
        ended = (usage) => {
          overdue()
          resolve(usage)
        }
        const order: Order = 'enough'
        if (child?.connected === true) child.send(order)
      })
    },
    get lastWords() {
      return lastWords
    },
  }
}

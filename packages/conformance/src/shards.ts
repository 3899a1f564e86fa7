// Worker processes: each has a broker of its own and runs one clause at a time. The longest go first, so that none is left over at
// the end. A worker that hangs or dies fails the clause it had, and another one takes its place.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Capabilities } from '@posthorn/core/adapter'
import type { Clause, Need } from './clause.ts'
import { realClock } from './clock.ts'
import { expectedSeconds } from './durations.ts'
import { forkArgs } from './fork-args.ts'
import type { Durability } from './harness.ts'
import { boundMs } from './run-clause.ts'
import type { ClauseResult } from './runner.ts'
import { type Finding, noCounts, type Session } from './session.ts'

const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './shard-process.ts' : './shard-process.js', import.meta.url))

/** What a worker is told. */
export type ToShard =
  | {
      readonly kind: 'start'
      readonly harnessAt: string
      readonly seed: number
      readonly seeds: number
      readonly quick: boolean
      readonly long: boolean
      readonly slackFactor: number
      readonly offers: readonly Need[] | undefined
    }
  | { readonly kind: 'run'; readonly id: string }
  | { readonly kind: 'end' }
/** What a worker tells. */
export type FromShard =
  | { readonly kind: 'open'; readonly title: string; readonly durability: Durability; readonly capabilities: Capabilities }
  | { readonly kind: 'ran'; readonly result: ClauseResult; readonly findings: readonly Finding[] }
  | { readonly kind: 'process'; readonly pid: number }
  | { readonly kind: 'broke'; readonly text: string }

export interface ShardOptions extends Omit<Extract<ToShard, { kind: 'start' }>, 'kind'> {
  readonly shards: number
}

const startMs = 240_000
const endMs = 30_000

interface Worker {
  readonly opened: Extract<FromShard, { kind: 'open' }>
  run(clause: Clause, withinMs: number): Promise<Extract<FromShard, { kind: 'ran' }>>
  end(): Promise<void>
}

/** Starts the workers. Rejects when one cannot start. */
export async function openShards({ shards, ...start }: ShardOptions): Promise<Session> {
  // Each takes a listener for its end.
  process.setMaxListeners(process.getMaxListeners() + 2 * shards)
  const workers = await Promise.all(Array.from({ length: shards }, () => startWorker(start)))
  const free = [...workers]
  const ending: Promise<void>[] = []
  const [{ opened }] = workers as [Worker]

  return {
    title: opened.title,
    durability: opened.durability,
    capabilities: opened.capabilities,
    lanes: shards,
    order: (clauses) => [...clauses].sort((a, b) => expectedSeconds(b.id) - expectedSeconds(a.id)),
    async run(clause) {
      const worker = free.pop() ?? (await startWorker(start))
      const within = Math.max(clause.withinMs ?? 0, boundMs.real) * start.slackFactor
      try {
        const ran = await worker.run(clause, 3 * within + 60_000)
        // A clause that failed may have left its server in any state: with another password, stopped, full.
        if (ran.result.verdict === 'fail') ending.push(worker.end())
        else free.push(worker)
        return ran
      } catch (error) {
        ending.push(worker.end())
        const reason = error instanceof Error ? error.message : String(error)
        const result: ClauseResult = {
          id: clause.id,
          title: clause.title,
          repeat: clause.id,
          verdict: 'fail',
          branch: 'run',
          seed: start.seed,
          seconds: 0,
          reason,
          history: [],
          counts: noCounts,
          voids: 0,
          facts: {},
        }
        return { result, findings: [] }
      }
    },
    async close() {
      await Promise.all([...free.map((worker) => worker.end()), ...ending])
    },
  }
}

async function startWorker(start: Omit<Extract<ToShard, { kind: 'start' }>, 'kind'>): Promise<Worker> {
  const child = fork(program, [], {
    execArgv: [...forkArgs(import.meta.url)],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const pids = new Set<number>()
  const killAll = (): void => {
    killProcess(child)
    // Stopped members do not notice that their parent is gone.
    for (const pid of pids) killPid(pid)
  }
  process.on('exit', killAll)
  child.on('exit', () => process.off('exit', killAll))
  child.on('message', (message: FromShard) => {
    if (message.kind === 'process') pids.add(message.pid)
  })

  function answer<K extends FromShard['kind']>(kind: K, withinMs: number, what: string): Promise<Extract<FromShard, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const stop = realClock.timer(withinMs, () => {
        over()
        killAll()
        reject(new Error(`${what}: no answer from its worker within ${withinMs / 1000} s`))
      })
      const heard = (message: FromShard): void => {
        if (message.kind === 'broke') {
          over()
          reject(new Error(message.text))
        } else if (message.kind === kind) {
          over()
          resolve(message as Extract<FromShard, { kind: K }>)
        }
      }
      const ended = (code: number | null, signal: string | null): void => {
        over()
        killAll()
        reject(new Error(`${what}: its worker ended with ${signal ?? code}`))
      }
      function over(): void {
        stop()
        child.off('message', heard)
        child.off('exit', ended)
      }
      child.on('message', heard)
      child.on('exit', ended)
    })
  }
  const say = (message: ToShard): void => void child.send(message, () => {})

  const opening = answer('open', startMs, 'start')
  say({ kind: 'start', ...start })
  const opened = await opening
  return {
    opened,
    run(clause, withinMs) {
      const ran = answer('ran', withinMs, clause.id)
      say({ kind: 'run', id: clause.id })
      return ran
    },
    end() {
      if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
      return new Promise((resolve) => {
        const stop = realClock.timer(endMs, killAll)
        child.once('exit', () => {
          stop()
          resolve()
        })
        say({ kind: 'end' })
      })
    },
  }
}

function killProcess(child: ChildProcess): void {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
}
function killPid(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended
  }
}

// Programs as people start them: a process each, with nothing in common but what the environment says. Tests of all examples use this.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type BrokerName, findBroker, type RunningBroker, startBroker } from '../../../tools/brokers/index.mjs'

export interface Ended {
  /** null: a signal ended it before it could end itself. */
  readonly code: number | null
  /** Both streams, in order of arrival. */
  readonly shown: string
}
export interface Program {
  shown(): string
  /** Resolves when what was shown so far passes; rejects when the program ends before that, or shows nothing new for 60 s. */
  until(what: string, passes: (shown: string) => boolean): Promise<void>
  readonly ended: Promise<Ended>
  /** Does nothing to a program that has ended. */
  end(signal?: NodeJS.Signals): Promise<Ended>
}

const tsx = pathToFileURL(createRequire(new URL('../../../package.json', import.meta.url)).resolve('tsx')).href
const patienceMs = 60_000

/** Starts a program from its sources. `env` is added to a clean one, in which no broker is named. */
export function start(file: URL, args: readonly string[], env: NodeJS.ProcessEnv): Program {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(POSTHORN_|BROKER_URL$|SMTP_URL$|PUSH_URL$|PORT$)/.test(name))
  const child = spawn(process.execPath, ['--conditions=@posthorn/source', '--import', tsx, fileURLToPath(file), ...args], {
    cwd: fileURLToPath(new URL('..', file)),
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let shown = ''
  const watching = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      shown += text
      for (const look of watching) look()
    })
  }
  const ended = new Promise<Ended>((resolve, reject) => child.once('error', reject).once('close', (code) => resolve({ code, shown })))
  return {
    shown: () => shown,
    ended,
    until: (what, passes) =>
      new Promise((resolve, reject) => {
        const give = (why: string) => () => done(() => reject(new Error(`${why} before ${what}; it showed\n${shown}`)))
        let timer = setTimeout(give('it stood still'), patienceMs)
        const done = (settle: () => void): void => {
          clearTimeout(timer)
          watching.delete(look)
          settle()
        }
        const look = (): void => {
          if (passes(shown)) return done(resolve)
          clearTimeout(timer)
          timer = setTimeout(give('it stood still'), patienceMs)
        }
        watching.add(look)
        ended.then(give('it ended'), reject)
        look()
      }),
    end(signal = 'SIGTERM') {
      child.kill(signal)
      return ended
    },
  }
}

/** Starts a real server. Where there is none the test is skipped and says why; in strict mode it fails. */
export async function server(name: BrokerName, skip: (note: string) => never): Promise<RunningBroker> {
  if (process.env.POSTHORN_STRICT !== '1') {
    const found = await findBroker(name)
    if (!found.available) skip(`${name} is not to be had here: ${found.reason}`)
  }
  return startBroker(name)
}

/** A program on a real server: run to its end. */
export async function runOn(name: BrokerName, skip: (note: string) => never, file: URL, args: readonly string[]): Promise<Ended> {
  const running = await server(name, skip)
  try {
    return await start(file, args, { POSTHORN_BROKER: running.url }).ended
  } finally {
    await running.stop()
  }
}

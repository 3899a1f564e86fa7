// One running server of ours: the same start, faults and end for every kind.
//
// What a kind gives: `title`, `version`, `source`, `profile`, `bootMs` (how long a start may take), `url(port)`, `configure(folder, port)`
// (writes what the program reads), `companions(folder, port)` and `command(folder, port)` (what startChild takes), `ping(port)`
// (rejects while the server does not answer its protocol), `control(args, { folder, port })`, and `wipe(handle)` or `dataFolders`.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pause, startChild } from './child.mjs'
import { freePort, releasePort } from './ports.mjs'
import { runFolder } from './runs.mjs'

const logTail = (file) => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').slice(-15).join('\n') : '')
const portInUse = /address already in use|eaddrinuse/i

/** Starts a server of a kind; `port` is taken as given, or a free one is found. */
export async function startInstance(kind, { port: wanted } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const port = wanted ?? (await freePort())
    const folder = mkdtempSync(join(runFolder(), `${kind.name}-`))
    const instance = createInstance(kind, folder, port, () => wanted === undefined && releasePort(port))
    try {
      await instance.start()
      return instance
    } catch (error) {
      await instance.stop()
      // Between looking and binding somebody else was faster.
      if (wanted !== undefined || attempt === 3 || !portInUse.test(error.message)) throw error
    }
  }
}

function createInstance(kind, folder, port, release) {
  const log = join(folder, 'server.log')
  const { name, title, version, source, profile } = kind
  let companions = []
  let child
  let starting
  let stopped = false

  async function boot() {
    if (stopped) throw new Error(`${title} on port ${port} was stopped for good; its data is gone`)
    mkdirSync(folder, { recursive: true })
    kind.configure(folder, port)
    if (companions.length === 0) {
      const commands = kind.companions?.(folder, port) ?? []
      for (const command of commands) companions.push(await startChild({ ...command, log: join(folder, 'companions.log') }))
    }
    const booted = await startChild({ ...kind.command(folder, port), log })
    child = booted
    const deadline = performance.now() + kind.bootMs
    for (;;) {
      let problem
      try {
        await kind.ping(port)
        if (booted.end === undefined) return
      } catch (error) {
        problem = error
      }
      if (booted.end !== undefined) throw new Error(`${title} ended while it started (${booted.end}):\n${logTail(log)}`)
      if (performance.now() > deadline) {
        throw new Error(`${title} did not answer within ${kind.bootMs / 1000} s: ${problem?.message}\n${logTail(log)}`)
      }
      await pause(kind.pollMs)
    }
  }

  const start = () => {
    if (starting !== undefined) return starting
    if (child !== undefined && child.end === undefined) return Promise.resolve()
    starting = boot().finally(() => {
      starting = undefined
    })
    return starting
  }

  const signal = async (sent) => {
    await child?.signal(sent)
  }

  const instance = {
    name,
    title,
    version,
    source,
    profile,
    port,
    folder,
    url: kind.url(port),
    get pid() {
      return child === undefined || child.end !== undefined ? undefined : child.pid
    },
    start,
    signal,
    async wipe() {
      if (kind.wipe !== undefined) {
        await start()
        await signal('SIGCONT')
        return await kind.wipe(port)
      }
      await signal('SIGKILL')
      for (const data of kind.dataFolders) rmSync(join(folder, data), { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
      await start()
    },
    control: (args) => kind.control(args, { folder, port }),
    async stop() {
      if (stopped) return
      stopped = true
      await signal('SIGKILL')
      for (const companion of companions) await companion.signal('SIGKILL')
      companions = []
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
      release()
    },
  }
  return instance
}

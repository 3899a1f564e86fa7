// One running server of ours: the same start, faults and end for every kind.
//
// What a kind gives: `title`, `version`, `source`, `profile`, `bootMs` (how long a start may take), `pollMs`, `url(port)`, `extraPorts` (how
// many it needs besides its own), and functions of `at`, which is `{ folder, port, extra, bind }`: `configure` (writes what the program reads),
// `companions` and `command` (what startChild takes), `ping` (rejects while the server does not answer its protocol), `furnish` (fills an
// empty server), `control(args, at)`, and `wipe`, or the `dataFolders` to remove.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pause, startChild } from './child.mjs'
import { freePort, releasePort } from './ports.mjs'
import { runFolder } from './runs.mjs'

const logTail = (file) => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').slice(-15).join('\n') : '')
const portInUse = /address already in use|eaddrinuse/i

/** Starts a server of a kind; `port` and `extra` are taken as given, or free ones are found. `bind` is the address that it listens at. */
export async function startInstance(kind, { port: wanted, extra: given, bind = '127.0.0.1' } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const port = wanted ?? (await freePort())
    const extra = [...(given ?? [])]
    while (extra.length < (kind.extraPorts ?? 0)) extra.push(await freePort())
    const folder = mkdtempSync(join(runFolder(), `${kind.name}-`))
    const release = () => {
      for (const reserved of wanted === undefined ? [port, ...extra] : extra) releasePort(reserved)
    }
    const instance = createInstance(kind, { folder, port, extra, bind }, release)
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

function createInstance(kind, at, release) {
  const { folder, port } = at
  const log = join(folder, 'server.log')
  const { name, title, version, source, profile } = kind
  let companions = []
  let child
  let starting
  let stopped = false
  let furnished = false

  async function boot() {
    if (stopped) throw new Error(`${title} on port ${port} was stopped for good; its data is gone`)
    mkdirSync(folder, { recursive: true })
    await kind.configure(at)
    if (companions.length === 0) {
      const commands = kind.companions?.(at) ?? []
      for (const command of commands) companions.push(await startChild({ ...command, log: join(folder, 'companions.log') }))
    }
    const booted = await (kind.launch?.(at) ?? startChild({ ...kind.command(at), log }))
    child = booted
    const deadline = performance.now() + kind.bootMs
    for (;;) {
      let problem
      try {
        await kind.ping(at)
        if (booted.end === undefined) break
      } catch (error) {
        problem = error
      }
      if (booted.end !== undefined) throw new Error(`${title} ended while it started (${booted.end}):\n${logTail(log)}`)
      if (performance.now() > deadline) {
        throw new Error(`${title} did not answer within ${kind.bootMs / 1000} s: ${problem?.message}\n${logTail(log)}`)
      }
      await pause(kind.pollMs)
    }
    if (!furnished) await kind.furnish?.(at)
    furnished = true
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
    /** Ports besides its own, as the kind uses them. */
    extra: at.extra,
    /** The command of one of the server's own programs, for whoever runs it himself. */
    command: (tool) => kind.toolCommand?.(tool, at) ?? [],
    get pid() {
      return child === undefined || child.end !== undefined ? undefined : child.pid
    },
    start,
    signal,
    async wipe() {
      if (kind.wipe !== undefined) {
        await start()
        await signal('SIGCONT')
        return await kind.wipe(at)
      }
      await signal('SIGKILL')
      furnished = false
      for (const data of kind.dataFolders) rmSync(join(folder, data), { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
      await start()
    },
    control: (args) => kind.control(args, at),
    async stop() {
      if (stopped) return
      stopped = true
      await signal('SIGKILL')
      for (const companion of companions) await companion.signal('SIGKILL')
      companions = []
      await kind.dispose?.()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
      release()
    },
  }
  return instance
}

// Nothing outlives the run. A run is one process that starts servers: it has a folder in the system's temporary folder with one file
// per server process, named after its pid and holding its start time. Three things end what is in it: this process when it exits,
// a watcher when this process was killed, and the next run when even the watcher was.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { identify, lives } from './identity.mjs'

/** The folder of all runs of this user. */
export const runsFolder = join(tmpdir(), `posthorn-brokers-${process.platform === 'win32' ? userInfo().username : process.getuid()}`)

const processes = (run) => join(run, 'processes')
const read = (file) => {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { pid: 0, started: undefined }
  }
}
const names = (folder) => (existsSync(folder) ? readdirSync(folder) : [])
const remove = (path) => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })

/** Ends what a run started and removes its folder. Only a process whose pid and start time are the noted ones is touched. */
export function endRun(run) {
  for (const name of names(processes(run))) {
    const noted = read(join(processes(run), name))
    if (!lives(noted)) continue
    try {
      process.kill(noted.pid, 'SIGKILL')
    } catch {
      // It ended meanwhile.
    }
  }
  remove(run)
}

/** Ends what runs left behind whose process is gone. */
export function sweep() {
  for (const name of names(runsFolder)) {
    const run = join(runsFolder, name)
    if (name !== 'ports' && !lives(read(join(run, 'owner.json')))) endRun(run)
  }
  for (const name of names(join(runsFolder, 'ports'))) {
    const port = join(runsFolder, 'ports', name)
    if (!lives(read(port))) remove(port)
  }
}

/** Waits for the end of its input, which comes when this process is gone however it ended, and then ends the run. */
function watch(run) {
  const script = fileURLToPath(new URL('watch.mjs', import.meta.url))
  // A shell waits with a hundredth of the memory.
  const watcher = spawn('/bin/sh', ['-c', 'read -r line; exec "$0" "$1" "$2"', process.execPath, script, run], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  })
  watcher.on('error', () => {})
  watcher.stdin.on('error', () => {})
  watcher.unref()
  watcher.stdin.unref()
  return watcher
}

let current

/** The folder of this run; the first call makes it and sweeps what dead runs left. */
export function runFolder() {
  if (current !== undefined) return current
  mkdirSync(runsFolder, { recursive: true, mode: 0o700 })
  sweep()
  const owner = identify(process.pid)
  const run = join(runsFolder, `${owner.pid}-${String(owner.started).replace(/\W+/g, '-')}`)
  mkdirSync(run, { recursive: true })
  // The owner comes first: a folder without one belongs to nobody and is swept.
  writeFileSync(join(run, 'owner.json'), JSON.stringify(owner))
  mkdirSync(processes(run), { recursive: true })
  const watcher = process.platform === 'win32' ? undefined : watch(run)
  process.on('exit', () => {
    endRun(run)
    watcher?.kill('SIGKILL')
  })
  current = run
  return run
}

/** Notes a process of this run. The answer forgets it again. */
export function note(pid) {
  const file = join(processes(runFolder()), String(pid))
  writeFileSync(file, JSON.stringify(identify(pid)))
  return () => rmSync(file, { force: true })
}

// What is fetched once and kept: folders that appear complete or not at all.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { pause } from './child.mjs'
import { identify, lives } from './identity.mjs'

/** The project's cache: `POSTHORN_CACHE`, else `posthorn` in the user's cache folder. */
export function cacheFolder(...names) {
  const base = process.env.POSTHORN_CACHE ?? join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'posthorn')
  return join(base, ...names)
}

function take(file) {
  try {
    writeFileSync(file, JSON.stringify(identify(process.pid)), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  try {
    if (lives(JSON.parse(readFileSync(file, 'utf8')))) return false
  } catch {
    // Being written or removed right now, or cut off: the next look tells.
    if (brokenSince(file) < 2_000) return false
  }
  rmSync(file, { force: true })
  return false
}

const seenBroken = new Map()
function brokenSince(file) {
  const first = seenBroken.get(file) ?? performance.now()
  seenBroken.set(file, first)
  return performance.now() - first
}

/**
 * Runs `work` while no other process does the same, as far as that can be had: a lock whose owner died is taken over, and should two
 * take it at once they do the work twice. What `work` leaves behind must therefore appear by a rename.
 */
export async function withLock(name, work) {
  const file = cacheFolder('locks', name)
  mkdirSync(dirname(file), { recursive: true })
  const deadline = performance.now() + 600_000
  while (!take(file)) {
    if (performance.now() > deadline) throw new Error(`another process has held ${file} for ten minutes`)
    await pause(50)
  }
  try {
    return await work()
  } finally {
    rmSync(file, { force: true })
  }
}

/**
 * Fills a new folder in `parent` and gives it the name that `work` answers when it is complete; what had that name before is gone.
 * Answers its path.
 */
export async function fill(parent, work) {
  const fresh = join(parent, `.new-${process.pid}-${Math.random().toString(36).slice(2, 8)}`)
  mkdirSync(fresh, { recursive: true })
  try {
    const target = join(parent, await work(fresh))
    rmSync(target, { recursive: true, force: true })
    renameSync(fresh, target)
    return target
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

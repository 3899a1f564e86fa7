// Which process is it? A pid is used again after its process has ended; together with the start time it names one process for good.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** When the process started, in the system's own units, or undefined when there is none (one that only waits to be collected is none). */
export function startTime(pid) {
  try {
    if (process.platform !== 'linux')
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything, so count from its end: state is the third field, start time the 22nd.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

/** What names this process in a file. */
export const identify = (pid) => ({ pid, started: startTime(pid) })

/** Does the process that a file names still run? */
export const lives = ({ pid, started }) => started !== undefined && startTime(pid) === started

/** Has SIGSTOP arrived? Where the system does not say, true. */
export function isFrozen(pid) {
  if (process.platform !== 'linux') return true
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] === 'T'
  } catch {
    return false
  }
}

// What a server takes of the machine, as Linux shows it. Elsewhere, and of servers that others run, nothing is known.

import { readdirSync, readFileSync } from 'node:fs'

/** Processor time since the server began, or of one measurement, and memory that is resident now; of all its processes. */
export interface Usage {
  readonly processorMs: number
  readonly rssBytes: number
}

// The kernel counts in hundredths of a second, whatever the processor does.
const tickMs = 10
const pageBytes = 4096

/** What the process group of this number takes; undefined where that cannot be seen. */
export function usageOf(group: number | undefined): Usage | undefined {
  if (group === undefined || process.platform !== 'linux') return undefined
  let processorMs = 0
  let rssBytes = 0
  let seen = false
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const fields = fieldsOf(name)
    if (fields === undefined || Number(fields[2]) !== group) continue
    seen = true
    processorMs += (Number(fields[11]) + Number(fields[12])) * tickMs
    rssBytes += Number(fields[21]) * pageBytes
  }
  return seen ? { processorMs, rssBytes } : undefined
}

// The name of a process stands in parentheses and may have spaces in it: what counts comes behind.
function fieldsOf(pid: string): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    // It ended meanwhile.
    return undefined
  }
}

/** What was taken between two looks. */
export const usedBetween = (before: Usage | undefined, after: Usage | undefined): Usage | undefined =>
  before === undefined || after === undefined
    ? undefined
    : { processorMs: after.processorMs - before.processorMs, rssBytes: after.rssBytes }

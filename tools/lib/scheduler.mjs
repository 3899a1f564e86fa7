// Runs steps as soon as what they need has passed, as many at a time as there are cores, in the order of the list.
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { count } from './counts.mjs'
import { runNode } from './process.mjs'
import { root } from './workspace.mjs'

const failure = (note) => ({ passed: 0, failed: 1, skipped: 0, note, output: '', seconds: 0 })

async function runStep(step, log) {
  const missing = (step.files ?? []).filter((file) => !existsSync(join(root, file)))
  if (missing.length > 0) return failure(`missing: ${missing.join(', ')}`)
  if (step.report !== undefined) rmSync(join(root, step.report), { force: true })
  const started = performance.now()
  const env = { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1', ...step.env }
  const result = await runNode(step.args, { env, timeoutMs: (step.minutes ?? 10) * 60_000 })
  writeFileSync(join(root, log), result.output)
  return { ...count(step, result), output: result.output, seconds: (performance.now() - started) / 1000 }
}

/** Why a step is not run now: `{ skip }` or `{ fail }`, or null. Steps that were not asked for are no obstacle. */
function obstacle(step, results, { strict, servers, missing }) {
  const broken = (step.after ?? []).filter((name) => results.get(name)?.failed > 0)
  if (broken.length > 0) return { fail: `not run: ${broken.join(', ')} failed` }
  if (step.server === undefined || servers.has(step.server)) return null
  const reason = missing?.get(step.server) ?? `no ${step.server} here`
  return strict ? { fail: `${reason}, and strict mode wants it` } : { skip: reason }
}

/**
 * Runs all steps and returns their results by name; `report(step, result)` is called as each one ends.
 *
 * `strict` makes a server that is missing a failure instead of a skip; `servers` are the names of those that are there and
 * `missing` says, by name, why another is not.
 */
export async function runSteps(steps, { strict, servers, missing, report }) {
  mkdirSync(join(root, 'reports'), { recursive: true })
  const cores = Math.min(4, Math.max(2, availableParallelism()))
  const names = new Set(steps.map((step) => step.name))
  const results = new Map()
  const waiting = [...steps]
  const running = new Map()
  let busy = 0
  const finish = (step, result) => {
    results.set(step.name, result)
    report(step, result)
  }
  const startOne = () => {
    for (const [index, step] of waiting.entries()) {
      const weight = Math.min(cores, step.cores ?? 1)
      if (busy + weight > cores || (step.after ?? []).some((name) => names.has(name) && !results.has(name))) continue
      waiting.splice(index, 1)
      const found = obstacle(step, results, { strict, servers, missing })
      if (found?.fail !== undefined) finish(step, failure(found.fail))
      else if (found?.skip !== undefined) finish(step, { ...failure(found.skip), failed: 0, skipped: 1 })
      else {
        busy += weight
        const log = `reports/${step.name.replaceAll(':', '-')}.log`
        const done = runStep(step, log).then((result) => {
          busy -= weight
          running.delete(step.name)
          finish(step, { ...result, log })
        })
        running.set(step.name, done)
      }
      return true
    }
    return false
  }
  while (waiting.length > 0 || running.size > 0) {
    while (startOne());
    if (running.size === 0) break
    await Promise.race(running.values())
  }
  for (const step of waiting) finish(step, failure('not run: what it comes after never ended'))
  return results
}

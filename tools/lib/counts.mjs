// How the results of a step are read from its exit code and its output. Each reader returns `{ passed, failed, skipped }`, or
// null when the output does not say; the caller counts that, and an exit code that does not fit, as a failure.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './workspace.mjs'

/** The last line is "N passed, N failed, N skipped": what all scripts of this repository print. */
function line({ output }) {
  const match = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(output.trimEnd().split('\n').at(-1) ?? '')
  return match && { passed: Number(match[1]), failed: Number(match[2]), skipped: Number(match[3] ?? 0) }
}

/** The whole command is one check. */
function exit({ code }) {
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 }
}

/** The JSON report of vitest. Tests that never ran because their file failed to load are seen in the exit code. */
function vitest({ step }) {
  const file = join(root, step.report)
  if (!existsSync(file)) return null
  const report = JSON.parse(readFileSync(file, 'utf8'))
  return { passed: report.numPassedTests, failed: report.numFailedTests, skipped: report.numPendingTests + report.numTodoTests }
}

/** The closing lines of Node's own test runner. */
function tap({ output }) {
  const of = (word) => Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(output)?.[1] ?? Number.NaN)
  const found = { passed: of('pass'), failed: of('fail') + of('cancelled'), skipped: of('skipped') + of('todo') }
  return Object.values(found).some(Number.isNaN) ? null : found
}

export const counters = { line, exit, vitest, tap }

/**
 * The counts of one finished step. Nothing green can come from a command that failed, that did not say what it did, or that
 * did nothing: each of these is one more failure, with a `note` that says so.
 */
export function count(step, { code, output }) {
  const counts = counters[step.counts]({ step, code, output })
  if (counts === null) return { passed: 0, failed: 1, skipped: 0, note: `it ended with code ${code} and printed no counts` }
  if (code !== 0 && counts.failed === 0) return { ...counts, failed: 1, note: `it counted no failure but ended with code ${code}` }
  if (code === 0 && counts.failed > 0) return { ...counts, note: 'it counted failures but ended with code 0' }
  if (counts.passed + counts.failed + counts.skipped === 0) return { ...counts, failed: 1, note: 'it ran nothing' }
  return counts
}

export function sum(results) {
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const result of results) for (const key of Object.keys(total)) total[key] += result[key]
  return total
}

export function sentence({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

// The report for people: one line per clause in the order of the page, so that for the author of a new adapter it is the to-do list.

import type { ClauseResult, SuiteReport } from './runner.ts'

const marks = { pass: 'pass      ', fail: 'FAIL      ', skip: 'skip      ', vacuous: 'VACUOUS   ', 'not proven': 'not proven' } as const

/** One clause: id, verdict, seconds; for a failure also why, the history of its messages and the command that repeats it. */
export function clauseLines(result: ClauseResult, repeat: (ids: string, seed: number) => string): readonly string[] {
  const branch = result.branch === 'other' ? ' [other branch]' : ''
  const note = result.verdict === 'not proven' || result.verdict === 'skip' ? `  (${result.reason})` : ''
  const head = `${marks[result.verdict]}  ${result.id.padEnd(7)}  ${`${result.seconds.toFixed(2)} s`.padStart(8)}  ${result.title}${branch}${note}`
  if (result.verdict !== 'fail') return [head]
  return [
    head,
    ...(result.reason ?? '').split('\n').map((line) => `    ${line}`),
    ...result.history.map((line) => `      ${line}`),
    `    seed ${result.seed}; repeat: ${repeat(result.repeat, result.seed)}`,
  ]
}

/** What the run as a whole was; the last line is the one that scripts read. */
export function totalLines(report: SuiteReport): readonly string[] {
  const { totals, counts } = report
  const proven = totals.pass
  const notProven = totals['not proven']
  return [
    `${report.broker}, profile ${report.profile} (${report.durability}), ${report.seeds === 1 ? `seed ${report.seed}` : `seeds ${report.seed} to ${report.seed + report.seeds - 1}`}, ` +
      `${report.seconds.toFixed(1)} s${report.quick ? '; quick run: message counts divided by ten, not to be quoted' : ''}`,
    `${counts.sent} messages stored, ${counts.unknown} unknown, ${counts.delivered} handler starts, ${counts.repeats} repeats`,
    `${proven} clauses proven, ${notProven} not proven`,
  ]
}

/** `N passed, N failed, N skipped` over all reports. */
export function countLine(reports: readonly SuiteReport[]): string {
  const of = (verdict: 'pass' | 'fail' | 'skip' | 'vacuous'): number => reports.reduce((sum, report) => sum + report.totals[verdict], 0)
  return `${of('pass')} passed, ${of('fail') + of('vacuous')} failed, ${of('skip')} skipped`
}

// From the lines of the raw data to the tables of the report.

import type { About, Comparison, Results } from './compare/comparison.ts'
import { comparisons } from './compare/comparisons.ts'
import type { Outcome } from './compare/task.ts'
import type { Line, RunLine } from './raw.ts'
import type { Table } from './scenario.ts'

/** All tables for which there are lines: those of real servers first. */
export function tablesOf(lines: readonly Line[]): Table[] {
  const servers = lines.filter((line) => line.type === 'server')
  const runs = lines.filter((line) => line.type === 'run')
  const compared = comparisons.flatMap((comparison): Table[] => {
    const rows = resultsOf(comparison, servers, runs).flatMap((results) => comparison.rows(results))
    const { name, title, method, charts } = comparison
    return rows.length === 0 ? [] : [{ name, title, method, rows, charts }]
  })
  const whole = lines
    .filter((line) => line.type === 'rows')
    .map(({ name, title, method, rows }) => ({ name, title, method, rows, charts: [] }))
  return [...compared, ...whole]
}

/** Case by case, broker beside broker. */
function resultsOf(comparison: Comparison, servers: readonly About[], runs: readonly RunLine[]): Results[] {
  const own = runs.filter((run) => run.comparison === (comparison.runsOf ?? comparison.name))
  const names = [...new Set(own.map((run) => run.case))]
  return names.flatMap((name) =>
    servers.flatMap((about): Results[] => {
      const byClient = new Map<string, (Outcome | undefined)[]>()
      // In the order in which the broker names them, not in that of the runs.
      for (const client of Object.keys(about.clients)) {
        const outcomes: (Outcome | undefined)[] = []
        for (const run of own)
          if (run.case === name && run.broker === about.broker && run.client === client) outcomes[run.pass] = run.outcome
        if (outcomes.length > 0) byClient.set(client, Array.from(outcomes))
      }
      return byClient.size === 0 ? [] : [{ case: name, about, runs: byClient }]
    }),
  )
}

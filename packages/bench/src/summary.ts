import { fine, whole } from './format.ts'
import { aligned, spoiled } from './report.ts'
import type { Row, Table } from './scenario.ts'

/** What the summary shows of a broker and a client: a value of one row of one table. */
interface Column {
  readonly head: string
  readonly table: string
  readonly panel: string
  readonly value: string
  readonly format: (value: number) => string
}

/** What most people ask first. */
export const columns: readonly Column[] = [
  { head: 'end to end 1 KB/s', table: 'throughput', panel: 'end to end, 1 KB', value: 'rate', format: whole },
  { head: 'of tuned', table: 'throughput', panel: 'end to end, 1 KB', value: 'ofTuned', format: fine },
  { head: 'highest 100 B/s', table: 'saturation', panel: '100 B', value: 'highest', format: whole },
  { head: 'p50 ms at 500/s', table: 'latency', panel: '500/s', value: 'p50', format: fine },
  { head: 'p99', table: 'latency', panel: '500/s', value: 'p99', format: fine },
  { head: '10 ms handlers/s', table: 'slow', panel: '10 ms', value: 'rate', format: whole },
  { head: 'killed: back ms', table: 'faults', panel: 'consumer killed', value: 'back', format: whole },
  { head: 'restart: back ms', table: 'faults', panel: 'server restarted', value: 'back', format: whole },
]

/** One line for each broker and client; undefined where nothing of it was measured. */
export function summaryOf(tables: readonly Table[]): string | undefined {
  const { heads, lines } = summaryCells(tables)
  return lines.length === 0 ? undefined : ['', 'summary', ...aligned([heads, ...lines])].join('\n')
}

/** The cells of the summary: the columns of which there is anything, and a fault counter over all rows of a client. */
export function summaryCells(tables: readonly Table[]): {
  readonly heads: readonly string[]
  readonly lines: readonly (readonly string[])[]
} {
  const marked = tables.flatMap(({ name, rows }) =>
    rows.flatMap((row) => (row.mark === undefined ? [] : [{ table: name, row, mark: row.mark }])),
  )
  const names = [...new Set(marked.map(({ mark }) => `${mark.broker}, ${mark.client}`))].sort(
    byBroker(marked.map(({ mark }) => mark.broker)),
  )
  const shown = columns.filter((column) => marked.some(({ table, mark }) => table === column.table && mark.panel === column.panel))
  const lines = names.flatMap((name) => {
    const own = marked.filter(({ mark }) => `${mark.broker}, ${mark.client}` === name)
    const cells = shown.map(({ table, panel, value, format }) => {
      const found = own.find((each) => each.table === table && each.mark.panel === panel)
      const spread = found?.mark.values[value]
      if (found === undefined || spread === undefined) return '–'
      return spoiled(found.row) ? 'FAULTY' : format(spread.median)
    })
    // Who has nothing to show here has a table of its own.
    if (cells.every((cell) => cell === '–')) return []
    const total = (of: (row: Row) => number): string => whole(own.reduce((sum, { row }) => sum + of(row), 0))
    const counters = [total(({ faults }) => faults.lost), total(({ faults }) => faults.twice), total(({ faults }) => faults.misordered)]
    return [[name, ...cells, ...counters]]
  })
  return { heads: ['', ...shown.map(({ head }) => head), 'lost', 'twice', 'misordered'], lines }
}

const byBroker =
  (order: readonly string[]) =>
  (a: string, b: string): number =>
    order.indexOf(a.split(',')[0] ?? '') - order.indexOf(b.split(',')[0] ?? '')

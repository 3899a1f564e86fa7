// The end of the demo: one table, and one sentence whether all of it is right.
import type { Figures, Row } from './ledger.ts'
import { digits, type Paint } from './paint.ts'

export interface Check {
  readonly what: string
  readonly ok: boolean
}
export interface Report {
  readonly ok: boolean
  readonly broker: string
  readonly orders: number
  readonly customers: number
  /** From the first order to the last message that arrived. */
  readonly seconds: number
  readonly ordersPerSecond: number
  /** Handled by the four services behind the order service. */
  readonly messages: number
  readonly messagesPerSecond: number
  readonly services: readonly Row[]
  /** The other things that had to be so. */
  readonly checks: readonly Check[]
}

export function makeReport(input: {
  readonly broker: string
  readonly orders: number
  readonly customers: number
  readonly seconds: number
  readonly services: readonly Row[]
  readonly checks: readonly Check[]
}): Report {
  const { orders, seconds, services, checks } = input
  const messages = services.filter(({ service }) => service !== 'order').reduce((sum, { handled }) => sum + handled, 0)
  return {
    ok: services.every(({ wrong }) => wrong.length === 0) && checks.every(({ ok }) => ok),
    broker: input.broker,
    orders,
    customers: input.customers,
    seconds: Math.round(seconds * 100) / 100,
    ordersPerSecond: Math.round(orders / seconds),
    messages,
    messagesPerSecond: Math.round(messages / seconds),
    services,
    checks,
  }
}

const columns: readonly { readonly title: string; readonly figure: keyof Figures }[] = [
  { title: 'handled', figure: 'handled' },
  { title: 'retried', figure: 'retried' },
  { title: 'dead', figure: 'dead' },
  { title: 'replayed', figure: 'replayed' },
  { title: 'lost', figure: 'lost' },
  { title: 'twice', figure: 'twice' },
  { title: 'out of order', figure: 'outOfOrder' },
]

export function renderReport(report: Report, paint: Paint): string {
  const heads = columns.map(({ title }) => title.padStart(5))
  const rule = paint.dim(`  ${'─'.repeat(12 + heads.join('  ').length + 3)}`)
  const lines = ['', `  ${paint.bold('service'.padEnd(10))}  ${heads.map(paint.bold).join('  ')}`, rule]
  for (const row of report.services) {
    const cells = columns.map(({ figure }, i) => {
      const value = row[figure]
      const cell = (value === undefined ? '–' : digits(value)).padStart(heads[i]?.length ?? 0)
      return row.wrong.includes(figure) ? paint.red(cell) : value === undefined ? paint.dim(cell) : cell
    })
    lines.push(`  ${row.service.padEnd(10)}  ${cells.join('  ')}  ${row.wrong.length === 0 ? paint.green('✓') : paint.red('✗')}`)
  }
  lines.push(rule)
  for (const { what, ok } of report.checks) lines.push(`  ${ok ? paint.green('✓') : paint.red('✗')} ${what}`)
  lines.push(
    '',
    `  ${digits(report.orders)} orders of ${digits(report.customers)} customers in ${report.seconds.toFixed(1)} s: ${digits(report.ordersPerSecond)} orders/s`,
    `  ${digits(report.messages)} messages handled: ${digits(report.messagesPerSecond)} messages/s. Broker: ${report.broker}`,
    '',
  )
  lines.push(...wrongFigures(report).map((text) => `  ${paint.red('✗')} ${text}`))
  lines.push(
    report.ok
      ? `  ${paint.green(paint.bold('Every figure is exactly what it must be.'))}\n  Counted by the mail server, the push receiver and the services, not by the library.`
      : `  ${paint.red(paint.bold('Not every figure is what it must be.'))}`,
    '',
  )
  return lines.join('\n')
}

function wrongFigures({ services }: Report): string[] {
  const title = (figure: keyof Figures) => columns.find((column) => column.figure === figure)?.title ?? figure
  return services.flatMap((row) =>
    row.wrong.map((figure) =>
      row[figure] === row.must[figure]
        ? `${row.service}: ${title(figure)} is as many as it must be, but not the right ones`
        : `${row.service}: ${title(figure)} is ${digits(row[figure] ?? 0)}, must be ${digits(row.must[figure] ?? 0)}`,
    ),
  )
}

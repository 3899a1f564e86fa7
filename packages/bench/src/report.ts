import { whole } from './format.ts'
import { faulty } from './ledger.ts'
import type { Line } from './raw.ts'
import type { Row, Target } from './scenario.ts'

/** The table of one scenario. A row with a fault is marked: its figures are worth nothing. */
export function tableOf(title: string, method: string, rows: readonly Row[]): string {
  const lines = ['', title, ...wrapped(method, 110).map((line) => `  ${line}`)]
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.figures)))]
  if (sameFigures(rows)) {
    const compared = rows.some((row) => row.promise !== undefined)
    const cells = [
      [
        '',
        ...names,
        ...(compared ? ['sent'] : []),
        'lost',
        'twice',
        'misordered',
        ...(compared ? ['unsettled', 'durability', 'promise'] : []),
        '',
      ],
      ...rows.map((row) => [
        row.name,
        ...names.map((name) => row.figures[name] ?? ''),
        ...(compared ? [passedOf(row)] : []),
        ...counts(row),
        ...(compared ? [String(row.unsettled ?? ''), row.tier ?? '', row.promise ?? ''] : []),
        flag(row),
      ]),
    ]
    lines.push(...aligned(cells))
    const how = new Map(rows.flatMap((row) => (row.how === undefined ? [] : [[row.how.who, row.how.what] as const])))
    for (const [who, what] of how)
      lines.push(...wrapped(`${who}: ${what}`, 110).map((line, index) => `  ${index === 0 ? '' : '  '}${line}`))
  } else {
    for (const row of rows) {
      lines.push(`  ${row.name}`)
      lines.push(
        ...aligned([...Object.entries(row.figures), ['lost, twice, misordered', [...counts(row), flag(row)].join('  ').trim()]]).map(
          (line) => `  ${line}`,
        ),
      )
    }
  }
  return lines.join('\n')
}

// Tables where there is something to compare; else one figure per line.
const sameFigures = (rows: readonly Row[]): boolean =>
  rows.length > 1 && rows.every((row) => Object.keys(row.figures).join() === Object.keys(rows[0]?.figures ?? {}).join())

const counts = ({ faults }: Row): string[] => [String(faults.lost), String(faults.twice), String(faults.misordered)]
const flag = (row: Row): string => (spoiled(row) ? '<- FAULTY' : '')

/** Are its figures worth nothing? A repeat is no fault where something was killed. */
export const spoiled = ({ faults, repeatsAllowed }: Row): boolean => faulty(repeatsAllowed === true ? { ...faults, twice: 0 } : faults)

/** How many were sent, and where it is another number, how many were confirmed and received. */
export function passedOf({ counts: passed }: Row): string {
  if (passed === undefined) return ''
  const { sent, confirmed, received } = passed
  return sent === confirmed && sent === received ? whole(sent) : [sent, confirmed, received].map(whole).join('/')
}

/** What was not run, or failed, in a line each. */
export function leftOutOf(lines: readonly Line[]): string {
  const runs = lines.flatMap((line) =>
    line.type === 'failed' || line.type === 'left out'
      ? [
          {
            what: `${line.broker}, ${line.comparison} ${line.case}, ${line.client}`,
            pass: line.pass,
            why: line.type === 'failed' ? line.error : undefined,
          },
        ]
      : [],
  )
  const failed = runs.flatMap(({ what, why }) => (why === undefined ? [] : [`  ${what}: ${why}`]))
  const never = runs.flatMap(({ what, why, pass }) => (why === undefined && pass === 0 ? [`  ${what}`] : []))
  return [
    ...(failed.length > 0 ? ['', 'failed', ...failed] : []),
    ...(never.length > 0 ? ['', 'left out, because there was no time', ...never] : []),
  ].join('\n')
}

/** Cells in columns: the first to the left, the others to the right. */
export function aligned(cells: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of cells) for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length)
  return cells.map((row) =>
    `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`.trimEnd(),
  )
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length >= width) {
      lines.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** All targets, met or not. */
export function targetsOf(targets: readonly Target[]): string {
  return ['', 'targets', ...aligned(targets.map(({ text, value, met }) => [text, value, met ? 'met' : 'NOT MET']))].join('\n')
}

/** 1 if a message was lost, handled twice where nothing was killed, or out of order, whatever the speed; else 0, whatever the speed. */
export const exitCodeOf = (rows: readonly Row[]): 0 | 1 => (rows.some(spoiled) ? 1 : 0)

/** What the figures depend on, name by name. */
export function headOf(about: Readonly<Record<string, string>>): string {
  const width = Math.max(...Object.keys(about).map((name) => name.length))
  return Object.entries(about)
    .map(([name, value]) => `${name.padEnd(width)}  ${value}`)
    .join('\n')
}

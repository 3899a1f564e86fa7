import { faulty } from './ledger.ts'
import type { Row, Target } from './scenario.ts'

/** The table of one scenario. A row with a fault is marked: its figures are worth nothing. */
export function tableOf(title: string, method: string, rows: readonly Row[]): string {
  const lines = ['', title, ...wrapped(method, 110).map((line) => `  ${line}`)]
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.figures)))]
  if (sameFigures(rows)) {
    const cells = [
      ['', ...names, 'lost', 'twice', 'misordered', ''],
      ...rows.map((row) => [row.name, ...names.map((name) => row.figures[name] ?? ''), ...faultCells(row)]),
    ]
    lines.push(...aligned(cells))
  } else {
    for (const row of rows) {
      lines.push(`  ${row.name}`)
      lines.push(
        ...aligned([...Object.entries(row.figures), ['lost, twice, misordered', faultCells(row).join('  ').trim()]]).map(
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

const faultCells = (row: Row): string[] => {
  const { lost, twice, misordered } = row.faults
  return [String(lost), String(twice), String(misordered), faulty(row.faults) ? '<- FAULTY' : '']
}

function aligned(cells: readonly (readonly string[])[]): string[] {
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

/** 1 if a message was lost, handled twice or out of order, whatever the speed; else 0, whatever the speed. */
export const exitCodeOf = (rows: readonly Row[]): 0 | 1 => (rows.some((row) => faulty(row.faults)) ? 1 : 0)

import { cut } from './text.ts'

const gap = '  '

/**
 * Rows of texts under headings. The widths are those of the first rows, so that a long list can be shown as it comes; on a terminal
 * the last column ends where the line does.
 */
export function createTable(head: readonly string[], columns: number | undefined): (rows: readonly (readonly string[])[]) => string {
  let widths: readonly number[] | undefined
  const line = (cells: readonly string[], wide: readonly number[]): string => {
    const padded = cells.map((cell, at) => (at === cells.length - 1 ? cell : cell.padEnd(wide[at] ?? 0)))
    const text = padded.join(gap)
    return `${columns === undefined ? text.trimEnd() : cutLast(padded, columns)}\n`
  }
  return (rows) => {
    const first = widths === undefined
    const wide = widths ?? head.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? '').length)))
    widths = wide
    return [...(first ? [head] : []), ...rows].map((row) => line(row, wide)).join('')
  }
}

// Only the last cell gives way: what stands before it is there to be copied.
function cutLast(cells: readonly string[], columns: number): string {
  const before = cells
    .slice(0, -1)
    .map((cell) => cell + gap)
    .join('')
  return (before + cut(cells.at(-1) ?? '', Math.max(8, columns - before.length))).trimEnd()
}

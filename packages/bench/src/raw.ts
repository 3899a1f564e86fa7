// The raw data: one JSON value a line, written as it is measured. The whole report is made of these lines and nothing else.

import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { About } from './compare/comparison.ts'
import type { Outcome } from './compare/task.ts'
import type { Row } from './scenario.ts'

/** One line. */
export type Line = HeadLine | ServerLine | RunLine | LeftOutLine | FailedLine | RowsLine | EndLine

/** What the figures depend on, name by name; always the first. */
export interface HeadLine {
  readonly type: 'head'
  readonly about: Readonly<Record<string, string>>
}
/** A server and its clients. */
export type ServerLine = { readonly type: 'server' } & About

/** Where a run belongs. */
interface Place {
  readonly comparison: string
  readonly case: string
  readonly broker: string
  readonly client: string
  readonly pass: number
}
/** One run of one client. */
export interface RunLine extends Place {
  readonly type: 'run'
  readonly seconds: number
  readonly outcome: Outcome
}
/** A run for which there was no time. */
export interface LeftOutLine extends Place {
  readonly type: 'left out'
}
/** A run that ended with an error: it has no figures. */
export interface FailedLine extends Place {
  readonly type: 'failed'
  readonly error: string
}
/** A table that is measured and summed up in one go. */
export interface RowsLine {
  readonly type: 'rows'
  readonly name: string
  readonly title: string
  readonly method: string
  readonly rows: readonly Row[]
}
/** The last line. */
export interface EndLine {
  readonly type: 'end'
  readonly seconds: number
}

/** Where lines go. */
export interface Raw {
  write(line: Line): void
  readonly lines: readonly Line[]
}

/** Keeps lines, and writes each to a new file at once, so that what was measured is not lost with the process. */
export function rawFile(file: string): Raw {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, '')
  const lines: Line[] = []
  return {
    lines,
    write(line) {
      lines.push(line)
      appendFileSync(file, `${JSON.stringify(line)}\n`)
    },
  }
}

/** The lines of a file that was written before. */
export function linesIn(file: string): Line[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((text) => text !== '')
    .map((text) => JSON.parse(text) as Line)
}

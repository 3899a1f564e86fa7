// What happened during one clause, line by line, so that a failure can show the history of the messages it concerns.

export interface JournalLine {
  readonly at: number
  readonly id: string | undefined
  readonly text: string
}
export interface Journal {
  /** `at`: when it happened, where another process saw it. */
  note(text: string, id?: string, at?: number): void
  /** The lines of these messages and the lines of none, at most `most`. */
  history(ids: readonly string[], most?: number): readonly string[]
  /** Something that a standing check found. */
  violate(clause: string, text: string, ids?: readonly string[]): void
  readonly violations: readonly { readonly clause: string; readonly text: string; readonly ids: readonly string[] }[]
}

const mostLines = 200_000
const mostViolations = 50

export function createJournal(now: () => number): Journal {
  const started = now()
  const lines: JournalLine[] = []
  let sorted = true
  const violations: { clause: string; text: string; ids: readonly string[] }[] = []
  return {
    note(text, id, at = now()) {
      if (lines.length >= mostLines) return
      const line = { at: at - started, id, text }
      sorted &&= line.at >= (lines.at(-1)?.at ?? line.at)
      lines.push(line)
    },
    history(ids, most = 60) {
      if (!sorted) lines.sort((a, b) => a.at - b.at)
      sorted = true
      const wanted = new Set(ids.slice(0, 3))
      const found = lines.filter((line) => line.id === undefined || wanted.has(line.id))
      const kept = found.length > most ? [...found.slice(0, most / 2), undefined, ...found.slice(-most / 2)] : found
      return kept.map((line) =>
        line === undefined
          ? `… ${found.length - most} lines left out`
          : `${(line.at / 1000).toFixed(3).padStart(9)} s  ${line.id === undefined ? '' : `${line.id}  `}${line.text}`,
      )
    },
    violate(clause, text, ids = []) {
      if (violations.length < mostViolations) violations.push({ clause, text, ids })
    },
    violations,
  }
}

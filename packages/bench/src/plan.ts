// What is run when: all brokers and clients take turns, again in every pass, so that what the machine does meanwhile meets all.

import { monotonic } from './clock.ts'
import type { Cell } from './compare/comparison.ts'
import type { Progress } from './progress.ts'
import type { Raw } from './raw.ts'

/**
 * The cells in the order of a pass. Those of one case stand together, broker beside broker; each pass begins every case with
 * another one of them.
 */
export function orderOf(cells: readonly Cell[], pass: number): Cell[] {
  const cases = new Map<string, Cell[]>()
  for (const cell of cells) {
    const name = `${cell.comparison} ${cell.case}`
    cases.set(name, [...(cases.get(name) ?? []), cell])
  }
  return [...cases.values()].flatMap((together) => {
    // A step of its own through brokers and clients: neighbours change too.
    const from = (pass * 5) % together.length
    return [...together.slice(from), ...together.slice(0, from)]
  })
}

/** How long it may take, and how often each cell is run. */
export interface Limits {
  readonly passes: number
  /** Milliseconds on the clock of `monotonic`; nothing begins that would not be over by then. */
  readonly until: number
}

/** Runs the passes and writes what came of each run. A run that fails is written as that; the others go on. */
export async function runPasses(cells: readonly Cell[], { passes, until }: Limits, raw: Raw, progress: Progress): Promise<void> {
  const took = new Map<Cell, number>()
  for (let pass = 0; pass < passes; pass++) {
    for (const cell of orderOf(cells, pass)) {
      const { comparison, case: name, broker, client } = cell
      const place = { comparison, case: name, broker, client, pass }
      const what = `${broker}, ${comparison} ${name}, ${client}`
      const secondsLeft = (until - monotonic()) / 1000
      if ((took.get(cell) ?? cell.seconds) > secondsLeft) {
        raw.write({ type: 'left out', ...place })
        progress.over(cell, undefined)
        continue
      }
      progress.now(cell, `${what}${passes > 1 ? `, pass ${pass + 1}` : ''}`)
      const since = monotonic()
      const seconds = (): number => (monotonic() - since) / 1000
      try {
        const outcome = await cell.run()
        raw.write({ type: 'run', ...place, seconds: seconds(), outcome })
        for (const note of outcome.notes) progress.say(`${what}: ${note}`)
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error)
        raw.write({ type: 'failed', ...place, error: text })
        progress.say(`${what} failed: ${text}`)
      }
      took.set(cell, seconds())
      progress.over(cell, seconds())
    }
  }
}

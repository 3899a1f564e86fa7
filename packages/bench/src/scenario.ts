import type { Driver } from './driver.ts'
import type { Faults } from './ledger.ts'

/** What the command line asked for. */
export interface Settings {
  readonly quick: boolean
  /** Runs of each measurement, after one that does not count. */
  readonly runs: number
  /** One line about what runs now. */
  say(line: string): void
}

/** One row of the report. */
export interface Row {
  readonly name: string
  /** Name and value of each figure, as it is shown. */
  readonly figures: Readonly<Record<string, string>>
  /** The same for programs. */
  readonly data: Readonly<Record<string, unknown>>
  readonly faults: Faults
  readonly targets: readonly Target[]
}
/** What a figure should be. A missed one is said, not punished: the machine may be busy. */
export interface Target {
  readonly text: string
  readonly value: string
  readonly met: boolean
}

/** One table of the report. */
export interface Scenario {
  readonly title: string
  /** How it is measured, in a line or two. */
  readonly method: string
  run(driver: Driver, settings: Settings): Promise<readonly Row[]>
}

/** Throws away what the last run left, so that the next one does not pay for it. */
export function sweepMemory(): void {
  ;(globalThis as { gc?: () => void }).gc?.()
}

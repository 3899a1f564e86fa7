import type { ClientName } from './compare/client.ts'
import type { Driver } from './driver.ts'
import type { Faults } from './ledger.ts'

/** What the command line asked for. */
export interface Settings {
  readonly quick: boolean
  /** Runs of each measurement, after one that does not count. */
  readonly runs: number
  /** Clients that take part in comparisons. */
  readonly clients: readonly ClientName[]
  /** Comparisons with keys, whose order is kept; false: without any. */
  readonly keyed: boolean
  /** Where the processes of the clients leave their CPU profiles; undefined: none is made. */
  readonly profile: string | undefined
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
  /** Messages that the server still had for the group at the end, where that is asked. */
  readonly unsettled?: number
  /** What the row promises, where rows of different promises could stand side by side, and who keeps it how. */
  readonly promise?: string
  readonly how?: { readonly who: string; readonly what: string }
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

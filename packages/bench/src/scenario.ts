import type { Tier } from './compare/client.ts'
import type { Driver } from './driver.ts'
import type { Faults } from './ledger.ts'
import type { Spread } from './statistics.ts'

/** How much is measured: a first look of five minutes, what a change needs, or everything. */
export type Size = 'quick' | 'usual' | 'full'

/** What the command line asked for. */
export interface Settings {
  readonly size: Size
  /** Runs of each measurement, after one that does not count. */
  readonly runs: number
  /** Clients that take part in comparisons. */
  readonly clients: readonly string[]
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
  /** Messages that were asked to be sent, that the server confirmed, and that were handed over, repeats too. */
  readonly counts?: { readonly sent: number; readonly confirmed: number; readonly received: number }
  /** Something was killed: at least once allows repeats then, so only a loss or a wrong order is a fault. */
  readonly repeatsAllowed?: boolean
  /** Messages that the server still had for the group at the end, where that is asked. */
  readonly unsettled?: number
  /** What a confirmed message survives, where servers differ. */
  readonly tier?: Tier
  /** What the row promises, where rows of different promises could stand side by side, and who keeps it how. */
  readonly promise?: string
  readonly how?: { readonly who: string; readonly what: string }
  readonly mark?: Mark
  readonly targets: readonly Target[]
}
/** Where a row stands in the charts: one panel for each case, one place for each broker, one colour for each client. */
export interface Mark {
  readonly panel: string
  readonly broker: string
  readonly client: string
  readonly values: Readonly<Record<string, Spread>>
}
/** What a figure should be. A missed one is said, not punished: the machine may be busy. */
export interface Target {
  readonly text: string
  readonly value: string
  readonly met: boolean
}

/** One table of the report. */
export interface Table {
  readonly name: string
  readonly title: string
  readonly method: string
  readonly rows: readonly Row[]
  readonly charts: readonly Chart[]
}
/** One kind of picture of a table. */
export interface Chart {
  readonly title: string
  /** Names in `Mark.values`: one is drawn as bars, several as points on one line. */
  readonly values: readonly string[]
  readonly unit: string
  readonly better: 'more' | 'less'
  readonly scale: 'linear' | 'log'
}

/** One table about the embedded broker. */
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

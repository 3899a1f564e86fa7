// What the faults did: one line per clause that struck, and the same for programs.

import type { ClauseResult, SuiteReport } from './runner.ts'

/** One clause whose fault struck. */
export interface FaultEntry {
  readonly id: string
  readonly title: string
  readonly verdict: ClauseResult['verdict']
  readonly seed: number
  readonly seconds: number
  /** Times the fault struck something in flight. */
  readonly struck: number
  /** Runs whose fault hit nothing; they count for nothing. */
  readonly voids: number
  readonly stored: number
  readonly unknown: number
  readonly starts: number
  /** Stored messages that no group was given and nobody can read any more. A clause that finds one fails. */
  readonly lost: number
  readonly repeats: number
  /** What was in flight when the faults came, by name: the causes that repeats may have. */
  readonly inFlight: Readonly<Record<string, number>>
  readonly recoveryMs: number | undefined
}
/** The whole report of one run. */
export interface FaultReport {
  readonly broker: string
  readonly profile: string
  readonly seed: number
  readonly quick: boolean
  readonly clauses: readonly FaultEntry[]
}

const inFlightPrefix = 'in flight: '
const isFault = (result: ClauseResult): boolean => result.voids > 0 || (result.facts['struck'] ?? 0) > 0

function entryOf(result: ClauseResult): FaultEntry {
  const { id, title, verdict, seed, seconds, voids, counts, facts } = result
  const inFlight = Object.entries(facts).flatMap(([name, value]) =>
    name.startsWith(inFlightPrefix) ? [[name.slice(inFlightPrefix.length), value] as const] : [],
  )
  return {
    id,
    title,
    verdict,
    seed,
    seconds,
    struck: facts['struck'] ?? 0,
    voids,
    stored: counts.sent,
    unknown: counts.unknown,
    starts: counts.delivered,
    lost: facts['lost'] ?? 0,
    repeats: counts.repeats,
    inFlight: Object.fromEntries(inFlight),
    recoveryMs: facts['recovery ms'],
  }
}

/** For programs. */
export function faultReport(report: SuiteReport): FaultReport {
  const { broker, durability, seed, quick, results } = report
  return { broker, profile: durability, seed, quick, clauses: results.filter(isFault).map(entryOf) }
}

/** For people: a table, the totals below it. */
export function faultLines(report: SuiteReport): readonly string[] {
  const { clauses, broker } = faultReport(report)
  if (clauses.length === 0) return []
  const sum = (pick: (entry: FaultEntry) => number): number => clauses.reduce((total, entry) => total + pick(entry), 0)
  const recoveries = clauses.flatMap(({ recoveryMs }) => recoveryMs ?? []).sort((a, b) => a - b)
  const at = (share: number): string =>
    recoveries.length === 0
      ? '–'
      : `${Math.round(recoveries[Math.min(recoveries.length - 1, Math.floor(share * recoveries.length))] as number)} ms`
  const row = (cells: readonly (string | number)[]): string =>
    cells.map((cell, index) => (index < 2 ? String(cell).padEnd(index === 0 ? 8 : 10) : String(cell).padStart(9))).join(' ')
  return [
    `faults on ${broker}`,
    `${row(['clause', 'verdict', 'struck', 'void', 'stored', 'unknown', 'starts', 'lost', 'repeats', 'recovery'])}  in flight`,
    ...clauses.map((entry) => {
      const { id, verdict, struck, voids, stored, unknown, starts, lost, repeats, recoveryMs, inFlight } = entry
      const recovery = recoveryMs === undefined ? '–' : `${Math.round(recoveryMs)} ms`
      const causes = Object.entries(inFlight).map(([name, n]) => `${n} ${name}`)
      return `${row([id, verdict, struck, voids, stored, unknown, starts, lost, repeats, recovery])}  ${causes.join(', ')}`
    }),
    `${clauses.length} clauses with faults, ${sum(({ struck }) => struck)} strikes, ${sum(({ voids }) => voids)} void runs, ` +
      `${sum(({ stored }) => stored)} messages stored, ${sum(({ lost }) => lost)} lost, ${sum(({ unknown }) => unknown)} unknown, ` +
      `${sum(({ repeats }) => repeats)} repeats; recovery p50 ${at(0.5)}, largest ${at(1)}`,
  ]
}

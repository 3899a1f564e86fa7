// Runs the suite: picks clauses, runs them here or in worker processes, adds up.

import type { Capabilities } from '@posthorn/core/adapter'
import { fail } from './assert.ts'
import type { Clause, Need } from './clause.ts'
import { allClauses } from './clauses/index.ts'
import { realClock } from './clock.ts'
import type { Harness } from './harness.ts'
import type { Counts } from './run-clause.ts'
import { add, type Finding, noCounts, openSession } from './session.ts'
import { openShards } from './shards.ts'

/** How a clause ended. Only `pass` proves anything. */
export type Verdict = 'pass' | 'fail' | 'skip' | 'vacuous' | 'not proven'

/** What came of one clause. */
export interface ClauseResult {
  readonly id: string
  readonly title: string
  readonly verdict: Verdict
  /** Which branch the manifest asked for. */
  readonly branch: 'run' | 'other' | undefined
  readonly seconds: number
  /** The seed that failed, else the last one that ran. */
  readonly seed: number
  /** What to run again: of a standing check the clause in which it was found as well. */
  readonly repeat: string
  /** Why it failed, was skipped or is not proven. */
  readonly reason: string | undefined
  readonly history: readonly string[]
  readonly counts: Counts
  /** Runs whose fault hit nothing. They count for nothing. */
  readonly voids: number
  /** What a clause measured beside its verdict: recovery times in milliseconds, repeats by cause. */
  readonly facts: Readonly<Record<string, number>>
}

/** What to run, and on what. */
export interface SuiteOptions {
  readonly harness: Harness
  /** URL of the harness's module. On a real broker members are processes of their own and load it from here. */
  readonly harnessAt?: string | undefined
  /** Worker processes, each with a broker of its own from the harness; needs `harnessAt`. @default none: everything runs here */
  readonly shards?: number | undefined
  /** For the report: which manifest runs here. */
  readonly profile?: string | undefined
  /** Ids, with `*` at the end of a group: `['ACK-3', 'ERR-*']`. @default all */
  readonly only?: readonly string[] | undefined
  /** @default 1 */
  readonly seed?: number | undefined
  /** How many seeds each clause runs with. @default 1 */
  readonly seeds?: number | undefined
  /** Divides message counts by ten; only a full run may be quoted. @default false */
  readonly quick?: boolean | undefined
  /** The extended tier as well: clauses that need `long`. @default false */
  readonly long?: boolean | undefined
  /** Stops at the first failure. @default false */
  readonly bail?: boolean | undefined
  /** Stretches upper bounds on slow machines. @default 1 */
  readonly slackFactor?: number | undefined
  /** What clauses may need here. @default what the harness says, see `Harness.offers` */
  readonly offers?: readonly Need[] | undefined
  /** Called for each clause as it ends, in the order of the page. */
  readonly onResult?: ((result: ClauseResult) => void) | undefined
  /** Called for each clause as it ends, in whatever order, and before standing checks have the last word: for a sign of life. */
  readonly onEnd?: ((result: ClauseResult, ended: number, of: number) => void) | undefined
  /** Not with `shards`. @default the suite's own */
  readonly clauses?: readonly Clause[] | undefined
}

/** The whole run: every clause, the totals, and what the server claimed. */
export interface SuiteReport {
  readonly broker: string
  readonly profile: string
  readonly durability: string
  readonly capabilities: Capabilities
  readonly seed: number
  readonly seeds: number
  readonly quick: boolean
  readonly seconds: number
  readonly results: readonly ClauseResult[]
  readonly totals: Readonly<Record<Verdict, number>>
  readonly counts: Counts
}

interface Found {
  readonly texts: Set<string>
  readonly seed: number
  readonly history: readonly string[]
  /** The first clause in which it was found. */
  readonly during: string
}

/** Does `only` name this clause? Ids are exact; `ERR-*` is a group. */
export function isChosen(id: string, only: readonly string[] | undefined): boolean {
  return only === undefined || only.some((pattern) => (pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern))
}

/** Runs the clauses and resolves to the whole report. Never rejects for what a clause found. */
export async function runSuite(options: SuiteOptions): Promise<SuiteReport> {
  const {
    harness,
    harnessAt,
    only,
    seed = 1,
    seeds = 1,
    quick = false,
    long = false,
    slackFactor = 1,
    offers,
    onResult,
    bail = false,
  } = options
  const clauses = options.clauses ?? allClauses
  const named = [...(only ?? []), ...Object.keys(harness.unmet ?? {})]
  const unknown = named.filter((pattern) => !clauses.some((clause) => isChosen(clause.id, [pattern])))
  if (unknown.length > 0) fail(`no clause is called ${unknown.join(', ')}`)
  const started = realClock.monotonic()
  const plain = { harnessAt, seed, seeds, quick, long, slackFactor, offers }
  const shards = options.shards ?? 0
  const runner =
    shards > 0 && harnessAt !== undefined
      ? await openShards({ ...plain, harnessAt, shards })
      : await openSession({ ...plain, harness, clauses })
  const standing = new Map<string, Found>()
  const results = new Map<string, ClauseResult>()
  const chosen = clauses.filter(({ id }) => isChosen(id, only))
  let told = 0

  function found({ clause, text, ...where }: Finding): void {
    const entry = standing.get(clause) ?? { texts: new Set<string>(), ...where }
    entry.texts.add(text)
    standing.set(clause, entry)
  }
  /** Tells what is ready, in the order of the page. What a standing check finds later may still change its own verdict: it is told at the end. */
  function tell(all = false): void {
    for (; told < chosen.length; told++) {
      const clause = chosen[told] as Clause
      const result = results.get(clause.id)
      if (result === undefined && !all) return
      if (result !== undefined && clause.standing !== true) onResult?.(result)
    }
  }
  async function runOne(clause: Clause): Promise<void> {
    const reason = only === undefined ? harness.unmet?.[clause.id] : undefined
    const { result, findings } = reason === undefined ? await runner.run(clause) : { result: notProven(clause, seed, reason), findings: [] }
    for (const finding of findings) found(finding)
    results.set(clause.id, result)
    options.onEnd?.(result, results.size, chosen.length)
    tell()
  }
  const failed = (): boolean => standing.size > 0 || [...results.values()].some(({ verdict }) => verdict === 'fail')

  try {
    const queue = runner.order(chosen)
    await Promise.all(
      Array.from({ length: runner.lanes }, async () => {
        for (let clause = queue.shift(); clause !== undefined && !(bail && failed()); clause = queue.shift()) await runOne(clause)
      }),
    )
  } finally {
    await runner.close()
  }
  tell(true)
  for (const clause of clauses) {
    if (clause.standing !== true) continue
    const entry = standing.get(clause.id)
    const own = results.get(clause.id)
    if (entry === undefined && own === undefined) continue
    const result = standingResult(clause, own, entry, results.size)
    results.set(clause.id, result)
    onResult?.(result)
  }

  const list = clauses.flatMap((clause) => results.get(clause.id) ?? [])
  const totals: Record<Verdict, number> = { pass: 0, fail: 0, skip: 0, vacuous: 0, 'not proven': 0 }
  for (const result of list) totals[result.verdict]++
  return {
    broker: runner.title,
    profile: options.profile ?? 'default',
    durability: runner.durability,
    capabilities: runner.capabilities,
    seed,
    seeds,
    quick,
    seconds: (realClock.monotonic() - started) / 1000,
    results: list,
    totals,
    counts: list.reduce((sum, result) => add(sum, result.counts), noCounts),
  }
}

const notProven = (clause: Clause, seed: number, reason: string): ClauseResult => ({
  ...notRun(clause, seed),
  verdict: 'not proven',
  branch: undefined,
  reason,
})

function notRun({ id, title }: Clause, seed: number): ClauseResult {
  return {
    id,
    title,
    repeat: id,
    verdict: 'pass',
    branch: 'run',
    seconds: 0,
    seed,
    reason: undefined,
    history: [],
    counts: noCounts,
    voids: 0,
    facts: {},
  }
}

function standingResult(clause: Clause, own: ClauseResult | undefined, found: Found | undefined, clausesRun: number): ClauseResult {
  const base: ClauseResult = own ?? notRun(clause, 1)
  if (found === undefined)
    return clausesRun > 1 || clause.run !== undefined ? base : { ...base, verdict: 'not proven', reason: 'no clause ran under it' }
  const texts = [...found.texts]
  const more = texts.length > 10 ? [`and ${texts.length - 10} more`] : []
  const reason = [...(base.verdict === 'fail' && base.reason !== undefined ? [base.reason] : []), ...texts.slice(0, 10), ...more].join('\n')
  const repeat = found.during === clause.id ? clause.id : `${found.during},${clause.id}`
  return { ...base, verdict: 'fail', repeat, seed: found.seed, history: found.history, reason }
}

// Runs the suite: picks clauses, decides their branch by the manifest, repeats vacuous runs, adds up.

import type { Capabilities } from '@posthorn/core/adapter'
import { fail } from './assert.ts'
import type { Branch, Clause, Need } from './clause.ts'
import { allClauses } from './clauses/index.ts'
import { realClock } from './clock.ts'
import type { BrokerProcess, Harness } from './harness.ts'
import { type Counts, type Run, runClause } from './run-clause.ts'
import { realWorld, simulatedWorld } from './world.ts'

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
}

/** What to run, and on what. */
export interface SuiteOptions {
  readonly harness: Harness
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
  /** Stops at the first failure. @default false */
  readonly bail?: boolean | undefined
  /** Stretches upper bounds on slow machines. @default 1 */
  readonly slackFactor?: number | undefined
  /** What the harness offers. @default ['memory'] */
  readonly offers?: readonly Need[] | undefined
  /** Called for each clause as it ends, in the order of the page. */
  readonly onResult?: ((result: ClauseResult) => void) | undefined
  /** @default the suite's own */
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

const lacking: Readonly<Record<Need, string>> = {
  memory: '',
  process: 'needs members or brokers in processes of their own',
  network: 'needs a link that carries bytes',
  language: 'needs clients in other languages',
  long: 'extended tier: too long for every change',
}
interface Found {
  readonly texts: Set<string>
  readonly seed: number
  readonly history: readonly string[]
  /** The first clause in which it was found. */
  readonly during: string
}
const noCounts: Counts = { sent: 0, unknown: 0, delivered: 0, repeats: 0 }

/** Does `only` name this clause? Ids are exact; `ERR-*` is a group. */
export function isChosen(id: string, only: readonly string[] | undefined): boolean {
  return only === undefined || only.some((pattern) => (pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern))
}

/** Runs the clauses one after the other and resolves to the whole report. Never rejects for what a clause found. */
export async function runSuite(options: SuiteOptions): Promise<SuiteReport> {
  const { harness, only, seed = 1, seeds = 1, quick = false, slackFactor = 1, offers = ['memory'], onResult } = options
  const clauses = options.clauses ?? allClauses
  const unknown = (only ?? []).filter((pattern) => !clauses.some((clause) => isChosen(clause.id, [pattern])))
  if (unknown.length > 0) fail(`no clause is called ${unknown.join(', ')}`)
  const { capabilities, first } = await probe(harness)
  const shared = first.simulation === undefined ? first : undefined
  const started = realClock.monotonic()
  const standing = new Map<string, Found>()
  const results = new Map<string, ClauseResult>()

  for (const clause of clauses) {
    if (!isChosen(clause.id, only)) continue
    const result = await runSeeds(clause)
    results.set(clause.id, result)
    // What a standing check finds later may still change its own verdict, so it is told at the end.
    if (clause.standing !== true) onResult?.(result)
    if (options.bail === true && (result.verdict === 'fail' || standing.size > 0)) break
  }
  for (const clause of clauses) {
    if (clause.standing !== true) continue
    const found = standing.get(clause.id)
    const own = results.get(clause.id)
    if (found === undefined && own === undefined) continue
    const result = standingResult(clause, own, found, results.size)
    results.set(clause.id, result)
    onResult?.(result)
  }

  async function runSeeds(clause: Clause): Promise<ClauseResult> {
    const branch: Branch = offers.includes(clause.needs)
      ? (clause.gate?.(capabilities, first.profile) ?? 'run')
      : { notProven: lacking[clause.needs] }
    const base = { id: clause.id, title: clause.title, repeat: clause.id, seed, seconds: 0, history: [], counts: noCounts }
    if (typeof branch === 'object') return { ...base, verdict: 'not proven', branch: undefined, reason: branch.notProven }
    const work = branch === 'run' ? clause.run : clause.other
    if (work === undefined && clause.standing !== true) return { ...base, verdict: 'not proven', branch, reason: 'no code yet' }
    let total: ClauseResult = { ...base, verdict: 'pass', branch, reason: undefined }
    if (work === undefined) return total
    for (let each = seed; each < seed + seeds; each++) {
      const run = await struckRun(clause, branch, each)
      total = {
        ...total,
        verdict: run.verdict,
        reason: run.reason,
        seed: each,
        history: run.history,
        seconds: total.seconds + run.seconds,
        counts: add(total.counts, run.counts),
      }
      if (run.verdict !== 'pass') return total
    }
    return total
  }

  /** Rule 10: a run whose fault hit nothing is repeated with the next seed, at most twice. */
  async function struckRun(clause: Clause, branch: 'run' | 'other', from: number): Promise<Run> {
    let run: Run | undefined
    for (let offset = 0; offset < 3; offset++) {
      run = attribute(
        clause,
        await runClause(clause, branch, { harness, capabilities, seed: from + offset * 1_000_003, quick, slackFactor, shared }),
        from,
      )
      if (run.verdict !== 'vacuous') return run
    }
    const last = run as Run
    return { ...last, verdict: 'fail', reason: `vacuous three times: ${last.reason}` }
  }

  /** What a standing check found goes to its own clause; anything else fails the clause in which it was found. */
  function attribute(clause: Clause, run: Run, ranWith: number): Run {
    const own: string[] = []
    for (const violation of run.violations) {
      const isStanding = clauses.some((other) => other.standing === true && other.id === violation.clause)
      if (!isStanding) own.push(`(${violation.clause}) ${violation.text}`)
      else {
        const found = standing.get(violation.clause) ?? { texts: new Set<string>(), seed: ranWith, history: run.history, during: clause.id }
        found.texts.add(`in ${clause.id}: ${violation.text}`)
        standing.set(violation.clause, found)
      }
    }
    if (own.length === 0 || run.verdict !== 'pass') return run
    return { ...run, verdict: 'fail', reason: own.slice(0, 5).join('\n') }
  }

  const list = clauses.flatMap((clause) => results.get(clause.id) ?? [])
  const totals: Record<Verdict, number> = { pass: 0, fail: 0, skip: 0, vacuous: 0, 'not proven': 0 }
  for (const result of list) totals[result.verdict]++
  return {
    broker: first.title,
    profile: options.profile ?? 'default',
    durability: first.profile,
    capabilities,
    seed,
    seeds,
    quick,
    seconds: (realClock.monotonic() - started) / 1000,
    results: list,
    totals,
    counts: list.reduce((sum, result) => add(sum, result.counts), noCounts),
  }
}

function standingResult(clause: Clause, own: ClauseResult | undefined, found: Found | undefined, clausesRun: number): ClauseResult {
  const base: ClauseResult = own ?? {
    id: clause.id,
    title: clause.title,
    repeat: clause.id,
    verdict: 'pass',
    branch: 'run',
    seconds: 0,
    seed: 1,
    reason: undefined,
    history: [],
    counts: noCounts,
  }
  if (found === undefined)
    return clausesRun > 1 || clause.run !== undefined ? base : { ...base, verdict: 'not proven', reason: 'no clause ran under it' }
  const texts = [...found.texts]
  const more = texts.length > 10 ? [`and ${texts.length - 10} more`] : []
  const reason = [...(base.verdict === 'fail' && base.reason !== undefined ? [base.reason] : []), ...texts.slice(0, 10), ...more].join('\n')
  const repeat = found.during === clause.id ? clause.id : `${found.during},${clause.id}`
  return { ...base, verdict: 'fail', repeat, seed: found.seed, history: found.history, reason }
}

function add(a: Counts, b: Counts): Counts {
  return { sent: a.sent + b.sent, unknown: a.unknown + b.unknown, delivered: a.delivered + b.delivered, repeats: a.repeats + b.repeats }
}

/** Connects once, to learn what the server really gives. */
async function probe(harness: Harness): Promise<{ capabilities: Capabilities; first: BrokerProcess }> {
  const first = await harness.broker(0)
  const world = first.simulation === undefined ? realWorld() : simulatedWorld(first.simulation.clock, () => 'the first connection')
  try {
    await first.start()
    const context = { clock: world.clock, random: () => 0.5, instance: 'probe', name: 'suite', report() {}, event() {} }
    const open = harness.adapter(first.address).open(context, new AbortController().signal)
    const session = await Promise.race([open, world.failed])
    const { capabilities } = session
    await Promise.race([session.close(AbortSignal.abort()), world.failed])
    return { capabilities, first }
  } finally {
    world.stop()
  }
}

// One broker, and what runs clauses on it: decides their branch by the manifest, repeats vacuous runs, keeps what standing checks
// found. A suite has one of these, or one in each of its worker processes.

import type { Capabilities } from '@posthorn/core/adapter'
import type { Branch, Clause, Need } from './clause.ts'
import type { BrokerProcess, Durability, Harness } from './harness.ts'
import { type FaultProxy, startProxy } from './proxy/index.ts'
import { createPool } from './remote-member.ts'
import { type Counts, type Run, runClause } from './run-clause.ts'
import type { ClauseResult } from './runner.ts'
import { realWorld, simulatedWorld } from './world.ts'

const lacking: Readonly<Record<Need, string>> = {
  memory: '',
  process: 'needs members or brokers in processes of their own',
  network: 'needs a link that carries bytes',
  language: 'needs clients in other languages',
  long: 'extended tier: too long for every change',
}
export const noCounts: Counts = { sent: 0, unknown: 0, delivered: 0, repeats: 0 }

export interface SessionOptions {
  readonly harness: Harness
  /** Where members in other processes load the harness from; without it none can be started on a real broker. */
  readonly harnessAt: string | undefined
  readonly clauses: readonly Clause[]
  readonly seed: number
  readonly seeds: number
  readonly quick: boolean
  /** The extended tier as well. */
  readonly long: boolean
  readonly slackFactor: number
  readonly offers: readonly Need[] | undefined
  /** Told the id of each process that is started. */
  readonly started?: ((pid: number) => void) | undefined
}
/** Something that a standing check found: reported under its own id. */
export interface Finding {
  readonly clause: string
  readonly text: string
  readonly seed: number
  readonly history: readonly string[]
  /** The clause in which it was found. */
  readonly during: string
}
export interface Session {
  readonly title: string
  readonly durability: Durability
  readonly capabilities: Capabilities
  /** Clauses that run at the same time. */
  readonly lanes: number
  /** In which order to begin them. */
  order(clauses: readonly Clause[]): Clause[]
  run(clause: Clause): Promise<{ readonly result: ClauseResult; readonly findings: readonly Finding[] }>
  close(): Promise<void>
}

export async function openSession(options: SessionOptions): Promise<Session> {
  const { harness, harnessAt, clauses, seed, seeds, quick, slackFactor } = options
  const { capabilities, first } = await probe(harness)
  const shared = first.simulation === undefined ? first : undefined
  const usual: readonly Need[] = options.offers ?? harness.offers ?? offered(first, harnessAt)
  const offers: readonly Need[] = options.long ? [...usual, 'long'] : usual
  const pool =
    shared === undefined || harnessAt === undefined || !offers.includes('process') ? undefined : createPool(harnessAt, 1, options.started)
  let proxy: Promise<FaultProxy> | undefined
  const ownProxy =
    shared === undefined || shared.wire === undefined
      ? undefined
      : (): Promise<FaultProxy> => {
          proxy ??= startProxy({ target: shared.address, wire: shared.wire })
          return proxy
        }

  async function run(clause: Clause): ReturnType<Session['run']> {
    const findings: Finding[] = []
    const branch: Branch = offers.includes(clause.needs)
      ? (clause.gate?.(capabilities, first.profile) ?? 'run')
      : { notProven: lacking[clause.needs] }
    const base = {
      id: clause.id,
      title: clause.title,
      repeat: clause.id,
      seed,
      seconds: 0,
      history: [],
      counts: noCounts,
      voids: 0,
      facts: {},
    }
    if (typeof branch === 'object')
      return { result: { ...base, verdict: 'not proven', branch: undefined, reason: branch.notProven }, findings }
    const work = branch === 'run' ? clause.run : clause.other
    if (work === undefined && clause.standing !== true)
      return { result: { ...base, verdict: 'not proven', branch, reason: 'no code yet' }, findings }
    let total: ClauseResult = { ...base, verdict: 'pass', branch, reason: undefined }
    if (work === undefined) return { result: total, findings }
    for (let each = seed; each < seed + seeds; each++) {
      const { last, voids } = await struckRun(clause, branch, each, findings)
      total = {
        ...total,
        verdict: last.verdict,
        reason: last.reason,
        seed: each,
        history: last.history,
        seconds: total.seconds + last.seconds,
        counts: add(total.counts, last.counts),
        voids: total.voids + voids,
        facts: { ...total.facts, ...last.facts },
      }
      if (last.verdict !== 'pass') break
    }
    return { result: total, findings }
  }

  /** Rule 10: a run whose fault hit nothing is repeated with the next seed, at most twice. */
  async function struckRun(
    clause: Clause,
    branch: 'run' | 'other',
    from: number,
    findings: Finding[],
  ): Promise<{ last: Run; voids: number }> {
    let last: Run | undefined
    for (let voids = 0; voids < 3; voids++) {
      const ran = await runClause(clause, branch, {
        harness,
        capabilities,
        seed: from + voids * 1_000_003,
        quick,
        slackFactor,
        shared,
        proxy: ownProxy,
        pool,
      })
      last = attribute(clause, ran, from, findings)
      // What a failed clause left behind at the proxy is nobody else's business.
      if (last.verdict === 'fail') await endProxy()
      if (last.verdict !== 'vacuous') return { last, voids }
    }
    const vacuous = last as Run
    return { last: { ...vacuous, verdict: 'fail', reason: `vacuous three times: ${vacuous.reason}` }, voids: 3 }
  }

  /** What a standing check found goes to its own clause; anything else fails the clause in which it was found. */
  function attribute(clause: Clause, run: Run, ranWith: number, findings: Finding[]): Run {
    const own: string[] = []
    for (const { clause: id, text } of run.violations) {
      const isStanding = clauses.some((other) => other.standing === true && other.id === id)
      if (!isStanding) own.push(`(${id}) ${text}`)
      else findings.push({ clause: id, text: `in ${clause.id}: ${text}`, seed: ranWith, history: run.history, during: clause.id })
    }
    if (own.length === 0 || run.verdict !== 'pass') return run
    return { ...run, verdict: 'fail', reason: own.slice(0, 5).join('\n') }
  }

  async function endProxy(): Promise<void> {
    const old = proxy
    proxy = undefined
    await (await old?.catch(() => undefined))?.close()
  }

  return {
    title: first.title,
    durability: first.profile,
    capabilities,
    lanes: 1,
    order: (given) => [...given],
    run,
    async close() {
      pool?.close()
      await endProxy()
      await shared?.stop?.()
    },
  }
}

function offered(first: BrokerProcess, harnessAt: string | undefined): readonly Need[] {
  if (first.simulation !== undefined) return ['memory']
  return ['memory', ...(harnessAt === undefined ? [] : (['process'] as const)), ...(first.wire === undefined ? [] : (['network'] as const))]
}

export function add(a: Counts, b: Counts): Counts {
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

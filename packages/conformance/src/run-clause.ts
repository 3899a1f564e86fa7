// Runs one branch of one clause with one seed, and says what came of it.

import type { Capabilities } from '@posthorn/core/adapter'
import { ClauseFailure, shown } from './assert.ts'
import { listen } from './channels.ts'
import type { Clause } from './clause.ts'
import { realClock, settled } from './clock.ts'
import { createTrial, type MadeTrial } from './create-trial.ts'
import { type Auditor, type BrokerProcess, type Harness, type Isolation, unsupportedReason } from './harness.ts'
import { createJournal, type Journal } from './journal.ts'
import { createLinks, directLinks, type RealLinks } from './links.ts'
import type { FaultProxy } from './proxy/index.ts'
import { seeded, seedFor } from './random.ts'
import type { MemberPool } from './remote-member.ts'
import { checkStanding } from './standing.ts'
import type { SeenEvent } from './trial.ts'
import { realWorld, simulatedWorld, type World } from './world.ts'

export interface Run {
  readonly verdict: 'pass' | 'fail' | 'vacuous' | 'not proven'
  readonly reason: string | undefined
  /** What happened to the messages that the failure names. */
  readonly history: readonly string[]
  readonly violations: Journal['violations']
  readonly seconds: number
  readonly counts: Counts
  /** What the clause measured. */
  readonly facts: Readonly<Record<string, number>>
}
export interface Counts {
  readonly sent: number
  readonly unknown: number
  readonly delivered: number
  readonly repeats: number
}
export interface RunOptions {
  readonly harness: Harness
  readonly capabilities: Capabilities
  readonly seed: number
  readonly quick: boolean
  readonly slackFactor: number
  /** One real broker for all clauses; undefined: each clause gets a simulated one. */
  readonly shared: BrokerProcess | undefined
  /** What stands between a real broker and its clients; missing on a simulated one. */
  readonly proxy: (() => Promise<FaultProxy>) | undefined
  readonly pool: MemberPool | undefined
}
/**
 * Longest real time of a clause, in milliseconds. On a real broker it only ends what hangs: every wait inside a clause has its own
 * deadline, and several clauses share a machine.
 */
export const boundMs = { simulated: 20_000, real: 240_000 } as const

export async function runClause(clause: Clause, branch: 'run' | 'other', options: RunOptions): Promise<Run> {
  const started = realClock.monotonic()
  const { harness, seed } = options
  const own = seedFor(seed, clause.id)
  const server = options.shared ?? (await harness.broker(own))
  const pending = new Set<string>()
  const world: World =
    server.simulation === undefined ? realWorld() : simulatedWorld(server.simulation.clock, () => [...pending].slice(0, 5).join(', '))
  const journal = createJournal(() => world.clock.monotonic())
  const events: SeenEvent[] = []
  const written: string[] = []
  const problems: string[] = []
  let made: MadeTrial | undefined
  let links: RealLinks | undefined
  let auditor: Auditor | undefined
  let isolation: Isolation | undefined
  let failure: unknown
  let failed = false

  const stopListening = listen((name, event) => {
    if (events.length < 500_000) events.push({ name, at: world.clock.monotonic(), event })
  })
  let over = false
  const release = catchStrays(journal, written, problems, (text) => over || (made?.expected ?? []).some((part) => text.includes(part)))
  let cancelBound: () => void = () => {}
  const bound = new Promise<never>((_, reject) => {
    const within =
      server.simulation === undefined
        ? Math.max(clause.withinMs ?? 0, boundMs.real) * options.slackFactor
        : (clause.withinMs ?? boundMs.simulated * options.slackFactor)
    cancelBound = realClock.timer(within, () =>
      reject(new ClauseFailure('fail', `no end within ${within / 1000} s of real time; open calls: ${[...pending].join(', ') || 'none'}`)),
    )
  })
  bound.catch(() => {})
  const guarded = <T>(work: Promise<T>): Promise<T> => Promise.race([work, world.failed, bound])

  try {
    await server.start()
    isolation = await harness.isolate(clause.id)
    const proxy = await options.proxy?.()
    links = server.simulation !== undefined ? undefined : proxy === undefined ? directLinks(server.address) : createLinks(proxy)
    auditor = await harness.auditor(server.address)
    made = createTrial({
      clause: clause.id,
      seed,
      random: seeded(own),
      harness,
      server,
      auditor,
      isolation,
      capabilities: options.capabilities,
      world,
      journal,
      quick: options.quick,
      slackFactor: options.slackFactor,
      events,
      written,
      pending,
      links,
      pool: options.pool,
    })
    const work = branch === 'run' ? clause.run : clause.other
    if (work === undefined) throw new ClauseFailure('not proven', 'this branch has no code yet')
    await guarded(work(made.trial))
    made.openGates()
    await guarded(Promise.all([made.connections.closeAll(), made.remote?.closeAll()]))
    await guarded(world.sleep(server.simulation === undefined ? 100 : 1000))
    checkStanding(made, journal, events, written)
    await guarded(auditor.close())
    await guarded(isolation.dispose())
  } catch (error) {
    failed = true
    failure = error
    // What falls over while a failed clause is torn down says nothing about the library.
    over = true
  } finally {
    cancelBound()
    // Whatever a failed clause left open may do nothing more.
    for (const peer of made?.connections.peers ?? []) if (peer.state !== 'closed' && peer.state !== 'dead') kill(peer)
    made?.remote?.killAll()
    if (failed && server.simulation === undefined) await Promise.all([ended(auditor?.close()), ended(isolation?.dispose())])
    links?.retire()
    world.stop()
    for (let turn = 0; turn < 3; turn++) await settled()
    release()
    stopListening()
  }
  for (const text of problems) journal.violate('LIFE-15', text)

  const known = failure instanceof ClauseFailure ? failure : undefined
  const reason = unsupportedReason(failure)
  const verdict = !failed ? 'pass' : reason !== undefined ? 'not proven' : (known?.kind ?? 'fail')
  const ids = [...(known?.ids ?? []), ...journal.violations.flatMap((violation) => violation.ids)]
  return {
    verdict,
    reason: !failed ? undefined : (reason ?? known?.message ?? `it threw ${describeError(failure)}`),
    history: verdict === 'fail' || journal.violations.length > 0 ? journal.history(ids) : [],
    violations: journal.violations,
    seconds: (realClock.monotonic() - started) / 1000,
    counts: countsOf(made),
    facts: made?.facts ?? {},
  }
}

function kill(peer: { kill(): void }): void {
  try {
    peer.kill()
  } catch {
    // it never connected, so there is nothing to end
  }
}

/** Teardown of a failed clause: whatever it says, and not for long. */
async function ended(closing: Promise<void> | undefined): Promise<void> {
  if (closing === undefined) return
  let cancel = (): void => {}
  const enough = new Promise<void>((resolve) => {
    cancel = realClock.timer(10_000, resolve)
  })
  await Promise.race([closing.catch(() => {}), enough])
  cancel()
}

function describeError(error: unknown): string {
  return error instanceof Error ? `${error.stack ?? error.message}` : shown(error)
}

function countsOf(made: MadeTrial | undefined): Counts {
  const sends = made?.sends ?? []
  const recorders = made?.recorders ?? []
  return {
    sent: sends.filter((send) => send.outcome === 'stored').length,
    unknown: sends.filter((send) => send.outcome === 'unknown').length,
    delivered: recorders.reduce((sum, recorder) => sum + recorder.starts.length, 0),
    repeats: recorders.reduce((sum, recorder) => sum + recorder.repeats, 0),
  }
}

/** Keeps what nobody handles from ending the process, and what is written to stderr from the report. */
function catchStrays(journal: Journal, written: string[], problems: string[], expected: (text: string) => boolean): () => void {
  const stray = (what: string) => (error: unknown) => {
    const text = describeError(error)
    if (error instanceof ClauseFailure || expected(text)) return
    journal.note(`${what}: ${text.split('\n')[0]}`)
    problems.push(`${what}: ${text}`)
  }
  const rejection = stray('unhandled rejection')
  const exception = stray('uncaught exception')
  const warning = (found: Error): void => {
    if (found.name === 'MaxListenersExceededWarning') problems.push(`warning: ${found.stack ?? found.message}`)
  }
  const write = process.stderr.write
  process.on('unhandledRejection', rejection)
  process.on('uncaughtException', exception)
  process.on('warning', warning)
  process.stderr.write = ((chunk: unknown): boolean => {
    if (written.length < 10_000) written.push(String(chunk))
    return true
  }) as typeof process.stderr.write
  return () => {
    process.stderr.write = write
    process.off('unhandledRejection', rejection)
    process.off('uncaughtException', exception)
    process.off('warning', warning)
  }
}

// One run of the simulation, drawn from its seed: the same seed always gives the same plan.

import type { MemoryProfile } from '@posthorn/core/testing'
import { seeded } from '../random.ts'

/** `quiet`: nothing goes wrong. `polite`: members come and go by closing. `rough`: every fault. */
export type Mode = 'quiet' | 'polite' | 'rough'
export type FaultKind =
  | 'cut'
  | 'silence'
  | 'withhold'
  | 'delay'
  | 'freeze'
  | 'kill'
  | 'restart'
  | 'join'
  | 'server-kill'
  | 'server-stop'
  | 'expel'

export interface PlannedFault {
  readonly atMs: number
  readonly kind: FaultKind
  readonly forMs: number
  /** Which member or producer it hits, by a number to be taken modulo those that are there. */
  readonly whom: number
  /** Hits a producer instead of a member. */
  readonly producer: boolean
}
export interface RunPlan {
  readonly seed: number
  readonly mode: Mode
  readonly profile: MemoryProfile
  readonly keyed: boolean
  readonly partitions: number
  readonly keys: number
  readonly producers: number
  readonly messages: number
  readonly spreadMs: number
  /** What the server grants a hand-over before it forces it. */
  readonly handOverMs: number
  readonly concurrency: number
  readonly maxUnsettled: number
  readonly members: readonly { readonly group: string }[]
  readonly faults: readonly PlannedFault[]
  /** Shares of messages whose handler fails at first, always, is slow, or postpones. */
  readonly failing: number
  readonly poison: number
  readonly slow: number
  readonly postponing: number
}

const profiles: readonly MemoryProfile[] = ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt']
const rough: readonly FaultKind[] = [
  'cut',
  'silence',
  'withhold',
  'delay',
  'freeze',
  'kill',
  'restart',
  'join',
  'server-kill',
  'server-stop',
  'expel',
]

/** Faults come within this time, in virtual milliseconds; then everything is healed. */
export const faultsForMs = 20_000

export function planRun(seed: number): RunPlan {
  const random = seeded(seed)
  const whole = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
  const modes: readonly Mode[] = ['quiet', 'polite', 'rough', 'rough']
  const mode = modes[seed % 4] as Mode
  const kinds = mode === 'polite' ? (['restart', 'join'] as const) : rough
  const count = mode === 'quiet' ? 0 : mode === 'polite' ? whole(2, 5) : whole(1, 6)
  const failing = mode === 'polite' ? 0 : random() * 0.2
  return {
    seed,
    mode,
    profile: profiles[seed % profiles.length] as MemoryProfile,
    keyed: random() < 0.7,
    partitions: whole(1, 4),
    keys: whole(1, 8),
    producers: whole(1, 2),
    messages: whole(10, 60),
    spreadMs: whole(0, 15_000),
    handOverMs: 8_000,
    concurrency: whole(1, 8),
    maxUnsettled: whole(4, 32),
    members: [{ group: 'one' }, { group: 'one' }, { group: 'two' }],
    faults: Array.from({ length: count }, () => ({
      atMs: whole(0, faultsForMs),
      kind: kinds[whole(0, kinds.length - 1)] as FaultKind,
      forMs: whole(100, 15_000),
      whom: whole(0, 99),
      producer: random() < 0.25,
    })).sort((a, b) => a.atMs - b.atMs),
    failing,
    poison: mode === 'polite' ? 0 : random() * 0.05,
    slow: mode === 'quiet' ? 0 : random() * 0.1,
    postponing: mode === 'polite' ? 0 : random() * 0.1,
  }
}

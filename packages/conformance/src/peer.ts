// One connection of a clause: its clock, its identity, its link, and whether its process still lives.

import type { SimulatedLink } from './harness.ts'
import type { RealLink } from './links.ts'
import type { FaultPoint } from './member.ts'
import type { PeerClock } from './peer-clock.ts'

export interface PeerCalls {
  declare: number
  publish: number
  published: number
  settle: number
  settled: number
  read: number
  handedOut: number
  subscribe: number
  release: number
  openPublishes: number
  openSettles: number
  mostPublishes: number
  lastCallAt: number
  assignments: { readonly topic: string; readonly role: string; readonly partition: number | null; readonly since: number }[]
}

export interface Peer {
  readonly name: string
  readonly clock: PeerClock
  readonly random: () => number
  readonly calls: PeerCalls
  readonly dieAt: FaultPoint | undefined
  readonly before: ((link: SimulatedLink) => void) | undefined
  readonly said: { readonly at: number; readonly name: string; readonly detail: unknown }[]
  /** Its link at the proxy; undefined on a simulated broker, and in a process whose link others hold. */
  readonly link: RealLink | undefined
  /** What its adapter connects to. */
  readonly address: string
  /** Known once the adapter is asked to open. */
  instance: string | undefined
  state: 'open' | 'closing' | 'closed' | 'dead'
  /** It was frozen once: its deadlines are those of a stopped process. */
  wasFrozen: boolean
  /** Ends its process at once. */
  kill(): void
}

export function noCalls(): PeerCalls {
  return {
    declare: 0,
    publish: 0,
    published: 0,
    settle: 0,
    settled: 0,
    read: 0,
    handedOut: 0,
    subscribe: 0,
    release: 0,
    openPublishes: 0,
    openSettles: 0,
    mostPublishes: 0,
    lastCallAt: 0,
    assignments: [],
  }
}

import type { Capabilities, Content } from './contract.ts'

/** Steps of the delay lanes in milliseconds: 4^n seconds, from 1 s to 18 h. Lane n is partition n of its place. */
export const delaySteps: readonly number[] = Object.freeze(Array.from({ length: 9 }, (_, n) => 1000 * 4 ** n))
const none: readonly number[] = Object.freeze([])

/** The steps to declare: none where the server delays by itself. */
export function stepsFor(capabilities: Capabilities): readonly number[] {
  return capabilities.delay === 'none' ? delaySteps : none
}

/** The lane for a wait: the longest step that is not longer; a wait below the shortest step is held in memory by the reader of lane 0. */
export function laneFor(remainingMs: number, steps: readonly number[] = delaySteps): number {
  let lane = 0
  while (lane + 1 < steps.length && (steps[lane + 1] ?? Number.POSITIVE_INFINITY) <= remainingMs) lane++
  return lane
}

/** The transport headers of a copy that enters a lane now. */
export function laneTransport(transport: Content['transport'], due: number, now: number, step: number): Readonly<Record<string, string>> {
  // Whole milliseconds, rounded up: never early.
  return { ...transport, 'ph-due': String(Math.ceil(due)), 'ph-hop': String(Math.ceil(Math.min(due, now + step))) }
}

/** What the reader of a lane does with a copy. */
export type Hop =
  /** Hold it until this wall clock time, then ask again. */
  | { readonly kind: 'hold'; readonly until: number }
  /** Its hop is over and its wait is not: into this lane. */
  | { readonly kind: 'lane'; readonly lane: number; readonly due: number }
  /** Its time has come. */
  | { readonly kind: 'due' }

/**
 * What to do with a copy that a lane gave out, at this time. Never early: `due` only from its due time on. A rest below the
 * shortest step is waited for where it is. A copy without a readable due time is due.
 */
export function nextHop(transport: Content['transport'], now: number, steps: readonly number[] = delaySteps): Hop {
  const due = time(transport?.['ph-due'])
  if (due === undefined || due <= now) return { kind: 'due' }
  if (due - now < (steps[0] ?? 0)) return { kind: 'hold', until: due }
  const hop = time(transport?.['ph-hop'])
  if (hop !== undefined && hop > now) return { kind: 'hold', until: Math.min(hop, due) }
  return { kind: 'lane', lane: laneFor(due - now, steps), due }
}

/** The transport headers of a copy that leaves the lanes. */
export function withoutHop(transport: Content['transport']): Content['transport'] {
  if (transport === null) return null
  const rest: Record<string, string> = {}
  let some = false
  for (const name of Object.keys(transport)) {
    if (name === 'ph-due' || name === 'ph-hop') continue
    rest[name] = transport[name] ?? ''
    some = true
  }
  return some ? rest : null
}

function time(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  return Number(text)
}

import type { Measured, SaturationTask } from '../compare/task.ts'
import { type Faults, summed } from '../ledger.ts'
import { endToEnd } from './closed-loop.ts'
import { quantile } from './histogram.ts'
import { type Loop, openLoop } from './open-loop.ts'
import { type Stage, unsettledOn } from './stage.ts'

/** A rate is kept up with while nearly every message of the second half of a step arrives within this time of its schedule. */
export const lateMs = 200
const nearly = 0.95

/**
 * Looks for the highest rate at which an open loop does not fall behind: from the rate of a short closed loop in steps that
 * halve what is not known. Then measures latency at shares of it, because a saturated run has none to speak of.
 */
export async function saturate(stage: Stage, task: SaturationTask): Promise<Readonly<Record<string, Measured>>> {
  const closed = await endToEnd(stage, task.warmUp)
  const loop = await openLoop(stage)
  let least = 0
  let best: Loop['measured'] | undefined
  let most = Number.POSITIVE_INFINITY
  const faults: Faults[] = []
  async function attempt(rate: number): Promise<void> {
    const { measured, delays, refused } = await loop.run(rate, task.stepSeconds)
    faults.push(measured.faults)
    if (refused === undefined && keptUp(delays, measured.messages)) {
      least = rate
      best = measured
    } else most = rate
  }
  await attempt((task.warmUp / (closed.wallMs / 1000)) * 0.7)
  // The first steps may all have been too fast: then there are more.
  for (let step = 1; step < task.steps || (best === undefined && most > 1); step++) await attempt(nextRate(least, most))
  if (best === undefined) throw new Error('there is no rate that it keeps up with')
  // What went wrong in any step belongs to the row, too.
  const highest: Loop['measured'] = { ...best, faults: summed(faults) }
  const shares: [string, Loop['measured']][] = []
  for (const share of task.shares) {
    const { measured, refused } = await loop.run(least * share, task.stepSeconds)
    if (refused !== undefined) throw refused.error
    shares.push([`at ${Math.round(share * 100)} %`, measured])
  }
  await loop.close()
  const unsettled = await unsettledOn(stage)
  const all: [string, Loop['measured']][] = [['highest', highest], ...shares]
  return Object.fromEntries(all.map(([name, measured]) => [name, { ...measured, unsettled }]))
}

/** Did nearly all of the second half come in time? */
export function keptUp(delays: readonly number[], messages: number): boolean {
  if (delays.length < messages) return false
  const late = delays.slice(delays.length >> 1).sort((a, b) => a - b)
  return quantile(late, nearly) <= lateMs
}

/** Halfway between what it kept up with and what it did not; half as much again while nothing was too fast. */
export const nextRate = (least: number, most: number): number => {
  if (most === Number.POSITIVE_INFINITY) return least * 1.5
  return least === 0 ? most / 2 : (least + most) / 2
}

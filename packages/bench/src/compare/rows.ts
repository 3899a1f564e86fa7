import { fine, spread, whole } from '../format.ts'
import { summed } from '../ledger.ts'
import type { Row } from '../scenario.ts'
import { type Spread, spreadOf } from '../statistics.ts'
import type { ClientName } from './client.ts'
import { measuredOf, type Runs, type Server } from './contest.ts'
import type { Measured } from './task.ts'

/** Posthorn as fast as the tuned client, or hardly slower. */
export const goal = { ratio: 1, never: 0.85 } as const

/** How a row of Posthorn stands to the goal. */
export function verdict(ratio: number): string {
  if (ratio >= goal.ratio) return 'met'
  return ratio >= goal.never ? `within ${goal.never}` : `UNDER ${goal.never}`
}

/** Messages per second of one run. */
export const rateOf = ({ messages, wallMs }: Measured): number => messages / (wallMs / 1000)

/** Run by run, so that both had the same machine. */
export function ratios(values: readonly number[], base: readonly number[]): Spread | undefined {
  const pairs = values.flatMap((value, run) => (base[run] === undefined ? [] : [value / base[run]]))
  return pairs.length === 0 ? undefined : spreadOf(pairs)
}

/** The rows of one measurement of throughput: each client's rate, beside the tuned one's. */
export function throughputRows({ broker }: Server, runs: Runs, measurement: string, name: string): Row[] {
  const tuned = measuredOf(runs, 'tuned', measurement).map(rateOf)
  return [...runs.keys()].flatMap((client) => {
    const all = measuredOf(runs, client, measurement)
    if (all.length === 0) return []
    const rates = spreadOf(all.map(rateOf))
    const micros = spreadOf(all.map(({ processorMs, messages }) => (processorMs * 1000) / messages))
    const ratio = ratios(all.map(rateOf), tuned)
    return [
      {
        name: `${broker.name}, ${name}, ${client}`,
        figures: {
          'messages/s': spread(rates, whole),
          'of tuned': ratio === undefined ? '' : spread(ratio, fine),
          [`goal ${goal.ratio.toFixed(1)}`]: client === 'posthorn' && ratio !== undefined ? verdict(ratio.median) : '',
          'client cpu µs': spread(micros, fine),
        },
        data: { broker: broker.name, client, measurement, rate: rates, ofTuned: ratio, processorMicros: micros, runs: all },
        faults: summed(all.map(({ faults }) => faults)),
        unsettled: unsettledOf(all),
        promise: broker.clients[client].promise,
        how: { who: `${broker.name}, ${client}`, what: broker.clients[client].how },
        targets: [],
      },
    ]
  })
}

/** What the server still had for the group, of all runs. */
export const unsettledOf = (all: readonly Measured[]): number => all.reduce((sum, { unsettled }) => sum + unsettled, 0)

/** The clients that took part, in the order of the report. */
export const clientsOf = (runs: Runs): readonly ClientName[] => [...runs.keys()]

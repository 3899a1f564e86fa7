import { fine, mebibytes, spread, whole } from '../format.ts'
import { summed } from '../ledger.ts'
import type { Row } from '../scenario.ts'
import { type Spread, spreadOf } from '../statistics.ts'
import type { Results } from './comparison.ts'
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

/** One measurement of a client in each pass; undefined where it was left out. */
export const measuredOf = ({ runs }: Results, client: string, measurement: string): readonly (Measured | undefined)[] =>
  (runs.get(client) ?? []).map((outcome) => outcome?.measured[measurement])

/** Those that there are. */
export const present = <T>(values: readonly (T | undefined)[]): readonly T[] => values.filter((each) => each !== undefined)

/** Pass by pass, so that both had the same machine; undefined if they never met. */
export function ratios(values: readonly (number | undefined)[], base: readonly (number | undefined)[]): Spread | undefined {
  const pairs = values.flatMap((value, pass) => {
    const under = base[pass]
    return value === undefined || under === undefined ? [] : [value / under]
  })
  return pairs.length === 0 ? undefined : spreadOf(pairs)
}

/** What distinguishes a row, besides what every row has. */
export interface Special {
  readonly client: string
  readonly measurement: string
  /** The case as the row names it, and the panel of the charts. */
  readonly name: string
  readonly figures: Readonly<Record<string, string>>
  readonly values: Readonly<Record<string, Spread>>
  readonly targets?: Row['targets']
  readonly repeatsAllowed?: boolean
}

/** A row with what every row has: its counters, what client and server took of the machine, the durability, the promise. */
export function rowOf(results: Results, { client, measurement, name, figures, values, targets, repeatsAllowed }: Special): Row {
  const { about } = results
  const all = present(measuredOf(results, client, measurement))
  const sum = (of: (measured: Measured) => number): number => all.reduce((total, each) => total + of(each), 0)
  const own = about.clients[client]
  return {
    name: `${about.broker}, ${name}, ${client}`,
    figures: { ...figures, ...machineFigures(all), runs: String(all.length) },
    data: { broker: about.broker, client, case: results.case, measurement, values },
    faults: summed(all.map(({ faults }) => faults)),
    counts: { sent: sum(({ sent }) => sent), confirmed: sum(({ confirmed }) => confirmed), received: sum(({ received }) => received) },
    unsettled: sum(({ unsettled }) => unsettled),
    tier: about.tier,
    promise: own?.promise ?? '',
    how: { who: `${about.broker}, ${client}`, what: own?.how ?? '' },
    mark: { panel: name, broker: about.broker, client, values },
    targets: targets ?? [],
    ...(repeatsAllowed === true ? { repeatsAllowed } : {}),
  }
}

/** Processor time per message and the most memory, of client and server. */
function machineFigures(all: readonly Measured[]): Record<string, string> {
  const median = (values: readonly number[], format: (value: number) => string): string =>
    values.length === 0 ? '–' : format(spreadOf(values).median)
  const perMessage = (ms: number, { messages }: Measured): number => (ms * 1000) / messages
  const servers = all.flatMap((each) => (each.server === undefined ? [] : [{ each, server: each.server }]))
  return {
    'cpu µs client': median(
      all.map((each) => perMessage(each.processorMs, each)),
      fine,
    ),
    'server cpu': median(
      servers.map(({ each, server }) => perMessage(server.processorMs, each)),
      fine,
    ),
    'RSS client': median(
      all.map(({ rssBytes }) => rssBytes),
      mebibytes,
    ),
    'server RSS': median(
      servers.map(({ server }) => server.rssBytes),
      mebibytes,
    ),
  }
}

/** The row of one measurement of a rate, beside the tuned client's; undefined if the client did not take part. */
export function rateRow(results: Results, client: string, measurement: string, name: string): Row | undefined {
  const measured = measuredOf(results, client, measurement)
  if (present(measured).length === 0) return undefined
  const rate = (each: Measured | undefined): number | undefined => (each === undefined ? undefined : rateOf(each))
  const rates = spreadOf(present(measured.map(rate)))
  const ratio = ratios(measured.map(rate), measuredOf(results, 'tuned', measurement).map(rate))
  return rowOf(results, {
    client,
    measurement,
    name,
    figures: {
      'messages/s': spread(rates, whole),
      'of tuned': ratio === undefined ? '' : spread(ratio, fine),
      [`goal ${goal.ratio.toFixed(1)}`]: client === 'posthorn' && ratio !== undefined ? verdict(ratio.median) : '',
    },
    values: { rate: rates, ...(ratio === undefined ? {} : { ofTuned: ratio }) },
  })
}

/** The clients that took part, in the order of the report. */
export const clientsOf = ({ runs }: Results): readonly string[] => [...runs.keys()]

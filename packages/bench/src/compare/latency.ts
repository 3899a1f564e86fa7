import { fine, spread, whole } from '../format.ts'
import type { Row } from '../scenario.ts'
import { type Spread, spreadOf } from '../statistics.ts'
import { type Comparison, cellsOf, type Results } from './comparison.ts'
import { clientsOf, measuredOf, present, ratios, rowOf } from './rows.ts'
import { bySize } from './sizes.ts'
import type { Latency, Measured } from './task.ts'

const most = 1.3
const charts: Comparison['charts'] = [
  { title: 'milliseconds: p50, p95, p99, p99.9', values: ['p50', 'p95', 'p99', 'p999'], unit: 'ms', better: 'less', scale: 'log' },
]

/** How long a message is on its way at the same rate for every client, when nothing is saturated. */
export const latency: Comparison = {
  name: 'latency',
  title: 'latency of an open loop at the same rate, milliseconds',
  method:
    'sent on a schedule, whatever comes back; from the intended moment of the send (or, `p50 of call`, from the call, without the lateness of the timer that calls) to the start of the handler, by one monotonic clock; 100 B. One at a time is no client for a schedule, so the naive one sits out',
  charts,
  cells: (server, settings) =>
    cellsOf('latency', server, settings, [
      {
        name: 'open loop',
        seconds: 5,
        work: ({ name }) =>
          name === 'naive'
            ? undefined
            : {
                kind: 'latency',
                bytes: 100,
                rates: bySize(settings.size, [500, 2000], [500, 2000], [8, 500, 2000]),
                seconds: bySize(settings.size, 1.5, 3, 10),
                warmUp: bySize(settings.size, 1000, 2000, 2000),
              },
      },
    ]),
  rows: (results) => measurementsOf(results).flatMap((rate) => latencyRows(results, rate, rate)),
}

/** What was measured by any client, in the order in which it was. */
export const measurementsOf = ({ runs }: Results): readonly string[] => [
  ...new Set([...runs.values()].flatMap((outcomes) => present(outcomes).flatMap(({ measured }) => Object.keys(measured)))),
]

/** The rows of one measurement of latency, beside the tuned client's. */
export function latencyRows(results: Results, measurement: string, name: string, atOwnRate = false): Row[] {
  const column = (client: string, of: (latency: Latency) => number): readonly (number | undefined)[] =>
    measuredOf(results, client, measurement).map((each) => (each?.latency === undefined ? undefined : of(each.latency)))
  return clientsOf(results).flatMap((client): Row[] => {
    const all = present(measuredOf(results, client, measurement))
    if (all.length === 0) return []
    const of = (pick: (latency: Latency) => number): Spread => spreadOf(present(column(client, pick)))
    const values = {
      p50: of(({ p50 }) => p50),
      p95: of(({ p95 }) => p95),
      p99: of(({ p99 }) => p99),
      p999: of(({ p999 }) => p999),
    }
    const ratio = ratios(
      column(client, ({ p50 }) => p50),
      column('tuned', ({ p50 }) => p50),
    )
    const { broker } = results.about
    const compared = !atOwnRate && ratio !== undefined
    return [
      rowOf(results, {
        client,
        measurement,
        name,
        figures: {
          ...(atOwnRate ? { 'messages/s': spread(rateAsked(all), whole) } : {}),
          p50: spread(values.p50, fine),
          p95: spread(values.p95, fine),
          p99: spread(values.p99, fine),
          'p99.9': spread(values.p999, fine),
          ...(atOwnRate
            ? {}
            : {
                'p50 of call': fine(of(({ p50OfCall }) => p50OfCall).median),
                'p50 of tuned': ratio === undefined ? '' : spread(ratio, fine),
              }),
          negative: String(all.reduce((sum, each) => sum + (each.latency?.negative ?? 0), 0)),
        },
        values: { ...values, ...(compared ? { p50OfTuned: ratio } : {}) },
        targets:
          client === 'posthorn' && compared
            ? [
                {
                  text: `${broker}, ${name}: p50 at most ${most} times the tuned client’s`,
                  value: fine(ratio.median),
                  met: ratio.median <= most,
                },
              ]
            : [],
      }),
    ]
  })
}

const rateAsked = (all: readonly Measured[]): Spread => spreadOf(all.map(({ perSecond }) => perSecond ?? Number.NaN))

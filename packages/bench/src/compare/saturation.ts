import { fine, spread, whole } from '../format.ts'
import type { Row } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'
import { lateMs } from '../tasks/saturation.ts'
import { type Comparison, cellsOf } from './comparison.ts'
import { latency, latencyRows } from './latency.ts'
import { clientsOf, measuredOf, present, ratios, rowOf } from './rows.ts'
import { bySize, workOf } from './sizes.ts'
import type { Measured } from './task.ts'

const shares = [0.5, 0.8] as const
const asked = (each: Measured | undefined): number | undefined => each?.perSecond

const search = {
  title: 'the highest rate that an open loop keeps up with, 100 B',
  method: `rates are tried in steps that halve what is not known; one is kept up with while 95 of 100 messages of the second half of a step are handled within ${lateMs} ms of the moment in which they should have been sent`,
} as const

/** The highest rate of an open loop. */
export const saturation: Comparison = {
  name: 'saturation',
  ...search,
  charts: [{ title: 'highest rate kept up with', values: ['highest'], unit: 'messages/s', better: 'more', scale: 'linear' }],
  cells: (server, settings) =>
    cellsOf('saturation', server, settings, [
      {
        name: '100 B',
        seconds: 8,
        work: (client) =>
          client.name === 'naive' && settings.size !== 'full'
            ? undefined
            : {
                kind: 'saturation',
                bytes: 100,
                warmUp: Math.round(client.messages * Math.min(0.5, workOf[settings.size])),
                steps: bySize(settings.size, 4, 6, 7),
                stepSeconds: bySize(settings.size, 0.6, 1.5, 4),
                shares,
              },
      },
    ]),
  rows(results) {
    return clientsOf(results).flatMap((client): Row[] => {
      const all = measuredOf(results, client, 'highest')
      if (present(all).length === 0) return []
      const highest = spreadOf(present(all.map(asked)))
      const ratio = ratios(all.map(asked), measuredOf(results, 'tuned', 'highest').map(asked))
      return [
        rowOf(results, {
          client,
          measurement: 'highest',
          name: results.case,
          figures: { 'highest/s': spread(highest, whole), 'of tuned': ratio === undefined ? '' : spread(ratio, fine) },
          values: { highest, ...(ratio === undefined ? {} : { ofTuned: ratio }) },
        }),
      ]
    })
  },
}

/** Latency at shares of the own highest rate, from the same runs. */
export const atShares: Comparison = {
  name: 'load',
  runsOf: 'saturation',
  title: 'latency of an open loop at 50 % and 80 % of the own highest rate, milliseconds',
  method: 'as above, in the process and on the connection that looked for the highest rate; a saturated run has no latency worth the name',
  charts: latency.charts,
  cells: () => [],
  rows: (results) =>
    shares.flatMap((share) => latencyRows(results, `at ${Math.round(share * 100)} %`, `at ${Math.round(share * 100)} %`, true)),
}

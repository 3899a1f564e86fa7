import type { Row } from '../scenario.ts'
import type { Client } from './client.ts'
import { type Comparison, cellsOf } from './comparison.ts'
import { clientsOf, rateRow } from './rows.ts'
import { bodySizes, workOf } from './sizes.ts'

const measurements = ['produce', 'consume', 'end to end'] as const

/** Produce, drain a backlog, and both at once. */
export const throughput: Comparison = {
  name: 'throughput',
  title: 'produce, drain a backlog, end to end',
  method:
    'messages/s by wall time, closed loop. produce: from the first call to the last confirm. consume: a backlog is drained, all of it queued before, from the first handler to the last. end to end: both at once in one process, from the first send to the last handler. of tuned: pass by pass',
  charts: [{ title: 'messages per second', values: ['rate'], unit: 'messages/s', better: 'more', scale: 'linear' }],
  cells(server, settings) {
    const work = workOf[settings.size]
    const quick = settings.size === 'quick'
    const cases = bodySizes
      .filter(({ bytes }) => !quick || bytes !== 16_384)
      .map(({ name, bytes, share }) => ({
        name,
        seconds: 3,
        work(client: Client) {
          const naive = client.name === 'naive'
          // What one at a time costs shows at one size.
          if (quick && naive && bytes !== 100) return undefined
          const messages = client.messages * share * (quick && naive ? 0.5 : 1)
          return {
            kind: 'throughput' as const,
            bytes,
            messages: Math.max(20, Math.round(messages * work)),
            // A warm-up hardly shrinks: what is compiled late would be paid for by the measurement.
            warmUp: Math.round(messages * Math.min(0.3, work)),
          }
        },
      }))
    return cellsOf('throughput', server, settings, cases)
  },
  rows: (results) =>
    measurements.flatMap((each) =>
      clientsOf(results).flatMap((client): Row[] => {
        const row = rateRow(results, client, each, `${each}, ${results.case}`)
        return row === undefined ? [] : [row]
      }),
    ),
}

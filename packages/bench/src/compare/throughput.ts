import type { Row } from '../scenario.ts'
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
    const cases = bodySizes.map(({ name, bytes, share }) => ({
      name,
      seconds: 3,
      work: (client: { readonly messages: number }) => ({
        kind: 'throughput' as const,
        bytes,
        messages: Math.max(20, Math.round(client.messages * work * share)),
        // A warm-up hardly shrinks: what is compiled late would be paid for by the measurement.
        warmUp: Math.round(client.messages * Math.min(0.3, work) * share),
      }),
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

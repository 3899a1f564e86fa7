import { fine, spread, whole } from '../format.ts'
import type { Row } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'
import type { Client } from './client.ts'
import { type Comparison, cellsOf } from './comparison.ts'
import { clientsOf, measuredOf, present, rateOf, ratios, rowOf } from './rows.ts'
import { bySize } from './sizes.ts'
import type { Measured } from './task.ts'

const handlerMs = 10
const lanes = 100
const wanted = 90

// As many as take each client a second or two: the naive one does 100 a second, the tuned one that for each partition.
const messagesOf = ({ name }: Client): number => ({ naive: 150, tuned: 600 })[name] ?? 6000

/** Handlers that wait, as handlers do, of messages whose order must be kept. */
export const slow: Comparison = {
  name: 'slow',
  title: `handlers of ${handlerMs} ms, ${lanes} keys, in order`,
  method:
    'all is queued before; messages/s from the start of the first handler to the end of the last. The naive client handles one by one, the tuned one one by one in each partition: neither can do more without breaking the order of a key',
  charts: [{ title: 'messages per second', values: ['rate'], unit: 'messages/s', better: 'more', scale: 'log' }],
  cells: (server, settings) =>
    cellsOf('slow', server, settings, [
      {
        name: `${handlerMs} ms`,
        seconds: 3,
        keyed: true,
        work: (client) => ({
          kind: 'slow',
          bytes: 100,
          messages: Math.round(messagesOf(client) * bySize(settings.size, 0.5, 1, 1)),
          warmUp: bySize(settings.size, 40, 100, 100),
          handlerMs,
          lanes,
        }),
      },
    ]),
  rows(results) {
    const rate = (each: Measured | undefined): number | undefined => (each === undefined ? undefined : rateOf(each))
    const oneByOne = measuredOf(results, 'naive', 'slow').map(rate)
    return clientsOf(results).flatMap((client): Row[] => {
      const all = measuredOf(results, client, 'slow')
      if (present(all).length === 0) return []
      const times = ratios(all.map(rate), oneByOne)
      const rates = spreadOf(present(all.map(rate)))
      const { broker } = results.about
      return [
        rowOf(results, {
          client,
          measurement: 'slow',
          name: results.case,
          figures: { 'messages/s': spread(rates, whole), 'times one by one': times === undefined ? '' : spread(times, fine) },
          values: { rate: rates, ...(times === undefined ? {} : { timesOneByOne: times }) },
          targets:
            client === 'posthorn' && times !== undefined
              ? [
                  {
                    text: `${broker}: handlers in order at least ${wanted} times faster than one by one`,
                    value: fine(times.median),
                    met: times.median >= wanted,
                  },
                ]
              : [],
        }),
      ]
    })
  },
}

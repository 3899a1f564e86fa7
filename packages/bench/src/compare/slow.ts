import { fine, spread, whole } from '../format.ts'
import { summed } from '../ledger.ts'
import type { Row } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'
import type { ClientName } from './client.ts'
import type { Comparison } from './comparison.ts'
import { contest, measuredOf } from './contest.ts'
import { clientsOf, rateOf, ratios, unsettledOf } from './rows.ts'

const handlerMs = 10
const lanes = 100
const wanted = 90
// As many as take each client a second or two: the naive one does 100 a second, the tuned one that for each partition.
const messages: Readonly<Record<ClientName, number>> = { naive: 150, tuned: 600, posthorn: 6000 }

/** Handlers that wait, as handlers do, of messages whose order must be kept. */
export const slow: Comparison = {
  title: `handlers of ${handlerMs} ms, ${lanes} keys, in order`,
  method:
    'all is queued before; messages/s from the start of the first handler to the end of the last. The naive client handles one by one, the tuned one one by one in each partition: neither can do more without breaking the order of a key',
  async run(server, settings) {
    settings.say(`${server.broker.name}, handlers of ${handlerMs} ms`)
    const keyed = { ...settings, keyed: true }
    const runs = await contest(server, keyed, (client, common) => ({
      ...common,
      kind: 'slow',
      bytes: 100,
      messages: messages[client],
      warmUp: 100,
      handlerMs,
      lanes,
    }))
    const oneByOne = measuredOf(runs, 'naive', 'slow').map(rateOf)
    return clientsOf(runs).flatMap((client): Row[] => {
      const all = measuredOf(runs, client, 'slow')
      const times = ratios(all.map(rateOf), oneByOne)
      if (all.length === 0) return []
      const rate = spreadOf(all.map(rateOf))
      return [
        {
          name: `${server.broker.name}, ${client}`,
          figures: { 'messages/s': spread(rate, whole), 'times one by one': times === undefined ? '' : spread(times, fine) },
          data: { broker: server.broker.name, client, rate, timesOneByOne: times, runs: all },
          faults: summed(all.map(({ faults }) => faults)),
          unsettled: unsettledOf(all),
          promise: server.broker.clients[client].promise,
          how: { who: `${server.broker.name}, ${client}`, what: server.broker.clients[client].how },
          targets:
            client === 'posthorn' && times !== undefined
              ? [
                  {
                    text: `${server.broker.name}: handlers in order at least ${wanted} times faster than one by one`,
                    value: fine(times.median),
                    met: times.median >= wanted,
                  },
                ]
              : [],
        },
      ]
    })
  },
}

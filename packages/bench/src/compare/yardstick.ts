import type { Row } from '../scenario.ts'
import type { Cell, Comparison } from './comparison.ts'
import { clientsOf, rateRow } from './rows.ts'
import { bodySizes, workOf } from './sizes.ts'

/** What the programs that come with a server get out of it: not a client of Node, but how far the server goes on this machine. */
export const yardstick: Comparison = {
  name: 'yardstick',
  title: 'the server’s own programs, as a yardstick of the server',
  method:
    'produce and consume by the programs that the server’s makers measure with, by their own count of the time; without keys, headers and handlers, so nothing here is a rival. They confirm as the other clients do; they count no repeats and no order',
  charts: [{ title: 'messages per second', values: ['rate'], unit: 'messages/s', better: 'more', scale: 'linear' }],
  cells: (server, settings) =>
    (server.broker.yardsticks ?? []).flatMap((own) =>
      bodySizes.slice(0, settings.size === 'full' ? 4 : 2).map(
        ({ name, bytes, share }): Cell => ({
          comparison: 'yardstick',
          case: name,
          broker: server.broker.name,
          client: own.name,
          seconds: 5,
          run: () => own.run(server.given, { bytes, messages: Math.round(own.messages * workOf[settings.size] * share) }),
        }),
      ),
    ),
  rows: (results) =>
    ['produce', 'consume'].flatMap((each) =>
      clientsOf(results).flatMap((client): Row[] => {
        const row = rateRow(results, client, each, `${each}, ${results.case}`)
        return row === undefined ? [] : [row]
      }),
    ),
}

import type { Row } from '../scenario.ts'
import { type Comparison, cellsOf } from './comparison.ts'
import { clientsOf, rateRow } from './rows.ts'
import { bySize, workOf } from './sizes.ts'

/** One topic, several groups that each get every message. */
export const fanOut: Comparison = {
  name: 'fan-out',
  title: 'fan-out to groups, 1 KB',
  method:
    'every message is stored once and handled by each group, all in one process; messages handled per second by all groups together, from the first send to the last handler of the last group',
  charts: [{ title: 'messages handled per second, all groups', values: ['rate'], unit: 'messages/s', better: 'more', scale: 'linear' }],
  cells: (server, settings) =>
    cellsOf(
      'fan-out',
      server,
      settings,
      bySize(settings.size, [3], [3], [1, 3, 10]).map((groups) => ({
        name: groups === 1 ? '1 group' : `${groups} groups`,
        seconds: 2,
        work: (client) => {
          if (client.name === 'naive') return undefined
          const messages = Math.round((client.messages * workOf[settings.size] * 1.2) / groups)
          return { kind: 'fan-out', bytes: 1024, messages, warmUp: Math.round(messages / 3), groups }
        },
      })),
    ),
  rows: (results) =>
    clientsOf(results).flatMap((client): Row[] => {
      const row = rateRow(results, client, 'fan-out', results.case)
      return row === undefined ? [] : [row]
    }),
}

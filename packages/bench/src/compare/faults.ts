import { inTimeMs } from '../faults/record.ts'
import { type FaultKind, runFault } from '../faults/run.ts'
import { spread, whole } from '../format.ts'
import type { Row } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'
import type { Cell, Comparison } from './comparison.ts'
import { clientsOf, measuredOf, present, rowOf } from './rows.ts'
import { bySize } from './sizes.ts'
import type { Fault } from './task.ts'

const perSecond = 300

/** Something is killed while an application works. */
export const faults: Comparison = {
  name: 'faults',
  title: `faults: ${perSecond} messages/s with 100 keys, a process that sends and one that handles, each started again when it dies`,
  method: `consumer killed: its process by SIGKILL, another one is started at once. server restarted: by SIGKILL and started on its data, by SIGTERM where it promises no more (MQTT). back: from the fault until messages are handled within ${inTimeMs} ms of their schedule again, and stay so for a second. A send that is refused is sent again; a message waits until the one before it with its key is confirmed. Lost: confirmed and never handled. Repeats are allowed here`,
  charts: [{ title: 'milliseconds until messages are in time again', values: ['back'], unit: 'ms', better: 'less', scale: 'log' }],
  cells: (server, settings) =>
    (['consumer killed', 'server restarted'] as const).flatMap((kind) =>
      kind === 'server restarted' && server.given.restart === undefined
        ? []
        : server.broker.clients
            .filter(({ name }) => name !== 'naive' && settings.clients.includes(name))
            .filter(({ name }) => settings.size !== 'quick' || name === 'posthorn')
            .map((client): Cell => {
              const plan = {
                kind,
                client: client.name,
                keyed: settings.keyed,
                perSecond,
                seconds: bySize(settings.size, 1, 3, 5),
                mostSeconds: bySize(settings.size, 25, 60, 60),
              }
              return {
                comparison: 'faults',
                case: kind,
                broker: server.broker.name,
                client: client.name,
                seconds: bySize(settings.size, 6, 12, 15),
                run: () => runFault(server, plan),
              }
            }),
    ),
  rows: (results) =>
    clientsOf(results).flatMap((client): Row[] => {
      const kind = results.case as FaultKind
      const all = present(measuredOf(results, client, kind))
      if (all.length === 0) return []
      const of = (pick: (fault: Fault) => number | undefined): readonly number[] =>
        present(all.map(({ fault }) => (fault === undefined ? undefined : pick(fault))))
      const back = of(({ backMs }) => backMs)
      const away = of(({ awayMs }) => awayMs)
      const values = back.length === all.length ? { back: spreadOf(back) } : {}
      return [
        rowOf(results, {
          client,
          measurement: kind,
          name: kind,
          figures: {
            'back ms': back.length === all.length ? spread(spreadOf(back), whole) : `not in ${all.length - back.length} of ${all.length}`,
            'server away ms': away.length === 0 ? '' : spread(spreadOf(away), whole),
            'worst ms': spread(spreadOf(of(({ worstMs }) => worstMs)), whole),
          },
          values,
          repeatsAllowed: true,
        }),
      ]
    }),
}

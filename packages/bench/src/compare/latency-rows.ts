import { fine, spread } from '../format.ts'
import { summed } from '../ledger.ts'
import type { Row, Settings } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'
import type { Comparison } from './comparison.ts'
import { contest, measuredOf, type Server } from './contest.ts'
import { clientsOf, ratios, unsettledOf } from './rows.ts'
import type { Latency } from './task.ts'

const most = 1.3

/** How long a message is on its way when nothing is saturated. */
export const latency: Comparison = {
  title: 'latency of an open loop, milliseconds',
  method:
    'sent on a schedule, whatever comes back; from the intended moment of the send (or, `p50 of call`, from the call, without the lateness of the timer that calls) to the start of the handler, by one monotonic clock; 100 B',
  async run(server, settings) {
    const rows: Row[] = []
    for (const perSecond of [500, 2000]) rows.push(...(await atRate(server, settings, perSecond)))
    return rows
  },
}

async function atRate(server: Server, settings: Settings, perSecond: number): Promise<Row[]> {
  settings.say(`${server.broker.name}, ${perSecond} messages/s`)
  const seconds = settings.quick ? 2 : 5
  const runs = await contest(server, settings, (client, common) =>
    // One at a time is no client for a schedule: it would fall behind and measure its own queue.
    client === 'naive' ? undefined : { ...common, kind: 'latency', bytes: 100, perSecond, seconds, warmUp: 2000 },
  )
  const ofTuned = (of: (latency: Latency) => number): readonly number[] => values('tuned', of)
  function values(client: 'tuned' | 'posthorn', of: (latency: Latency) => number): readonly number[] {
    return measuredOf(runs, client, 'latency').flatMap((each) => (each.latency === undefined ? [] : [of(each.latency)]))
  }
  return clientsOf(runs).flatMap((client): Row[] => {
    if (client === 'naive') return []
    const all = measuredOf(runs, client, 'latency')
    if (all.length === 0) return []
    const column = (of: (latency: Latency) => number) => spreadOf(values(client, of))
    const ratio = ratios(
      values(client, ({ p50 }) => p50),
      ofTuned(({ p50 }) => p50),
    )
    const micros = spreadOf(all.map(({ processorMs, messages }) => (processorMs * 1000) / messages))
    return [
      {
        name: `${server.broker.name}, ${perSecond}/s, ${client}`,
        figures: {
          p50: spread(
            column(({ p50 }) => p50),
            fine,
          ),
          p99: spread(
            column(({ p99 }) => p99),
            fine,
          ),
          'p50 of call': spread(
            column(({ p50OfCall }) => p50OfCall),
            fine,
          ),
          'p50 of tuned': ratio === undefined ? '' : spread(ratio, fine),
          'client cpu µs': spread(micros, fine),
        },
        data: { broker: server.broker.name, client, perSecond, ofTuned: ratio, processorMicros: micros, runs: all },
        faults: summed(all.map(({ faults }) => faults)),
        unsettled: unsettledOf(all),
        promise: server.broker.clients[client].promise,
        how: { who: `${server.broker.name}, ${client}`, what: server.broker.clients[client].how },
        targets:
          client === 'posthorn' && ratio !== undefined
            ? [
                {
                  text: `${server.broker.name}, ${perSecond}/s: p50 at most ${most} times the tuned client’s`,
                  value: fine(ratio.median),
                  met: ratio.median <= most,
                },
              ]
            : [],
      },
    ]
  })
}

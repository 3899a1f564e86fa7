import type { Row, Settings } from '../scenario.ts'
import type { Comparison } from './comparison.ts'
import { contest, type Server } from './contest.ts'
import { throughputRows } from './rows.ts'

/** Produce, consume a backlog, and both at once. */
export const throughput: Comparison = {
  title: 'produce, consume a backlog, end to end',
  method:
    'messages/s by wall time, processor time of the client’s process per message. produce: from the first call to the last confirm. consume: all is queued before, from the first handler to the last. end to end: both at once in one process, from the first send to the last handler. of tuned: run by run',
  async run(server, settings) {
    const rows: Row[] = []
    for (const bytes of [100, 1024]) rows.push(...(await ofSize(server, settings, bytes)))
    return rows
  },
}

async function ofSize(server: Server, settings: Settings, bytes: number): Promise<Row[]> {
  const size = bytes === 1024 ? '1 KB' : `${bytes} B`
  settings.say(`${server.broker.name}, ${size}`)
  const runs = await contest(server, settings, (client, common) => {
    const messages = Math.round(server.broker.messages[client] * (settings.quick ? 0.3 : 1))
    // A warm-up does not shrink: what is compiled late would be paid for by the measurement.
    return { ...common, kind: 'throughput', bytes, messages, warmUp: Math.round(server.broker.messages[client] * 0.3) }
  })
  return ['produce', 'consume', 'end to end'].flatMap((each) => throughputRows(server, runs, each, `${each}, ${size}`))
}

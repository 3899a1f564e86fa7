import { connect } from '@posthorn/core'
import { sleep } from '../clock.ts'
import { feed } from '../feed.ts'
import { mebibytes, whole } from '../format.ts'
import { createLedger } from '../ledger.ts'
import { numberOf, workOf, workTopic } from '../messages.ts'
import { metered, newMeter } from '../metered.ts'
import { type Scenario, sweepMemory } from '../scenario.ts'

const maxUnsettled = 256
const handlerMs = 50

/** A mountain of messages in front of somebody slow: what lies on the server must not move into the consumer. */
export const backlog: Scenario = {
  title: 'a long queue in front of a slow consumer',
  method: `100 B each, no key, handlers of ${handlerMs} ms, concurrency 16, maxUnsettled ${maxUnsettled} (the default); held: handed out and not settled, by assignment, seen at every read; lost: neither handled nor left on the server`,
  async run(driver, settings) {
    const messages = settings.size === 'quick' ? 100_000 : 1_000_000
    settings.say(`${whole(messages)} messages queued`)
    const place = await driver.open()
    const meter = newMeter()
    const broker = await connect(metered(place.adapter, meter), { log: false, name: 'bench' })
    const work = workTopic(false)
    sweepMemory()
    const empty = process.memoryUsage().rss
    await feed(broker.producer(work), messages, workOf(100))
    sweepMemory()
    const full = process.memoryUsage().rss
    const kept = place.serverBytes()
    const ledger = createLedger(messages, 1)
    const consumer = await broker.consume(work, { group: 'bench', maxUnsettled }, async ({ value }) => {
      await sleep(handlerMs)
      ledger.handled(numberOf(value), -1)
    })
    let most = 0
    let peak = full
    for (let look = 0; look < (settings.size === 'quick' ? 20 : 100); look++) {
      await sleep(50)
      most = Math.max(most, consumer.stats().unsettled)
      peak = Math.max(peak, process.memoryUsage().rss)
    }
    sweepMemory()
    const after = process.memoryUsage().rss
    const assignments = meter.held.size
    await consumer.close()
    const lag = await broker.lag(work, 'bench')
    const left = (lag.backlog ?? 0) + (lag.unsettled ?? 0)
    await broker.close()
    await place.close()
    const faults = { ...ledger.faults(messages), lost: Math.max(0, messages - ledger.count - left) }
    const kib = kept === null ? 'elsewhere' : mebibytes(kept)
    return [
      {
        name: `${whole(messages)} queued`,
        figures: {
          'most held by one assignment': `${meter.mostHeld} of ${maxUnsettled}`,
          'by all': `${most} in ${assignments}`,
          handled: whole(ledger.count),
          'RSS before': mebibytes(empty),
          queued: mebibytes(full),
          'consuming, most': mebibytes(peak),
          after: mebibytes(after),
          "server's own": kib,
        },
        data: {
          messages,
          mostHeld: meter.mostHeld,
          mostUnsettled: most,
          assignments,
          handled: ledger.count,
          left,
          rss: { empty, full, peak, after },
          serverBytes: kept,
        },
        faults,
        targets: [
          {
            text: `held within maxUnsettled (${maxUnsettled}) per assignment`,
            value: `${meter.mostHeld}`,
            met: meter.mostHeld <= maxUnsettled && most <= maxUnsettled * assignments,
          },
        ],
      },
    ]
  },
}

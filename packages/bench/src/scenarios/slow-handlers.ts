import { connect } from '@posthorn/core'
import { monotonic, sleep } from '../clock.ts'
import type { Driver, Place } from '../driver.ts'
import { feed } from '../feed.ts'
import { fine, spread, whole } from '../format.ts'
import { createLedger, type Faults, summed } from '../ledger.ts'
import { laneOf, numberOf, workOf, workTopic } from '../messages.ts'
import { settledDown } from '../progress.ts'
import { type Scenario, sweepMemory } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'

const handlerMs = 10

interface Slow {
  readonly messages: number
  readonly lanes: number
  readonly keyed: boolean
  readonly concurrency: number
  readonly maxUnsettled: number
}
interface SlowSample {
  readonly wallMs: number
  readonly faults: Faults
}

/** One after the other, and side by side without a library: what the timers of this machine make of 10 ms. */
async function timers(messages: number, concurrency: number): Promise<number> {
  const since = monotonic()
  let left = messages
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left-- > 0) await sleep(handlerMs)
    }),
  )
  return monotonic() - since
}

async function handled(place: Place, slow: Slow): Promise<SlowSample> {
  const { messages, lanes, keyed } = slow
  const broker = await connect(place.adapter, { log: false, name: 'bench' })
  const work = workTopic(keyed)
  await broker.declare(work)
  await feed(broker.producer(work), messages, workOf(100, Math.max(1, lanes)))
  const ledger = createLedger(messages, Math.max(1, lanes))
  let ended = 0
  const since = monotonic()
  let until = since
  const { concurrency, maxUnsettled } = slow
  const consumer = await broker.consume(work, { group: 'bench', concurrency, maxUnsettled }, async ({ value }) => {
    await sleep(handlerMs)
    ledger.handled(numberOf(value), keyed ? laneOf(value) : -1)
    ended++
    until = monotonic()
  })
  await settledDown(
    () => ended >= messages,
    () => ended,
    10_000,
  )
  await consumer.close()
  await broker.close()
  return { wallMs: until - since, faults: ledger.faults(messages) }
}

async function runs(driver: Driver, count: number, slow: Slow): Promise<SlowSample[]> {
  const samples: SlowSample[] = []
  for (let run = 0; run <= count; run++) {
    sweepMemory()
    const place = await driver.open()
    samples.push(await handled(place, slow))
    await place.close()
  }
  return samples
}

/** Handlers that wait, as handlers do: keys side by side, and no order at all. */
export const slowHandlers: Scenario = {
  title: `handlers of ${handlerMs} ms`,
  method:
    'the messages are queued before the consumer starts. one by one: a bare loop over the same timers (200 of them, times the count). ideal: 500 such loops side by side without a library',
  async run(driver, settings) {
    const keyed: Slow = { messages: 2000, lanes: 100, keyed: true, concurrency: 100, maxUnsettled: 1000 }
    settings.say('2,000 messages, 100 keys')
    const oneByOneMs = ((await timers(200, 1)) / 200) * keyed.messages
    const keyedSamples = await runs(driver, settings.runs, keyed)
    const times = spreadOf(keyedSamples.slice(1).map((sample) => oneByOneMs / sample.wallMs))
    const keyedFaults = summed(keyedSamples.map((sample) => sample.faults))

    const open: Slow = {
      messages: settings.size === 'quick' ? 20_000 : 50_000,
      lanes: 0,
      keyed: false,
      concurrency: 500,
      maxUnsettled: 1000,
    }
    settings.say(`${whole(open.messages)} messages, concurrency 500`)
    const ideals: number[] = []
    for (let run = 0; run < settings.runs; run++) ideals.push(await timers(open.messages, open.concurrency))
    const ideal = spreadOf(ideals).median
    const openSamples = await runs(driver, settings.runs, open)
    const share = spreadOf(openSamples.slice(1).map((sample) => ideal / sample.wallMs))
    const nominal = (open.messages * handlerMs) / open.concurrency
    const nominalShare = spreadOf(openSamples.slice(1).map((sample) => nominal / sample.wallMs))
    const percent = (value: number): string => `${fine(value * 100)} %`
    return [
      {
        name: '2,000 messages, 100 keys, concurrency 100',
        figures: { 'times one by one': spread(times, fine), 'order violations': String(keyedFaults.misordered) },
        data: { ...keyed, oneByOneMs, times },
        faults: keyedFaults,
        targets: [
          { text: '100 keys: at least 95 times faster than one by one', value: fine(times.median), met: times.median >= 95 },
          { text: '100 keys: no order violation', value: String(keyedFaults.misordered), met: keyedFaults.misordered === 0 },
        ],
      },
      {
        name: `${whole(open.messages)} messages, no order, concurrency 500`,
        figures: { 'of the ideal': spread(share, percent), 'of 500 per 10 ms exactly': spread(nominalShare, percent) },
        data: { ...open, idealMs: ideal, share, nominalShare },
        faults: summed(openSamples.map((sample) => sample.faults)),
        targets: [{ text: 'concurrency 500: at least 90 % of the ideal rate', value: percent(share.median), met: share.median >= 0.9 }],
      },
    ]
  },
}

import { bareRun } from '../bare.ts'
import { coreRun } from '../core-run.ts'
import type { Driver } from '../driver.ts'
import { fine, spread, whole } from '../format.ts'
import { summed } from '../ledger.ts'
import { keys } from '../messages.ts'
import type { Job, Sample } from '../sample.ts'
import { type Row, type Scenario, type Settings, sweepMemory, type Target } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'

/** Sent and handled at once, next to the bare loop, run by run. */
export const throughput: Scenario = {
  title: 'end to end: sent, stored, handled, settled',
  method:
    'each run next to a bare loop over an array with the same JSON work; `own` is processor time of all threads per message, less the bare loop, and `per cpu second` is what one processor for this process alone would do; wall time says what this machine gave',
  async run(driver, settings) {
    const rows: Row[] = []
    for (const bytes of [100, 1024]) for (const keyed of [true, false]) rows.push(await row(driver, settings, bytes, keyed))
    return rows
  },
}

async function row(driver: Driver, settings: Settings, bytes: number, keyed: boolean): Promise<Row> {
  const name = `${bytes === 1024 ? '1 KB' : `${bytes} B`}, ${keyed ? 'keyed' : 'no key'}`
  settings.say(name)
  const job: Job = { messages: settings.size === 'quick' ? 40_000 : 200_000, bytes, keyed, lanes: keys, stallMs: 10_000 }
  const core: Sample[] = []
  const bare: Sample[] = []
  const warmUp: Sample[] = []
  for (let run = 0; run <= settings.runs; run++) {
    sweepMemory()
    const floor = await bareRun(job)
    sweepMemory()
    const place = await driver.open()
    const sample = await coreRun(place, job)
    await place.close()
    if (run === 0) warmUp.push(floor, sample)
    else {
      bare.push(floor)
      core.push(sample)
    }
  }
  const perMessage = (ms: number): number => (ms * 1000) / job.messages
  const rate = spreadOf(core.map((sample) => job.messages / (sample.wallMs / 1000)))
  const bareRate = spreadOf(bare.map((sample) => job.messages / (sample.wallMs / 1000)))
  const busy = spreadOf(core.map((sample) => job.messages / (sample.processorMs / 1000)))
  const own = spreadOf(core.map((sample, run) => perMessage(sample.processorMs - (bare[run]?.processorMs ?? 0))))
  const ownWall = spreadOf(core.map((sample, run) => perMessage(sample.wallMs - (bare[run]?.wallMs ?? 0))))
  const targets: Target[] = [
    { text: `${name}: core's own cost at most 5 µs per message`, value: `${fine(own.median)} µs`, met: own.median <= 5 },
  ]
  if (bytes === 100)
    targets.unshift({ text: `${name}: at least 150,000 messages/s`, value: whole(rate.median), met: rate.median >= 150_000 })
  return {
    name,
    figures: {
      'messages/s': spread(rate, whole),
      'per cpu second': whole(busy.median),
      'bare loop/s': spread(bareRate, whole),
      ratio: fine(bareRate.median / rate.median),
      'own µs cpu': spread(own, fine),
      'own µs wall': spread(ownWall, fine),
    },
    data: { messages: job.messages, bytes, keyed, rate, ratePerProcessorSecond: busy, bareRate, ownMicros: own, ownWallMicros: ownWall },
    faults: summed([...warmUp, ...core, ...bare].map((sample) => sample.faults)),
    targets,
  }
}

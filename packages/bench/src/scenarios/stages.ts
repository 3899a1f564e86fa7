import { type StageSample, stageRun } from '../core-run.ts'
import type { Driver } from '../driver.ts'
import { fine, spread } from '../format.ts'
import { summed } from '../ledger.ts'
import { keys } from '../messages.ts'
import { newMeter } from '../metered.ts'
import { type Row, type Scenario, type Settings, sweepMemory } from '../scenario.ts'
import { spreadOf } from '../statistics.ts'

/** Where the time of a message goes. */
export const stages: Scenario = {
  title: 'cost per stage, µs of wall time per message',
  method:
    'first all are sent, then all are handled. store, read, settle: inside calls to the adapter. send: the rest of the first half (JSON, ids, lanes, promises). handle: the rest of the second (lanes, JSON, handler, settlement in core)',
  async run(driver, settings) {
    const rows: Row[] = []
    for (const bytes of [100, 1024]) for (const keyed of [true, false]) rows.push(await row(driver, settings, bytes, keyed))
    return rows
  },
}

async function row(driver: Driver, settings: Settings, bytes: number, keyed: boolean): Promise<Row> {
  const name = `${bytes === 1024 ? '1 KB' : `${bytes} B`}, ${keyed ? 'keyed' : 'no key'}`
  settings.say(name)
  const messages = settings.size === 'quick' ? 20_000 : 100_000
  const samples: StageSample[] = []
  let warmUp: StageSample | undefined
  for (let run = 0; run <= settings.runs; run++) {
    sweepMemory()
    const place = await driver.open()
    const sample = await stageRun(place, { messages, bytes, keyed, lanes: keys, stallMs: 10_000 }, newMeter())
    await place.close()
    if (run === 0) warmUp = sample
    else samples.push(sample)
  }
  const of = (pick: (sample: StageSample) => number): ReturnType<typeof spreadOf> =>
    spreadOf(samples.map((sample) => (pick(sample) * 1000) / messages))
  const cost = {
    send: of((sample) => sample.send),
    store: of((sample) => sample.store),
    read: of((sample) => sample.read),
    handle: of((sample) => sample.handle),
    settle: of((sample) => sample.settle),
  }
  return {
    name,
    figures: Object.fromEntries(Object.entries(cost).map(([stage, values]) => [stage, spread(values, fine)])),
    data: { messages, bytes, keyed, micros: cost },
    faults: summed([...samples, ...(warmUp === undefined ? [] : [warmUp])].map((sample) => sample.faults)),
    targets: [],
  }
}

import type { Measured } from '../compare/task.ts'
import { createLedger, summed } from '../ledger.ts'
import { laneOf, numberOf, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'
import { readiness } from './readiness.ts'
import { collectGarbage, lanesOf, type Stage, stallMs, startWatch, unsettledOn } from './stage.ts'

/** Every message to each group, sent and handled at once: from the first send to the last handler of the last group. */
export async function fanOut(stage: Stage, messages: number): Promise<Measured> {
  const { connection, task, place } = stage
  collectGarbage()
  const groups = place.groups.map((group) => ({ group, ledger: createLedger(messages, lanesOf(task)), ready: readiness() }))
  const wanted = messages * groups.length
  let count = 0
  let finish: () => void = () => undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const consuming = []
  for (const { group, ledger, ready } of groups) {
    consuming.push(
      await connection.consume((work) => {
        const n = numberOf(work)
        if (n < 0) return ready.handled()
        const before = ledger.count
        ledger.handled(n, task.keyed ? laneOf(work) : -1)
        count += ledger.count - before
        if (count === wanted) finish()
      }, group),
    )
  }
  const [first, ...others] = groups.map(({ ready }) => ready)
  await first?.probe(connection)
  await Promise.all(others.map((ready) => ready.reached()))
  const watch = startWatch(task)
  await connection.sendAll(messages, workOf(task.bytes, lanesOf(task)))
  await Promise.race([
    finished,
    settledDown(
      () => count >= wanted,
      () => count,
      stallMs,
    ),
  ])
  const took = watch.stop()
  await Promise.all(consuming.map((each) => each.close()))
  return {
    ...took,
    messages: wanted,
    sent: messages,
    confirmed: messages,
    received: groups.reduce((sum, { ledger }) => sum + ledger.received, 0),
    faults: summed(groups.map(({ ledger }) => ledger.faults(messages))),
    unsettled: await unsettledOn(stage),
  }
}

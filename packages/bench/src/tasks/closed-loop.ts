// As fast as it goes: what is sent is not held back by a schedule, only by what the client has room for.

import { sleep } from '../clock.ts'
import type { Handle } from '../compare/client.ts'
import type { Measured, Task } from '../compare/task.ts'
import { createLedger, type Ledger } from '../ledger.ts'
import { laneOf, numberOf, type Work, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'
import { readiness } from './readiness.ts'
import { collectGarbage, lanesOf, type Stage, stallMs, startWatch, type Taken, unsettledOn, type Watch } from './stage.ts'

/** Stores so many messages, from the first call to the last confirm. */
export async function produce({ connection, task }: Stage, messages: number): Promise<Omit<Measured, 'faults' | 'unsettled' | 'received'>> {
  collectGarbage()
  const make = workOf(task.bytes, lanesOf(task))
  const watch = startWatch(task)
  await connection.sendAll(messages, make)
  return { ...watch.stop(), messages, sent: messages, confirmed: messages }
}

/** Handles what is queued, from the first handler to the end of the last. */
export async function consume(stage: Stage, messages: number): Promise<Measured> {
  const { connection, task, place } = stage
  collectGarbage()
  const ledger = createLedger(messages, lanesOf(task))
  const seen = ticking(ledger, task, messages)
  const consuming = await connection.consume(seen.handle, place.groups[0] ?? '')
  await seen.all
  const took = seen.took()
  await consuming.close()
  return {
    ...took,
    messages,
    sent: messages,
    confirmed: messages,
    received: ledger.received,
    faults: ledger.faults(messages),
    unsettled: await unsettledOn(stage),
  }
}

/** Both at once, from the first send to the last handler, with a consumer that was ready before. */
export async function endToEnd(stage: Stage, messages: number): Promise<Measured> {
  const { connection, task, place } = stage
  collectGarbage()
  const ledger = createLedger(messages, lanesOf(task))
  const seen = ticking(ledger, task, messages)
  const ready = readiness()
  const handle: Handle = (work) => (numberOf(work) < 0 ? ready.handled() : seen.handle(work))
  const consuming = await connection.consume(handle, place.groups[0] ?? '')
  await ready.probe(connection)
  seen.start()
  await connection.sendAll(messages, workOf(task.bytes, lanesOf(task)))
  await seen.all
  const took = seen.took()
  await consuming.close()
  return {
    ...took,
    messages,
    sent: messages,
    confirmed: messages,
    received: ledger.received,
    faults: ledger.faults(messages),
    unsettled: await unsettledOn(stage),
  }
}

/** Ticks off what is handled, and knows what it took from the start, or else the first message, to the last. */
function ticking(ledger: Ledger, task: Task, messages: number) {
  let watch: Watch | undefined
  let taken: Taken | undefined
  let finish: () => void = () => undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  function tick(work: Work): void {
    ledger.handled(numberOf(work), task.keyed ? laneOf(work) : -1)
    if (ledger.count === messages && taken === undefined) {
      taken = watch?.stop()
      finish()
    }
  }
  function start(): void {
    watch ??= startWatch(task)
  }
  const handle: Handle =
    task.kind === 'slow'
      ? async (work) => {
          start()
          await sleep(task.handlerMs)
          tick(work)
        }
      : (work) => {
          start()
          tick(work)
        }
  const all = Promise.race([
    finished,
    settledDown(
      () => ledger.count >= messages,
      () => ledger.count,
      stallMs,
    ),
  ])
  return { handle, all, start, took: (): Taken => taken ?? (watch ?? startWatch(task)).stop() }
}

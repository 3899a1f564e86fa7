import { type Broker, type Consumer, connect, type Message } from '@posthorn/core'
import { monotonic, processorMs } from './clock.ts'
import type { Place } from './driver.ts'
import { feed } from './feed.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { laneOf, numberOf, type Work, workOf, workTopic } from './messages.ts'
import { type Meter, metered } from './metered.ts'
import { settledDown } from './progress.ts'
import type { Job, Sample } from './sample.ts'

/** Sends and handles at the same time, end to end, with the options that an application gets without asking. */
export async function coreRun(place: Place, job: Job): Promise<Sample> {
  const broker = await connect(place.adapter, { log: false, name: 'bench' })
  const ledger = createLedger(job.messages, job.lanes)
  const work = workTopic(job.keyed)
  await broker.declare(work)
  const all = counter(job.messages)
  const consumer = await consume(broker, job, ledger, all.one)
  const producer = broker.producer(work)
  const since = monotonic()
  const processor = processorMs()
  await Promise.all([
    feed(producer, job.messages, workOf(job.bytes, job.lanes)),
    Promise.race([
      all.done,
      settledDown(
        () => all.over(),
        () => ledger.count,
        job.stallMs,
      ),
    ]),
  ])
  const wallMs = monotonic() - since
  const took = processorMs() - processor
  await consumer.close()
  await broker.close()
  return { wallMs, processorMs: took, faults: ledger.faults(job.messages) }
}

/** What each stage of a message took in one run, in milliseconds for all of them. */
export interface StageSample {
  readonly send: number
  readonly store: number
  readonly read: number
  readonly handle: number
  readonly settle: number
  readonly faults: Sample['faults']
}

/** Sends all, then handles all, so that each stage is seen by itself: what is not inside a call to the adapter is core's and the handler's. */
export async function stageRun(place: Place, job: Job, meter: Meter): Promise<StageSample> {
  const broker = await connect(metered(place.adapter, meter), { log: false, name: 'bench' })
  const ledger = createLedger(job.messages, job.lanes)
  const work = workTopic(job.keyed)
  await broker.declare(work)
  const sendSince = monotonic()
  await feed(broker.producer(work), job.messages, workOf(job.bytes, job.lanes))
  const sendMs = monotonic() - sendSince
  const { storeMs } = meter
  const all = counter(job.messages)
  const since = monotonic()
  const consumer = await consume(broker, job, ledger, all.one)
  await Promise.race([
    all.done,
    settledDown(
      () => all.over(),
      () => ledger.count,
      job.stallMs,
    ),
  ])
  await consumer.close()
  const handleMs = monotonic() - since
  await broker.close()
  return {
    send: sendMs - storeMs,
    store: storeMs,
    read: meter.readMs,
    handle: handleMs - meter.readMs - meter.settleMs,
    settle: meter.settleMs,
    faults: ledger.faults(job.messages),
  }
}

function consume(broker: Broker, job: Job, ledger: Ledger, one: () => void): Promise<Consumer> {
  const { keyed } = job
  return broker.consume(workTopic(keyed), { group: 'bench' }, ({ value }: Message<Work>) => {
    ledger.handled(numberOf(value), keyed ? laneOf(value) : -1)
    one()
  })
}

function counter(expected: number): { one(): void; over(): boolean; readonly done: Promise<void> } {
  let count = 0
  let resolve: () => void = () => undefined
  const done = new Promise<void>((fulfil) => {
    resolve = fulfil
  })
  return {
    done,
    over: () => count >= expected,
    one() {
      count++
      if (count === expected) resolve()
    },
  }
}

// On a schedule, whatever comes back and whenever: a client that falls behind is late by what it fell behind.

import { monotonic, sleep } from '../clock.ts'
import type { Consuming } from '../compare/client.ts'
import type { LatencyTask, Measured } from '../compare/task.ts'
import { createLedger, type Ledger } from '../ledger.ts'
import { keys, laneOf, numberOf, type Work, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'
import { latencyOf } from './histogram.ts'
import { readiness } from './readiness.ts'
import { type Stage, startWatch, unsettledOn } from './stage.ts'

/** What one loop at one rate gave; what the server holds afterwards is not asked while the consumer runs on. */
export interface Loop {
  readonly measured: Omit<Measured, 'unsettled'>
  /** Milliseconds of each message that arrived, in the order in which they should have been sent. */
  readonly delays: readonly number[]
  /** Why a send was refused, with which the loop was over: the client has no room for more. */
  readonly refused: { readonly error: unknown } | undefined
}

/** A consumer that stays, and loops at one rate after the other. */
export interface OpenLoop {
  run(perSecond: number, seconds: number): Promise<Loop>
  close(): Promise<void>
}

interface Current {
  readonly first: number
  readonly ledger: Ledger
  readonly handled: Float64Array
}

/** Starts the consumer and waits until it is ready. */
export async function openLoop({ connection, place, task }: Stage): Promise<OpenLoop> {
  const ready = readiness()
  let current: Current | undefined
  let next = 0
  const consuming: Consuming = await connection.consume((work: Work) => {
    const number = numberOf(work)
    if (number < 0) return ready.handled()
    if (current === undefined) return
    const n = number - current.first
    // What an earlier loop has not seen in time comes late and is counted there as lost.
    if (n < 0) return
    if (current.handled[n] === 0) current.handled[n] = monotonic()
    current.ledger.handled(n, task.keyed ? laneOf(work) : -1)
  }, place.groups[0] ?? '')
  await ready.probe(connection)

  async function run(perSecond: number, seconds: number): Promise<Loop> {
    const messages = Math.max(1, Math.round(perSecond * seconds))
    const first = next
    next += messages
    const ledger = createLedger(messages, keys)
    const handled = new Float64Array(messages)
    current = { first, ledger, handled }
    const make = workOf(task.bytes)
    const called = new Float64Array(messages)
    let confirmed = 0
    let refusals = 0
    let failure: { readonly error: unknown } | undefined
    const done = (): void => void confirmed++
    const failed = (error: unknown): void => {
      refusals++
      failure ??= { error }
    }
    const watch = startWatch(task)
    const since = monotonic() + 5
    const dueAt = (n: number): number => since + (n * 1000) / perSecond
    let sent = 0
    while (sent < messages && failure === undefined) {
      const now = monotonic()
      for (; sent < messages && dueAt(sent) <= now; sent++) {
        called[sent] = monotonic()
        connection.send(make(first + sent)).then(done, failed)
      }
      await sleep(1)
    }
    await settledDown(
      () => ledger.count >= sent - refusals && confirmed + refusals >= sent,
      () => ledger.count + confirmed + refusals,
      10_000,
    )
    const took = watch.stop()
    const delays: number[] = []
    const fromCall: number[] = []
    for (let n = 0; n < messages; n++) {
      const at = handled[n] ?? 0
      if (at === 0) continue
      delays.push(at - dueAt(n))
      fromCall.push(at - (called[n] ?? 0))
    }
    return {
      measured: {
        ...took,
        messages,
        sent,
        confirmed,
        received: ledger.received,
        perSecond,
        latency: latencyOf(delays, fromCall),
        faults: ledger.faults(sent - refusals),
      },
      delays,
      refused: failure,
    }
  }
  return { run, close: () => consuming.close() }
}

/** One loop at each rate, on one connection. */
export async function latencies(stage: Stage, { rates, seconds }: LatencyTask): Promise<Readonly<Record<string, Measured>>> {
  const loop = await openLoop(stage)
  const loops: [string, Loop['measured']][] = []
  for (const rate of rates) {
    const { measured, refused } = await loop.run(rate, Math.max(seconds, 40 / rate))
    if (refused !== undefined) throw refused.error
    loops.push([`${rate}/s`, measured])
  }
  await loop.close()
  const unsettled = await unsettledOn(stage)
  return Object.fromEntries(loops.map(([name, measured]) => [name, { ...measured, unsettled }]))
}

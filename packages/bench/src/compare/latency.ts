import { monotonic, processorMs, sleep } from '../clock.ts'
import { createLedger } from '../ledger.ts'
import { keys, laneOf, numberOf, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'
import type { Connection } from './client.ts'
import { readiness } from './readiness.ts'
import type { LatencyTask, Measured, Task } from './task.ts'

/**
 * Sends on a schedule, whatever comes back and whenever: a client that falls behind is late by what it fell behind.
 * Each message counts from the moment in which it should have been sent to the moment in which its handler starts.
 */
export async function measureLatency(
  connection: Connection,
  task: Task & LatencyTask,
  unsettled: () => Promise<number>,
): Promise<Measured> {
  const messages = task.perSecond * task.seconds
  const ledger = createLedger(messages, keys)
  const ready = readiness()
  const called = new Float64Array(messages)
  const handled = new Float64Array(messages)
  const consuming = await connection.consume((work) => {
    const n = numberOf(work)
    if (n < 0) return ready.handled()
    if (handled[n] === 0) handled[n] = monotonic()
    ledger.handled(n, task.keyed ? laneOf(work) : -1)
  })
  await ready.probe(connection)

  const make = workOf(task.bytes)
  const processor = processorMs()
  const since = monotonic() + 5
  const dueAt = (n: number): number => since + (n * 1000) / task.perSecond
  let failure: { readonly error: unknown } | undefined
  const failed = (error: unknown): void => {
    failure ??= { error }
  }
  for (let n = 0; n < messages && failure === undefined; ) {
    const now = monotonic()
    for (; n < messages && dueAt(n) <= now; n++) {
      called[n] = monotonic()
      connection.send(make(n)).catch(failed)
    }
    await sleep(1)
  }
  if (failure !== undefined) throw failure.error
  await settledDown(
    () => ledger.count >= messages,
    () => ledger.count,
    10_000,
  )
  const wallMs = monotonic() - since
  const processorTook = processorMs() - processor
  await consuming.close()

  const arrived = Array.from({ length: messages }, (_, n) => n).filter((n) => handled[n] !== 0)
  const sorted = (of: (n: number) => number): number[] => arrived.map(of).sort((a, b) => a - b)
  const fromDue = sorted((n) => (handled[n] ?? 0) - dueAt(n))
  const fromCall = sorted((n) => (handled[n] ?? 0) - (called[n] ?? 0))
  return {
    messages,
    wallMs,
    processorMs: processorTook,
    latency: {
      p50: quantile(fromDue, 0.5),
      p99: quantile(fromDue, 0.99),
      p999: quantile(fromDue, 0.999),
      p50OfCall: quantile(fromCall, 0.5),
      worst: fromDue.at(-1) ?? Number.NaN,
    },
    faults: ledger.faults(messages),
    unsettled: await unsettled(),
  }
}

/** The value below which this share of the sorted values lies. */
export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

import { monotonic, processorMs, turn } from './clock.ts'
import { chunk } from './feed.ts'
import { createLedger } from './ledger.ts'
import { laneOf, numberOf, type Work, workOf } from './messages.ts'
import type { Job, Sample } from './sample.ts'

/**
 * What the same work costs without a library: each value becomes JSON bytes, waits in an array, is read from its bytes and
 * ticked off. No ids, no promises per message, no settlement: the floor, not a rival.
 */
export async function bareRun(job: Job): Promise<Sample> {
  const { messages } = job
  const make = workOf(job.bytes, job.lanes)
  const ledger = createLedger(messages, job.lanes)
  const queue: Buffer[] = []
  const since = monotonic()
  const processor = processorMs()
  for (let n = 0; n < messages; ) {
    for (const end = Math.min(messages, n + chunk); n < end; n++) queue.push(Buffer.from(JSON.stringify(make(n))))
    for (const body of queue) {
      const work = JSON.parse(body.toString()) as Work
      ledger.handled(numberOf(work), job.keyed ? laneOf(work) : -1)
    }
    queue.length = 0
    await turn()
  }
  return { wallMs: monotonic() - since, processorMs: processorMs() - processor, faults: ledger.faults(messages) }
}

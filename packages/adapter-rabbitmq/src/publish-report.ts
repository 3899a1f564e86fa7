// The outcome of one batch while it comes in.

import type { Outgoing, PublishReport } from '@posthorn/core/adapter'
import { fault } from './explain.ts'

export type Failure = PublishReport['failures'][number]

export interface Report {
  readonly result: Promise<PublishReport>
  /** From now on the outcome of this message is unknown if the batch is given up. */
  wrote(index: number): void
  /** The outcome of a message; the first one counts. */
  done(index: number, failure: Failure | null): void
  /** The batch is given up. */
  readonly abort: () => void
}

const stored: PublishReport = Object.freeze({ failures: Object.freeze([]), position: () => null })

/** Resolves when every message has its outcome, or at once when it is given up: what was written is unknown then, the rest failed. */
export function createReport(size: number): Report {
  const failures: Failure[] = []
  const finished = new Uint8Array(size)
  const written = new Uint8Array(size)
  let left = size
  let resolve: (report: PublishReport) => void = () => {}
  const result = new Promise<PublishReport>((settle) => {
    resolve = settle
  })
  function done(index: number, failure: Failure | null): void {
    if (finished[index] === 1) return
    finished[index] = 1
    if (failure !== null) failures.push(failure)
    if (--left === 0) resolve(failures.length === 0 ? stored : { failures, position: () => null })
  }
  if (size === 0) resolve(stored)
  return {
    result,
    wrote(index) {
      written[index] = 1
    },
    done,
    abort() {
      for (let index = 0; index < size; index++) {
        const outcome = written[index] === 1 ? 'unknown' : 'failed'
        done(index, { index, outcome, error: cancelled(outcome) })
      }
    },
  }
}

export const cancelled = (outcome: 'failed' | 'unknown'): Error => fault('CANCELLED', 'the publish was given up', outcome)

export function failedAll(batch: readonly Outgoing[], error: Error): PublishReport {
  return { failures: batch.map((_, index) => ({ index, outcome: 'failed' as const, error })), position: () => null }
}

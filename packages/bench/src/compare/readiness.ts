import { type Work, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'
import type { Connection } from './client.ts'

const stallMs = 15_000

/** A consumer is ready when it has handled messages of every key: nothing is slept over. */
export function readiness(): { handled(): void; probe(connection: Connection): Promise<void> } {
  let handled = 0
  return {
    handled: () => void handled++,
    async probe(connection) {
      const make = workOf(100)
      const probes = 100
      for (let n = 1; n <= probes; n++) await connection.send({ ...make(n), ...numbered(-n) })
      await settledDown(
        () => handled >= probes,
        () => handled,
        stallMs,
      )
      if (handled < probes) throw new Error(`the consumer handled ${handled} of ${probes} messages before the measurement`)
    },
  }
}

// A message whose number no ledger counts.
const numbered = (n: number): Pick<Work, 'n'> => ({ n: workOf(100)(n).n })

import type { Connection } from '../compare/client.ts'
import { type Work, workOf } from '../messages.ts'
import { settledDown } from '../progress.ts'

const stallMs = 15_000
const probes = 100

/** Knows when a consumer is ready: it has handled messages of many keys. Nothing is slept over. */
export interface Readiness {
  /** A probe was handled. */
  handled(): void
  /** Sends the probes and resolves when they are handled. */
  probe(connection: Connection): Promise<void>
  /** Resolves when the probes that somebody else sent are handled. */
  reached(): Promise<void>
}

/** Makes the readiness of one consumer. */
export function readiness(): Readiness {
  let handled = 0
  async function reached(): Promise<void> {
    await settledDown(
      () => handled >= probes,
      () => handled,
      stallMs,
    )
    if (handled < probes) throw new Error(`the consumer handled ${handled} of ${probes} messages before the measurement`)
  }
  return {
    handled: () => void handled++,
    async probe(connection) {
      const make = workOf(100)
      for (let n = 1; n <= probes; n++) await connection.send({ ...make(n), ...numbered(-n) })
      await reached()
    },
    reached,
  }
}

// A message whose number no ledger counts.
const numbered = (n: number): Pick<Work, 'n'> => ({ n: numberOfNone + n })
const numberOfNone = workOf(0)(0).n

// Errors of the embedded broker: plain `Error` objects with a private code, and the one place that reads it.

import type { Fault, FaultCode } from '../contract.ts'

const mark: unique symbol = Symbol('posthorn.memory.fault')

interface Marked extends Error {
  [mark]?: Fault
}

const retryable: ReadonlySet<FaultCode> = new Set<FaultCode>(['UNAVAILABLE', 'TIMED_OUT'])
const unclassified: Fault = Object.freeze({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })

/** Makes an error of this adapter. `outcome` speaks about a publish: was it refused before anything was stored, or is that not known? */
export function fault(code: FaultCode, text: string, outcome: Fault['outcome'] = 'none'): Error {
  const error: Marked = new Error(text)
  Object.defineProperty(error, mark, { value: Object.freeze({ code, retryable: retryable.has(code), outcome }) })
  return error
}

/** Classifies what this adapter threw. Anything else is INTERNAL, and of a publish unknown. Never throws. */
export function explain(error: unknown): Fault {
  try {
    if (error instanceof Error) return (error as Marked)[mark] ?? unclassified
  } catch {
    // A proxy whose traps throw is no error of ours.
  }
  return unclassified
}

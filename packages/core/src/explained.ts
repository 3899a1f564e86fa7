import type { Adapter, Fault } from './contract.ts'

const unclassified: Fault = Object.freeze({ code: 'INTERNAL', retryable: false, outcome: 'unknown' })

/** The adapter's classification of an error. Promised not to throw; an adapter that does so anyway must not hide the error. */
export function explained(adapter: Adapter, error: unknown): Fault {
  try {
    return adapter.explain(error)
  } catch {
    return unclassified
  }
}

import type { Assignment } from './contract.ts'

/** Assignments on their way from an adapter to core. */
export interface AssignmentQueue<A extends Assignment> {
  /** What `Session.subscribe` returns: each assignment once, in order, then the end or the error. */
  readonly iterable: AsyncIterable<Assignment>
  push(assignment: A): void
  /** Is it here still, unseen by core? */
  has(assignment: A): boolean
  /** Takes one out that core has not seen. False: core has it. */
  withdraw(assignment: A): boolean
  /** The last one was pushed. */
  end(): void
  /** Ends it with an error, after what was pushed before. */
  fail(error: unknown): void
}

interface Reader {
  resolve(result: IteratorResult<Assignment>): void
  reject(error: unknown): void
}

/** Makes an empty queue for one reader; `stopped` is called when the reader stops by itself. */
export function createAssignmentQueue<A extends Assignment>(stopped: () => void): AssignmentQueue<A> {
  const fresh: A[] = []
  let over = false
  let failure: { readonly error: unknown } | null = null
  let reader: Reader | null = null

  function deliver(): void {
    const waiting = reader
    if (waiting === null) return
    const assignment = fresh.shift()
    if (assignment === undefined && !over) return
    reader = null
    if (assignment !== undefined) return waiting.resolve({ value: assignment, done: false })
    const failed = failure
    failure = null
    if (failed === null) waiting.resolve({ value: undefined, done: true })
    else waiting.reject(failed.error)
  }

  return {
    iterable: {
      [Symbol.asyncIterator]: () => ({
        next: () =>
          new Promise((resolve, reject) => {
            reader = { resolve, reject }
            deliver()
          }),
        return() {
          stopped()
          return Promise.resolve({ value: undefined, done: true })
        },
      }),
    },
    push(assignment) {
      fresh.push(assignment)
      deliver()
    },
    has: (assignment) => fresh.includes(assignment),
    withdraw(assignment) {
      const at = fresh.indexOf(assignment)
      if (at >= 0) fresh.splice(at, 1)
      return at >= 0
    },
    end() {
      over = true
      deliver()
    },
    fail(error) {
      failure = { error }
      over = true
      deliver()
    },
  }
}

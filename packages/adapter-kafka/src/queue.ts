// Assignments on their way to core, one behind the other, each yielded once.

import type { Assignment } from '@posthorn/core/adapter'

export interface AssignmentQueue<A extends Assignment> {
  readonly iterable: AsyncIterable<Assignment>
  push(assignment: A): void
  /** Takes one out that core has not seen. False: core has it. */
  withdraw(assignment: A): boolean
  end(): void
  /** Ends it with a terminal error. */
  fail(error: unknown): void
}

/** Makes an empty queue; `stopped` is called when the reader stops by itself. */
export function assignmentQueue<A extends Assignment>(stopped: () => void): AssignmentQueue<A> {
  const fresh: A[] = []
  let over = false
  let failure: { readonly error: unknown } | null = null
  let pull: { readonly resolve: (result: IteratorResult<Assignment>) => void; readonly reject: (error: unknown) => void } | null = null
  const next = (): Promise<IteratorResult<Assignment>> => {
    const assignment = fresh.shift()
    if (assignment !== undefined) return Promise.resolve({ value: assignment, done: false })
    if (failure !== null) {
      const { error } = failure
      failure = null
      return Promise.reject(error)
    }
    if (over) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => {
      pull = { resolve, reject }
    })
  }
  return {
    push(assignment) {
      const waiting = pull
      pull = null
      if (waiting === null) fresh.push(assignment)
      else waiting.resolve({ value: assignment, done: false })
    },
    withdraw(assignment) {
      const at = fresh.indexOf(assignment)
      if (at >= 0) fresh.splice(at, 1)
      return at >= 0
    },
    end() {
      over = true
      pull?.resolve({ value: undefined, done: true })
      pull = null
    },
    fail(error) {
      over = true
      if (pull === null) failure = { error }
      else pull.reject(error)
      pull = null
    },
    iterable: {
      [Symbol.asyncIterator]: () => ({
        next,
        return() {
          stopped()
          return Promise.resolve({ value: undefined, done: true })
        },
      }),
    },
  }
}

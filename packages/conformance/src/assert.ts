// How a clause ends early: as failed, vacuous or not proven. Nothing else may be thrown to say so.

import { inspect, isDeepStrictEqual } from 'node:util'

/** A clause that did not hold. `ids`: the messages whose history helps. */
export class ClauseFailure extends Error {
  override readonly name = 'ClauseFailure'
  readonly kind: 'fail' | 'vacuous' | 'not proven'
  readonly ids: readonly string[]
  constructor(kind: 'fail' | 'vacuous' | 'not proven', message: string, ids: readonly string[] = []) {
    super(message)
    this.kind = kind
    this.ids = ids
  }
}

/** @throws ClauseFailure always */
export function fail(what: string, ids: readonly string[] = []): never {
  throw new ClauseFailure('fail', what, ids)
}

/** A value for people, on one line where it fits. */
export function shown(value: unknown): string {
  return typeof value === 'string'
    ? JSON.stringify(value)
    : inspect(value, { depth: 4, breakLength: 120, maxArrayLength: 20, maxStringLength: 300 })
}

export function equal(actual: unknown, expected: unknown, what: string): void {
  if (!isDeepStrictEqual(actual, expected)) fail(`${what}: expected ${shown(expected)}, found ${shown(actual)}`)
}

export function atMost(actual: number, most: number, what: string): void {
  if (!(actual <= most)) fail(`${what}: at most ${most} expected, found ${actual}`)
}

export function atLeast(actual: number, least: number, what: string): void {
  if (!(actual >= least)) fail(`${what}: at least ${least} expected, found ${actual}`)
}

// Real time, what it cost, and chance: the only place of this package that asks for any of them.

import { randomBytes, randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'

/** Milliseconds that only grow, the same for all processes of this machine. */
export const sharedMonotonic = (): number => Number(process.hrtime.bigint()) / 1e6

/** Milliseconds that only grow. */
export const monotonic = (): number => performance.now()

/** Milliseconds of processor time that this process took, all its threads together. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Resolves after `ms` milliseconds. */
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

/** Resolves in a later turn of the event loop. */
export const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Wall clock, in milliseconds since 1970: what messages say about when they were made. Nothing is measured with it. */
export const wallClock = (): number => Date.now()

/** Runs `run` once after `ms` milliseconds; returns what cancels it. */
export function after(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}

/** Runs `run` every `ms` milliseconds; returns what ends it. */
export function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms)
  return () => clearInterval(timer)
}

/** A random UUID. */
export const newUuid = (): string => randomUUID()

/** So many characters without any pattern. */
export const randomText = (length: number): string =>
  randomBytes(Math.ceil((length * 3) / 4))
    .toString('base64url')
    .slice(0, length)

/** So many random bytes, as hexadecimal text. */
export const randomHex = (bytes: number): string => randomBytes(bytes).toString('hex')

/** Runs it at the end of this turn of the event loop. */
export function soon(run: () => void): void {
  setImmediate(run)
}

// What the proxy knows of a link, in a file that it rewrites before it passes on the bytes that changed it. The suite reads it when
// it asks, so an answer is never older than what the client can have seen.

import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { Operation } from '../harness.ts'

/** All operations, in the order in which their counts are kept. */
export const operations: readonly Operation[] = [
  'connect',
  'declare',
  'publish',
  'subscribe',
  'read',
  'settle',
  'release',
  'leave',
  'renew',
  'browse',
  'remove',
  'inspect',
]

/** What is known of a link at one moment. */
export interface LinkState {
  /** Orders that are in force. */
  applied: number
  /** Connections that both ends still hold. */
  connections: number
  withheld: number
  connects: number
  /** Requests without an answer, by operation. */
  readonly open: number[]
}

const fields = 4 + operations.length
const headBytes = 4096

/** Of a link that nobody used yet. */
export const emptyState = (): LinkState => ({ applied: 0, connections: 0, withheld: 0, connects: 0, open: operations.map(() => 0) })

/** The proxy's end of a state file. */
export interface StateWriter {
  write(state: LinkState): void
  /** Appends the time of an attempt to connect, on the clock that all processes share. Count it in the state afterwards. */
  connect(index: number, atMs: number): void
  close(): void
}

/** Makes the file, or empties it. */
export function stateWriter(file: string): StateWriter {
  const descriptor = openSync(file, 'w+')
  const numbers = new Float64Array(fields + 2)
  const bytes = new Uint8Array(numbers.buffer)
  let version = 0
  const writer: StateWriter = {
    write({ applied, connections, withheld, connects, open }) {
      // The same number at both ends tells a reader that it saw no half of it.
      numbers[0] = numbers[fields + 1] = ++version
      numbers[1] = applied
      numbers[2] = connections
      numbers[3] = withheld
      numbers[4] = connects
      numbers.set(open, 5)
      writeSync(descriptor, bytes, 0, bytes.length, 0)
    },
    connect(index, atMs) {
      writeSync(descriptor, new Uint8Array(new Float64Array([atMs]).buffer), 0, 8, headBytes + 8 * index)
    },
    close: () => closeSync(descriptor),
  }
  writer.write(emptyState())
  return writer
}

/** The suite's end of a state file. */
export interface StateReader {
  read(): LinkState
  /** Times of the first `count` attempts to connect. */
  connects(count: number): readonly number[]
  close(): void
}

/** Opens a file that a writer made. */
export function stateReader(file: string): StateReader {
  const descriptor = openSync(file, 'r')
  const numbers = new Float64Array(fields + 2)
  const bytes = new Uint8Array(numbers.buffer)
  const times: number[] = []
  return {
    read() {
      do readSync(descriptor, bytes, 0, bytes.length, 0)
      while (numbers[0] !== numbers[fields + 1])
      const [, applied = 0, connections = 0, withheld = 0, connects = 0] = numbers
      return { applied, connections, withheld, connects, open: [...numbers.subarray(5, 5 + operations.length)] }
    },
    connects(count) {
      if (times.length < count) {
        const more = new Float64Array(count - times.length)
        readSync(descriptor, new Uint8Array(more.buffer), 0, more.byteLength, headBytes + 8 * times.length)
        times.push(...more)
      }
      return times.slice(0, count)
    },
    close: () => closeSync(descriptor),
  }
}

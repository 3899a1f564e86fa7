// Orders travel from the suite to the proxy's process through a file that only grows. The proxy looks into it before it passes on
// anything that it received, so an order holds for every byte that is written after the call that gave it: no message between
// processes could promise that.

import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { Operation } from '../harness.ts'

/** What the suite asks of a link. */
export type Order =
  | { readonly do: 'cut' | 'rst' | 'forget' | 'heal' | 'close' }
  | { readonly do: 'refuse'; readonly on: boolean }
  | { readonly do: 'silence'; readonly direction: 'up' | 'down' | 'both' }
  | { readonly do: 'delay'; readonly latencyMs: number; readonly jitterMs: number }
  | { readonly do: 'throttle'; readonly bytesPerSecond: number | null }
  | { readonly do: 'slices' | 'lumps'; readonly bytes: number | null }
  | { readonly do: 'withhold'; readonly operations: readonly Operation[] }
  | { readonly do: 'drop'; readonly operations: readonly Operation[] }
  | { readonly do: 'cutAfter'; readonly operation: Operation; readonly short: number }
  | { readonly do: 'corrupt'; readonly bytes: number }

/** An order for one link. `seq` counts the orders of that link from 1. */
export interface SentOrder {
  readonly link: number
  readonly seq: number
  readonly order: Order
}

/** Where orders are written. */
export interface OrderWriter {
  write(order: SentOrder): void
  close(): void
}

/** The suite's end. */
export function orderWriter(file: string): OrderWriter {
  const descriptor = openSync(file, 'a')
  return {
    write(order) {
      writeSync(descriptor, `${JSON.stringify(order)}\n`)
    },
    close: () => closeSync(descriptor),
  }
}

/** The proxy's end: hands out, once each and in order, what was written since it last looked. */
export function orderReader(file: string, take: (order: SentOrder) => void): () => void {
  const descriptor = openSync(file, 'r')
  const buffer = Buffer.alloc(16_384)
  let at = 0
  let rest = ''
  let busy = false
  function look(): void {
    for (;;) {
      const length = readSync(descriptor, buffer, 0, buffer.length, at)
      if (length === 0) return
      at += length
      const lines = (rest + buffer.toString('latin1', 0, length)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) take(JSON.parse(line) as SentOrder)
    }
  }
  return () => {
    // Obeying an order may make one look again; the orders would overtake each other.
    if (busy) return
    busy = true
    try {
      look()
    } finally {
      busy = false
    }
  }
}

// What travels beside the body, the same for every client: the bare ones write what Posthorn writes, or the ratio would compare
// two sizes of message.

import { wire } from '@posthorn/core/adapter'
import { newUuid, randomHex, wallClock } from '../clock.ts'

/** CloudEvents attributes that all messages of a run share. */
export const shared = { specversion: '1.0', source: 'bench', datacontenttype: 'application/json' } as const

/** Makes ids as Posthorn's: a random UUID each. */
export const newId = (): string => newUuid()

let spans = 0
const trace = randomHex(8)

/** A `traceparent` of its own for each message, as cheap as one can be. */
export function newTraceparent(): string {
  const count = (++spans).toString(16).padStart(16, '0')
  return `00-${trace}${count}-${count}-01`
}

let at = 0
let text = ''

/** The time now as CloudEvents writes it: made once per millisecond. */
export function timeText(): string {
  const now = wallClock()
  if (now !== at) {
    at = now
    text = new Date(now).toISOString()
  }
  return text
}

/** The second of the last `timeText`, as AMQP writes it. */
export const timeSeconds = (): number => Math.floor(at / 1000)

const encoder = new TextEncoder()
const known = new Map<string, number>()

/** The partition of a key as Posthorn chooses it, remembered: bare clients pay one look-up. */
export function partitionOf(key: string, partitions: number): number {
  const found = known.get(key)
  if (found !== undefined) return found
  const partition = (wire.murmur2(encoder.encode(key)) & 0x7fffffff) % partitions
  known.set(key, partition)
  return partition
}

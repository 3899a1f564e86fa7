// Kafka's murmur2, bit for bit: key to partition is the same on every broker and for every Kafka client that uses the
// Java client's partitioner, so producers in other languages meet our partitions.

const seed = 0x9747b28c
const m = 0x5bd1e995

/** The hash of Kafka's Java client over these bytes, as a signed 32-bit number. Total: any bytes, none included. */
export function murmur2(bytes: Uint8Array): number {
  return hash(bytes, bytes.length)
}

// Hashing is synchronous, so one scratch for all short keys is enough and nothing is allocated for them.
const scratch = new Uint8Array(1024)
const encoder = new TextEncoder()

/**
 * The partition of a key, from 0 to `partitions` - 1: murmur2 of its UTF-8 bytes without the sign, modulo the count.
 * The same key always gets the same partition while the count stays; the empty string is a key like any other.
 */
export function partitionOf(key: string, partitions: number): number {
  return (keyHash(key) & 0x7fffffff) % partitions
}

function keyHash(key: string): number {
  const length = key.length
  if (length * 3 > scratch.length) return murmur2(Buffer.from(key))
  for (let i = 0; i < length; i++) {
    const code = key.charCodeAt(i)
    if (code > 0x7f) return hash(scratch, encoder.encodeInto(key, scratch).written)
    scratch[i] = code
  }
  return hash(scratch, length)
}

// Every index below is inside `length`, which no caller lets exceed the array: the `!` are free of cost and of doubt.
function hash(bytes: Uint8Array, length: number): number {
  let h = seed ^ length
  const whole = length & ~3
  for (let i = 0; i < whole; i += 4) {
    let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    k = Math.imul(k, m)
    k ^= k >>> 24
    h = Math.imul(h, m) ^ Math.imul(k, m)
  }
  const rest = length & 3
  if (rest > 0) {
    if (rest > 2) h ^= bytes[whole + 2]! << 16
    if (rest > 1) h ^= bytes[whole + 1]! << 8
    h = Math.imul(h ^ bytes[whole]!, m)
  }
  h ^= h >>> 13
  h = Math.imul(h, m)
  return h ^ (h >>> 15)
}

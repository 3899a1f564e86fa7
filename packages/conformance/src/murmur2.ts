// Key to partition by the published rule (Kafka's murmur2, as in docs/wire.md), written apart from the library, because a check
// that calls what it checks proves nothing.

/** The partition of a key among `count`. */
export function partitionOfKey(key: string, count: number): number {
  const data = new TextEncoder().encode(key)
  const m = 0x5bd1e995
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  let h = 0x9747b28c ^ data.length
  const blocks = data.length - (data.length % 4)
  for (let at = 0; at < blocks; at += 4) {
    let k = Math.imul(view.getInt32(at, true), m)
    k ^= k >>> 24
    h = Math.imul(h, m) ^ Math.imul(k, m)
  }
  const rest = data.length - blocks
  if (rest === 3) h ^= (data[blocks + 2] as number) << 16
  if (rest >= 2) h ^= (data[blocks + 1] as number) << 8
  if (rest >= 1) h = Math.imul(h ^ (data[blocks] as number), m)
  h ^= h >>> 13
  h = Math.imul(h, m)
  h ^= h >>> 15
  return (h & 0x7fffffff) % count
}

/** For each partition the first of `prefix0, prefix1, …` that maps to it. */
export function keysOfPartitions(count: number, prefix = 'k'): readonly string[] {
  const keys = new Array<string | undefined>(count).fill(undefined)
  for (let n = 0, left = count; left > 0; n++) {
    const key = `${prefix}${n}`
    const partition = partitionOfKey(key, count)
    if (keys[partition] === undefined) {
      keys[partition] = key
      left--
    }
  }
  return keys as readonly string[]
}

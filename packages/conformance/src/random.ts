/** A small generator (mulberry32): the same numbers in [0, 1) for the same seed, everywhere. */
export function seeded(seed: number): () => number {
  let state = (seed * 0x9e3779b1 + 0x7f4a7c15) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A seed of its own for each clause, so that a clause repeats alone as it ran among others. */
export function seedFor(seed: number, text: string): number {
  let hash = seed >>> 0
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0
  return hash
}

/**
 * Randomness that makes a full-jitter backoff wait its whole delay: always within 2^-16 of 1, so that a delay under 65 s rounds up
 * to itself, while the low bits still differ and ids made from them stay unique.
 */
export function nearlyOne(random: () => number): () => number {
  return () => 1 - (random() + Number.EPSILON) / 65_536
}

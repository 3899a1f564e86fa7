/** A retry policy with every field filled in. Durations in milliseconds. */
export interface Backoff {
  readonly firstDelayMs: number
  readonly factor: number
  readonly maxDelayMs: number
}

/**
 * How long to wait after the `failures`-th failure (1 is the first), in whole milliseconds: a random part of
 * `firstDelayMs × factor^(failures − 1)`, capped at `maxDelayMs`. Full jitter: many that failed together come back apart.
 */
export function backoff(policy: Backoff, failures: number, random: () => number): number {
  // A delay of 0 stays 0, whatever infinity its factor has grown to.
  const grown = policy.firstDelayMs === 0 ? 0 : policy.firstDelayMs * policy.factor ** Math.max(0, failures - 1)
  const full = Math.min(policy.maxDelayMs, grown)
  return Math.ceil(random() * full)
}

/**
 * How long an adapter waits before its `tries`-th attempt to reconnect (1 is the first), in whole milliseconds.
 * Never under 500, so that there are at most two tries a second; doubles to 30 s; jittered, so that clients of a
 * restarted server do not come back as one.
 */
export function reconnectDelay(tries: number, random: () => number): number {
  const most = Math.min(30_000, 1000 * 2 ** Math.min(20, Math.max(0, tries - 1)))
  return Math.round(500 + random() * (most - 500))
}

// Waiting for something to become so, without waiting for ever.

/** Longest time in which nothing at all arrives, in milliseconds. Longer than any pause of this demo by far. */
export const stallMs = 10_000

/**
 * Resolves with true when `condition` holds, and with false when `moved` has not changed for `stallMs` or the signal aborts:
 * what is missing then is missing.
 */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  moved: () => number,
  { signal, patienceMs = stallMs }: { readonly signal?: AbortSignal | undefined; readonly patienceMs?: number | undefined } = {},
): Promise<boolean> {
  let last = moved()
  let since = performance.now()
  while (!(await condition())) {
    if (signal?.aborted === true) return false
    const now = moved()
    if (now !== last) {
      last = now
      since = performance.now()
    } else if (performance.now() - since > patienceMs) return false
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return true
}

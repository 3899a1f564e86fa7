// Many calls may wait on one signal; Node warns of a leak when each adds a listener, so they share one.

const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `run` when the signal is aborted (not if it is already); returns what stops waiting for it. */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  let runs = waiting.get(signal)
  if (runs === undefined) {
    runs = new Set()
    waiting.set(signal, runs)
  }
  const known = runs
  if (known.size === 0) signal.addEventListener('abort', abortAll, { once: true })
  // An entry of its own, so that one function may wait twice.
  const entry = (): void => run()
  known.add(entry)
  return () => {
    if (known.delete(entry) && known.size === 0) signal.removeEventListener('abort', abortAll)
  }
}

function abortAll(this: AbortSignal): void {
  const runs = waiting.get(this)
  if (runs === undefined) return
  const all = [...runs]
  runs.clear()
  for (const run of all) run()
}

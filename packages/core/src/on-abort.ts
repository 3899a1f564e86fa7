const listening = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Runs `run` once when the signal aborts; returns what takes it off again. Any number of waits share one listener of the
 * signal, so that a signal given to a thousand sends is no leak. The signal must not be aborted yet.
 */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  let runs = listening.get(signal)
  if (runs === undefined) {
    const made = new Set<() => void>()
    runs = made
    listening.set(signal, made)
    const abort = (): void => {
      listening.delete(signal)
      for (const each of [...made]) if (made.delete(each)) each()
    }
    signal.addEventListener('abort', abort, { once: true })
    emptied.set(made, () => {
      listening.delete(signal)
      signal.removeEventListener('abort', abort)
    })
  }
  const held = runs
  // A function of its own, so that one `run` may wait twice.
  const entry = (): void => run()
  held.add(entry)
  return () => {
    if (held.delete(entry) && held.size === 0 && !signal.aborted) emptied.get(held)?.()
  }
}
const emptied = new WeakMap<Set<() => void>, () => void>()

import type { Clock } from './contract.ts'
import { onAbort } from './on-abort.ts'

/** A signal that follows another one later. */
export interface Grace {
  readonly signal: AbortSignal
  /** Takes it off the other signal, and its timer away. */
  end(): void
}

/** Aborts `ms` milliseconds after `signal`: what is on its way by then may still end well. */
export function graceAfter(clock: Clock, signal: AbortSignal | undefined, ms: number): Grace {
  const controller = new AbortController()
  let cancel = (): void => undefined
  const begin = (): void => {
    cancel = clock.timer(ms, () => controller.abort(signal?.reason))
  }
  let off = (): void => undefined
  if (signal?.aborted) begin()
  else if (signal !== undefined) off = onAbort(signal, begin)
  return {
    signal: controller.signal,
    end() {
      off()
      cancel()
    },
  }
}

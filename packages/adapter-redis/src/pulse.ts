// A connection on which the server speaks by itself: a row of waits that it ends one after the other, so that something arrives
// every half second however long the way is. It tells a slow way, whose answers are late, from a dead one, where nothing comes.

import { explain } from './explain.ts'
import type { Link } from './link.ts'

/** Keeps the row of waits filled. */
export interface Pulse {
  /** The connection is there, or there again. */
  connected(): void
  stop(): void
}

const everyMs = 500
// Enough that the row does not end before new ones have come, on a way of 5 s there and back.
const ahead = 10
// No server has so many replicas: the wait ends by its time alone.
const never = '1000000'

/** Makes a pulse on its own connection. Where the user may not wait there is none, and silence alone decides. */
export function createPulse(link: () => Link | null): Pulse {
  let open = 0
  let stopped = false

  function fill(): void {
    const current = link()
    while (!stopped && open < ahead && current !== null && current.client !== null) {
      open++
      current.call('wait', [never, String(everyMs)], everyMs * open).then(
        () => {
          open--
          fill()
        },
        (error: unknown) => {
          open--
          // Refused for good; while the connection is away nothing is asked before it is back.
          if (!explain(error).retryable) stopped = true
        },
      )
    }
  }

  return {
    connected: fill,
    stop() {
      stopped = true
    },
  }
}

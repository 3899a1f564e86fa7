// A connection that comes back by itself, always under the same client id. What was under way when it ended has no answer, and is
// sent again by nobody but core.

import { cleaned, explain, fault } from './explain.ts'
import { openWire, type Wire, type WireOptions } from './wire.ts'

/** See the file. */
export interface Link {
  /** The connection as it is; null while there is none. */
  readonly wire: Wire | null
  /** Resolves when the connection is there: at once, or when it is back. False: `signal` was aborted or the link closed first. */
  ready(signal: AbortSignal): Promise<boolean>
  /** Ends the connection at once; it comes back by itself. */
  drop(error: Error): void
  /** Another connection is back: this one does not wait out its pause. */
  hurry(): void
  /** Ends it. `now`: without a word to the server. Twice is fine, and the second one may be in a hurry. */
  close(now: boolean): Promise<void>
}

export interface LinkOptions extends Omit<WireOptions, 'onEnd'> {
  readonly random: () => number
  /** The links of this process: when one is back, the server is, and the others do not wait out their pauses. */
  readonly peers: Set<Link>
  /** The connection is there and not used yet: what has to be said first. A rejection ends it. */
  greet(wire: Wire, again: boolean): Promise<void>
  onUp(wire: Wire): void
  onDown(error: Error): void
}

// From and to, in milliseconds: growing, so that a server that starts is not run over, and never so long that nobody notices
// that it is back.
const pauses = [
  [500, 1000],
  [500, 1500],
  [1000, 2500],
  [2000, 3000],
] as const
// Where nobody is let in, somebody has to do something first.
const refusedPause = [4000, 7000] as const
/** How long to wait before the `tries`-th attempt to connect again. */
export function pauseMs(tries: number, isRefused: boolean, random: () => number): number {
  const [least, most] = isRefused ? refusedPause : (pauses[Math.min(tries, pauses.length) - 1] ?? [2000, 3000])
  return Math.round(least + random() * (most - least))
}

/** Connects once; rejects with what the server or the socket said. Afterwards it connects again by itself until it is closed. */
export async function openLink(options: LinkOptions, signal: AbortSignal): Promise<Link> {
  const { clock, random } = options
  let wire: Wire | null = null
  let closed = false
  let connecting = false
  let tries = 0
  let cancelRetry: (() => void) | null = null
  const hoping = new Set<(there: boolean) => void>()
  const giveUp = new AbortController()
  /** The one that was there when it was closed. */
  let last: Wire | null = null
  let closing: Promise<void> | null = null

  async function dial(until: AbortSignal, again: boolean): Promise<void> {
    let ended: Error | null = null
    let mine: Wire | null = null
    // Until it is greeted: afterwards the caller's signal is a wish to leave, and leaving is polite.
    const guard = new AbortController()
    const abort = (): void => guard.abort()
    if (until.aborted) abort()
    until.addEventListener('abort', abort, { once: true })
    try {
      mine = await openWire(
        {
          ...options,
          onEnd(error) {
            ended = error
            if (wire !== null && wire === mine) lost(error)
          },
        },
        guard.signal,
      )
      await options.greet(mine, again)
    } catch (error) {
      mine?.destroy()
      throw error
    } finally {
      until.removeEventListener('abort', abort)
    }
    if (ended !== null) throw ended
    if (closed || until.aborted) {
      mine.destroy()
      throw fault('CANCELLED', 'mqtt: connecting was given up')
    }
    wire = mine
    tries = 0
    options.onUp(mine)
    for (const each of [...hoping]) each(true)
    hoping.clear()
    if (again) for (const each of options.peers) each.hurry()
  }

  function lost(error: Error): void {
    wire = null
    if (closed) return
    options.onDown(error)
    retry(false)
  }

  function retry(isRefused: boolean): void {
    if (closed || cancelRetry !== null || connecting) return
    tries++
    cancelRetry = clock.timer(pauseMs(tries, isRefused, random), retryNow)
  }

  function retryNow(): void {
    cancelRetry?.()
    cancelRetry = null
    if (closed || wire !== null || connecting) return
    connecting = true
    dial(giveUp.signal, true).then(
      () => {
        connecting = false
      },
      (error: unknown) => {
        connecting = false
        if (closed) return
        const clean = cleaned(error, 'mqtt: ')
        options.onDown(clean)
        retry(!explain(clean).retryable)
      },
    )
  }

  await dial(signal, false)

  const link: Link = {
    get wire() {
      return wire
    },
    ready(until) {
      if (wire !== null) return Promise.resolve(true)
      if (closed || until.aborted) return Promise.resolve(false)
      return new Promise((resolve) => {
        const tell = (there: boolean): void => {
          until.removeEventListener('abort', abort)
          hoping.delete(tell)
          resolve(there)
        }
        const abort = (): void => tell(false)
        until.addEventListener('abort', abort, { once: true })
        hoping.add(tell)
      })
    },
    drop(error) {
      const old = wire
      if (old === null) return
      wire = null
      old.destroy()
      lost(error)
    },
    hurry() {
      if (cancelRetry !== null) retryNow()
    },
    close(now) {
      if (!closed) {
        closed = true
        options.peers.delete(link)
        cancelRetry?.()
        giveUp.abort()
        for (const each of [...hoping]) each(false)
        hoping.clear()
        last = wire
        wire = null
      }
      if (now) last?.destroy()
      closing ??= last?.close() ?? Promise.resolve()
      return closing
    },
  }
  options.peers.add(link)
  return link
}

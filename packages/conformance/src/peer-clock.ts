// The clock of one connection: the world's time, with timers of its own that can be stopped as a stopped process stops them,
// and counted when everything should be over.

import type { Clock } from '@posthorn/core/adapter'

export interface PeerClock extends Clock {
  /** Timers of this connection that are set. */
  pending(): number
  /** As SIGSTOP: no timer fires; time goes on. */
  freeze(): void
  /** As SIGCONT: what came due meanwhile fires, in order of due time. */
  thaw(): void
  /** As SIGKILL: no timer fires any more. */
  kill(): void
  readonly stopped: boolean
  /** Resolves once the process runs: at once unless it is frozen; never when it is dead. */
  awake(): Promise<void>
}

/** See `PeerClock`. */
export function peerClock(world: Clock): PeerClock {
  let state: 'running' | 'frozen' | 'dead' = 'running'
  const set = new Set<{ due: number; run: () => void; cancel: () => void; missed: boolean }>()
  let sleepers: (() => void)[] = []

  return {
    // Wall clocks of processes tell whole milliseconds.
    now: () => Math.floor(world.now()),
    monotonic: () => world.monotonic(),
    timer(ms, run) {
      if (state === 'dead') return () => {}
      const timer = { due: world.monotonic() + ms, run, cancel: () => {}, missed: false }
      timer.cancel = world.timer(ms, () => {
        if (state === 'frozen') timer.missed = true
        else if (set.delete(timer)) run()
      })
      set.add(timer)
      return () => {
        if (set.delete(timer)) timer.cancel()
      }
    },
    pending: () => set.size,
    freeze() {
      if (state === 'running') state = 'frozen'
    },
    thaw() {
      if (state !== 'frozen') return
      state = 'running'
      const missed = [...set].filter((timer) => timer.missed).sort((a, b) => a.due - b.due)
      for (const timer of missed) if (set.delete(timer)) timer.run()
      const awake = sleepers
      sleepers = []
      for (const wake of awake) wake()
    },
    kill() {
      state = 'dead'
      for (const timer of set) timer.cancel()
      set.clear()
      sleepers = []
    },
    get stopped() {
      return state !== 'running'
    },
    awake: () =>
      state === 'running'
        ? Promise.resolve()
        : new Promise((resolve) => {
            if (state === 'frozen') sleepers.push(resolve)
          }),
  }
}

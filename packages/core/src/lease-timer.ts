// Ownership that a server grants for a time and that must be proven again before it ends. What counts is when the last
// answered proof was sent: the server cannot have counted from earlier, and the answer's own way does not count.

import type { Clock } from './contract.ts'

export interface LeaseOptions {
  readonly clock: Clock
  /** How long one proof of ownership lasts at the server, in milliseconds. */
  readonly lifeMs: number
  /** How much earlier we stop believing it: clock drift and the way of a last write. Milliseconds, below `lifeMs`. */
  readonly marginMs: number
  /**
   * Proves ownership at the server. `true`: answered, it is still ours. `false`: answered, it is not. A rejection is no
   * answer: tried again a quarter of a life later. Called every quarter of a life, never twice at once.
   */
  renew(): Promise<boolean>
  /** It is over: denied by the server, or its life ran out without an answered proof. Called once, not after `stop`. */
  onOver(why: 'denied' | 'expired'): void
}

export interface Lease {
  /** Monotonic milliseconds until which ownership is believed; `Assignment.aliveUntil` as it stands. In the past once it is over. */
  readonly aliveUntil: number
  /** Another answered proof, sent at `sentAt` (monotonic): any command that the server takes from owners only. */
  proven(sentAt: number): void
  /** Ends it without a word. What `aliveUntil` said goes on being true until then. Twice is fine. */
  stop(): void
}

/**
 * Keeps a lease alive, beginning with the proof that took it, which was sent at `sentAt` (monotonic milliseconds).
 * `onOver('expired')` comes at the end of the server's own count, a margin after `aliveUntil`: by then the successor may begin.
 */
export function startLease(options: LeaseOptions, sentAt: number): Lease {
  const { clock, lifeMs, marginMs } = options
  let proof = sentAt
  let over = false
  let renewing = false
  let cancelRenew: (() => void) | null = null
  let cancelExpiry: (() => void) | null = null

  function end(why: 'denied' | 'expired' | null): void {
    if (over) return
    over = true
    cancelRenew?.()
    cancelExpiry?.()
    if (why !== null) {
      proof = Number.NEGATIVE_INFINITY
      options.onOver(why)
    }
  }

  function proven(at: number): void {
    if (!over && at > proof) proof = at
  }

  async function renew(): Promise<void> {
    renewing = true
    const at = clock.monotonic()
    try {
      if (await options.renew()) proven(at)
      else end('denied')
    } catch {
      // No answer: the lease may still be ours. The next quarter asks again, the expiry decides.
    } finally {
      renewing = false
    }
  }

  function armRenew(): void {
    cancelRenew = clock.timer(lifeMs / 4, () => {
      armRenew()
      if (!renewing) void renew()
    })
  }

  // One timer that looks how far the proofs moved on, instead of one per proof.
  function armExpiry(): void {
    const left = proof + lifeMs - clock.monotonic()
    if (left <= 0) end('expired')
    else cancelExpiry = clock.timer(left, armExpiry)
  }

  armRenew()
  armExpiry()
  return {
    get aliveUntil() {
      return proof + lifeMs - marginMs
    },
    proven,
    stop: () => end(null),
  }
}

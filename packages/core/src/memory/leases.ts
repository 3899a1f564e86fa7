// Which members are still heard of. One timer for all of them, set again only when it fires.

import type { Clock } from '../contract.ts'
import type { Member } from './group.ts'
import type { Settings } from './options.ts'

/** The server, as its leases need it. */
export interface LeaseServer {
  readonly state: 'running' | 'stopped' | 'down'
  readonly settings: Settings
  readonly clock: Clock
  /** Ends a membership and tells the member that its lease is over. */
  end(member: Member, error: null): void
}

export class Leases {
  readonly #server: LeaseServer
  readonly #members = new Set<Member>()
  #cancel: (() => void) | null = null

  constructor(server: LeaseServer) {
    this.#server = server
  }

  all(): readonly Member[] {
    return [...this.#members]
  }

  add(member: Member): void {
    this.#members.add(member)
    this.#arm()
  }

  remove(member: Member): void {
    this.#members.delete(member)
  }

  /** Ends the memberships whose lease ran out. */
  expire(): void {
    const now = this.#server.clock.monotonic()
    for (const member of this.all()) {
      if (member.over) this.#members.delete(member)
      else if (member.until <= now) this.#server.end(member, null)
    }
  }

  /** Nobody is connected: as soon as no lease is left, no timer is either. */
  rest(): void {
    for (const member of this.all()) if (member.over) this.#members.delete(member)
    if (this.#members.size > 0) return
    this.#cancel?.()
    this.#cancel = null
  }

  #arm(): void {
    if (this.#cancel !== null || this.#members.size === 0) return
    const { clock, settings } = this.#server
    let first = Number.POSITIVE_INFINITY
    for (const member of this.#members) first = Math.min(first, member.until)
    // While the server stands still nothing can be ended; it looks again when it continues.
    const wait = this.#server.state === 'running' ? Math.max(0, first - clock.monotonic()) : settings.leaseMs
    this.#cancel = clock.timer(wait, () => {
      this.#cancel = null
      if (this.#server.state === 'running') this.expire()
      this.#arm()
    })
  }
}

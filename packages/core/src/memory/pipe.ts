// One direction of a connection: packets in order, each taking as long as the link's faults say.

import type { Clock } from '../contract.ts'
import type { LinkServer } from './link.ts'

/** The faults that a pipe obeys. */
export interface PipeFaults {
  readonly frozen: boolean
  readonly killed: boolean
  readonly silentUp: boolean
  readonly silentDown: boolean
  readonly latencyMs: number
  readonly jitterMs: number
  readonly bytesPerSecond: number | null
}

interface Packet {
  readonly bytes: number
  readonly run: () => void
}

export class Pipe {
  readonly #direction: 'up' | 'down'
  readonly #link: PipeFaults
  readonly #server: LinkServer
  #travelling: Packet[] = []
  /** What a frozen client has not sent, or not taken in. */
  #kept: Packet[] = []
  /** What a silent network did not deliver; it is sent again while the connection stands. */
  #unsent: Packet[] = []
  #lineFree = 0
  #lastArrival = 0
  #generation = 0

  constructor(direction: 'up' | 'down', link: PipeFaults, server: LinkServer) {
    this.#direction = direction
    this.#link = link
    this.#server = server
  }

  get empty(): boolean {
    return this.#travelling.length === 0 && this.#kept.length === 0 && this.#unsent.length === 0
  }

  send(bytes: number, run: () => void): void {
    const { frozen, killed } = this.#link
    const packet: Packet = { bytes, run }
    // What was kept goes first, also while it is being let go.
    if (this.#direction === 'down' || !(frozen || this.#kept.length > 0)) this.#enter(packet)
    else if (!killed) this.#kept.push(packet)
  }

  /** The client's process runs again. */
  thaw(): void {
    for (let packet = this.#kept[0]; packet !== undefined; packet = this.#kept[0]) {
      this.#kept.shift()
      if (this.#direction === 'up') this.#enter(packet)
      else packet.run()
    }
  }

  /** The network delivers again. */
  resume(): void {
    for (let packet = this.#unsent[0]; packet !== undefined; packet = this.#unsent[0]) {
      this.#unsent.shift()
      this.#carry(packet)
    }
  }

  /** Gives up on what the network did not deliver. */
  forget(): void {
    this.#unsent = []
  }

  /** The connection breaks: a first part of what travels still arrives, the rest is gone. */
  arriveSome(random: number): void {
    const some = this.#travelling.slice(0, Math.floor(random * (this.#travelling.length + 1)))
    this.clear()
    for (const packet of some) packet.run()
  }

  clear(): void {
    this.#generation++
    this.#travelling = []
    this.#kept = []
    this.#unsent = []
  }

  #enter(packet: Packet): void {
    const silent = this.#direction === 'up' ? this.#link.silentUp : this.#link.silentDown
    if (silent || this.#unsent.length > 0) this.#unsent.push(packet)
    else this.#carry(packet)
  }

  #carry(packet: Packet): void {
    const { latencyMs, jitterMs, bytesPerSecond } = this.#link
    const fast = latencyMs === 0 && jitterMs === 0 && bytesPerSecond === null && this.#travelling.length === 0
    if (fast) this.#arrive(packet)
    else this.#travel(packet, this.#server.clock)
  }

  #travel(packet: Packet, clock: Clock): void {
    const { latencyMs, jitterMs, bytesPerSecond } = this.#link
    const now = clock.monotonic()
    const free = Math.max(now, this.#lineFree)
    this.#lineFree = bytesPerSecond === null ? free : free + (packet.bytes * 1000) / bytesPerSecond
    const travel = Math.max(0, latencyMs + (jitterMs === 0 ? 0 : jitterMs * (2 * this.#server.random() - 1)))
    this.#lastArrival = Math.max(this.#lastArrival, this.#lineFree + travel)
    this.#travelling.push(packet)
    const generation = this.#generation
    clock.timer(this.#lastArrival - now, () => {
      // Whichever timer fires first brings the packet that was sent first.
      if (generation !== this.#generation) return
      const first = this.#travelling.shift()
      if (first !== undefined) this.#arrive(first)
    })
  }

  #arrive(packet: Packet): void {
    const { frozen, killed } = this.#link
    if (this.#direction === 'up') packet.run()
    else if (killed) return
    else if (frozen || this.#kept.length > 0) this.#kept.push(packet)
    else packet.run()
  }
}

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
    const link = this.#link
    const up = this.#direction === 'up'
    const packet: Packet = { bytes, run }
    if (up && link.frozen) {
      if (!link.killed) this.#kept.push(packet)
      return
    }
    if (up ? link.silentUp : link.silentDown) {
      this.#unsent.push(packet)
      return
    }
    if (link.latencyMs === 0 && link.jitterMs === 0 && link.bytesPerSecond === null && this.#travelling.length === 0) {
      this.#arrive(packet)
      return
    }
    this.#travel(packet, this.#server.clock)
  }

  /** The client's process runs again. */
  thaw(): void {
    const kept = this.#kept
    this.#kept = []
    for (const packet of kept) {
      if (this.#direction === 'up') this.send(packet.bytes, packet.run)
      else packet.run()
    }
  }

  /** The network delivers again. */
  resume(): void {
    const unsent = this.#unsent
    this.#unsent = []
    for (const packet of unsent) this.send(packet.bytes, packet.run)
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
    if (this.#direction === 'down' && killed) return
    if (this.#direction === 'down' && frozen) this.#kept.push(packet)
    else packet.run()
  }
}

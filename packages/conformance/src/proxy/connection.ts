// A client's connection and the one to the broker that stands for it.

import { connect, type Socket } from 'node:net'
import type { Operation } from '../harness.ts'
import type { Frame, WireReader } from '../wires/wire.ts'
import type { Endpoint } from './address.ts'
import type { Faults } from './faults.ts'
import { Lane, type Piece } from './lane.ts'

/** What a connection shares with its link. */
export interface ConnectionTools {
  readonly target: Endpoint
  readonly faults: Faults
  readonly reader: WireReader | undefined
  readonly random: () => number
  /** Brings what was ordered meanwhile into force. */
  poll(): void
  /** Requests of an operation that wait for their answer: so many more, or fewer. */
  opened(operation: Operation, more: number): void
  withheld(answers: number): void
  /** Writes the state down. */
  changed(): void
  /** Both ends hold it, or no longer. */
  live(on: boolean): void
  closed(): void
}

/** Passes bytes between a client and a new connection to the broker until both are gone. */
export class Connection {
  readonly #client: Socket
  readonly #server: Socket
  readonly #tools: ConnectionTools
  readonly #up: Lane
  readonly #down: Lane
  readonly #open = new Map<Operation, number>()
  #live = false
  #clientGone = false
  #done = false
  #forgotten = false
  /** An answer vanished in a protocol that tells answers apart by order alone. */
  #deaf = false
  /** Something is missing in what the client was sent, and it does not know. */
  #gap = false

  constructor(client: Socket, tools: ConnectionTools) {
    this.#client = client
    this.#tools = tools
    const { host, port } = tools.target
    const server = connect({ host, port, noDelay: true, allowHalfOpen: true })
    this.#server = server
    const { faults, random } = tools
    this.#up = new Lane('up', client, server, {
      faults,
      random,
      passing() {},
      ended: () => (client.destroyed ? server.destroySoon() : server.end()),
    })
    this.#down = new Lane('down', server, client, {
      faults,
      random,
      passing: (frames) => this.#answered(frames),
      ended: () => this.#serverEnded(),
    })
    client.setNoDelay(true)
    server.once('connect', () => this.#setLive(!this.#clientGone))
    client.on('data', (chunk: Uint8Array) => this.#received(chunk, 'up'))
    server.on('data', (chunk: Uint8Array) => this.#received(chunk, 'down'))
    // An error is followed by 'close', which says all that matters here.
    client.on('error', () => {})
    server.on('error', () => {})
    client.on('end', () => this.#clientLeft())
    server.on('end', () => this.#serverLeft())
    client.on('close', () => {
      this.#clientLeft()
      this.#finish()
    })
    server.on('close', () => {
      this.#serverLeft()
      this.#finish()
    })
  }

  /** Ends it for both sides at once. */
  cut(): void {
    this.#closeLanes()
    this.#client.destroy()
    this.#server.destroy()
    this.#clientLeft()
  }

  rst(): void {
    this.#closeLanes()
    this.#client.resetAndDestroy()
    this.#server.resetAndDestroy()
    this.#clientLeft()
  }

  /** What lies between lost its state: neither side is told until it says something. */
  forget(): void {
    if (this.#clientGone) return this.cut()
    this.#forgotten = true
    this.#closeLanes()
    this.#client.resume()
    this.#server.resume()
  }

  /** A fault may have ended: what waited goes on. A stream in which an answer is missing cannot. */
  relax(): void {
    if (this.#forgotten) return
    if ((this.#deaf || this.#gap) && this.#tools.faults.withheld.size === 0) this.cut()
    else {
      this.#up.pump()
      this.#down.pump()
    }
  }

  #received(chunk: Uint8Array, direction: 'up' | 'down'): void {
    this.#tools.poll()
    if (this.#forgotten) {
      const from = direction === 'up' ? this.#client : this.#server
      from.resetAndDestroy()
      return
    }
    if (direction === 'up') this.#fromClient(chunk)
    else this.#fromServer(chunk)
  }

  #fromClient(chunk: Uint8Array): void {
    const { reader, faults, opened, changed } = this.#tools
    if (reader === undefined) {
      this.#up.enter([{ bytes: chunk, frames: [] }])
      return
    }
    const frames = reader.up(chunk)
    let counted = false
    let last: Frame | undefined
    const passed: Frame[] = []
    for (const frame of frames) {
      passed.push(frame)
      if (frame.operation === undefined) continue
      if (frame.requests > 0 && !this.#clientGone) {
        this.#open.set(frame.operation, (this.#open.get(frame.operation) ?? 0) + frame.requests)
        opened(frame.operation, frame.requests)
        counted = true
      }
      if (frame.operation === faults.cutAfter?.operation) {
        last = frame
        break
      }
    }
    if (counted) changed()
    if (last === undefined) this.#up.enter(joined(passed))
    else this.#cutAfter(passed, last)
  }

  #cutAfter(passed: readonly Frame[], last: Frame): void {
    const { faults } = this.#tools
    const short = faults.cutAfter?.short ?? 0
    faults.cutAfter = null
    const kept = { ...last, bytes: last.bytes.subarray(0, Math.max(0, last.bytes.length - short)) }
    this.#down.close()
    this.#deaf = true
    this.#up.enter(joined([...passed.slice(0, -1), kept]))
    this.#client.destroy()
    this.#clientLeft()
  }

  #fromServer(chunk: Uint8Array): void {
    const { reader, faults, withheld, changed } = this.#tools
    if (reader === undefined) {
      this.#down.enter([{ bytes: chunk, frames: [] }])
      return
    }
    const frames = reader.down(chunk, (operation) => faults.withheld.has(operation) || faults.dropped.has(operation))
    const passed: Frame[] = []
    let lost = 0
    for (const frame of frames) {
      if (frame.lost === undefined) {
        if (!this.#deaf) passed.push(frame)
        continue
      }
      lost += frame.lost
      if (frame.operation === undefined || !faults.withheld.has(frame.operation)) continue
      if (reader.ordered) this.#deaf = true
      // A message that the server handed over and the client never saw: no network does that and lets the connection go on.
      else if (frame.operation === 'read') this.#gap = true
    }
    if (lost > 0) {
      withheld(lost)
      changed()
    }
    if (passed.length > 0) this.#down.enter(joined(passed))
  }

  #answered(frames: readonly Frame[]): void {
    let counted = false
    for (const { operation, requests } of frames) {
      if (operation === undefined || requests === 0) continue
      const before = this.#open.get(operation) ?? 0
      const answered = Math.min(before, requests)
      if (answered === 0) continue
      this.#open.set(operation, before - answered)
      this.#tools.opened(operation, -answered)
      counted = true
    }
    if (counted) this.#tools.changed()
  }

  /** The client said that it has no more to say, or is gone. */
  #clientLeft(): void {
    if (this.#clientGone) return
    this.#tools.poll()
    this.#clientGone = true
    for (const [operation, count] of this.#open) if (count > 0) this.#tools.opened(operation, -count)
    this.#open.clear()
    this.#setLive(false)
    this.#tools.changed()
    if (this.#forgotten) {
      this.#client.resetAndDestroy()
      return
    }
    // What a silent network still held for it is never sent again.
    this.#up.end(this.#tools.faults.silent.up)
  }

  #serverLeft(): void {
    this.#tools.poll()
    this.#setLive(false)
    if (this.#forgotten) this.#server.resetAndDestroy()
    else this.#down.end()
  }

  #serverEnded(): void {
    if (this.#server.errored !== null) this.#client.resetAndDestroy()
    else if (this.#server.destroyed) this.#client.destroySoon()
    else this.#client.end()
  }

  #setLive(on: boolean): void {
    if (on === this.#live) return
    this.#live = on
    this.#tools.live(on)
    this.#tools.changed()
  }

  #closeLanes(): void {
    this.#up.close()
    this.#down.close()
  }

  #finish(): void {
    if (this.#done || !this.#client.destroyed || !this.#server.destroyed) return
    this.#done = true
    this.#closeLanes()
    this.#tools.closed()
  }
}

/** Frames that lie side by side in one buffer are written together. */
function joined(frames: readonly Frame[]): readonly Piece[] {
  const pieces: Piece[] = []
  let bytes: Uint8Array | undefined
  let members: Frame[] = []
  for (const frame of frames) {
    const next = frame.bytes
    if (
      bytes !== undefined &&
      bytes.length > 0 &&
      next.length > 0 &&
      (next.buffer !== bytes.buffer || next.byteOffset !== bytes.byteOffset + bytes.length)
    ) {
      pieces.push({ bytes, frames: members })
      bytes = undefined
      members = []
    }
    if (bytes === undefined || bytes.length === 0) bytes = next
    else if (next.length > 0) bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length + next.length)
    if (frame.requests > 0) members.push(frame)
  }
  if (bytes !== undefined) pieces.push({ bytes, frames: members })
  return pieces
}

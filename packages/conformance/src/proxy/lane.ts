// One direction of one connection: what came from one socket goes to the other, in order, as the faults of the link allow.

import type { Socket } from 'node:net'
import { realClock, settled } from '../clock.ts'
import type { Frame } from '../wires/wire.ts'
import type { Direction, Faults } from './faults.ts'

/** Bytes that travel together, and the frames that end in them. */
export interface Piece {
  readonly bytes: Uint8Array
  readonly frames: readonly Frame[]
}

interface Travelling extends Piece {
  readonly due: number
}

/** Bytes in here above which nothing more is read, as a full socket buffer does. */
const most = 1024 * 1024
/** A silent line holds more: while its source is not read, nobody would notice that it is gone. */
const mostSilent = 16 * 1024 * 1024
/** Lumps wait no longer than this for more bytes. */
const lumpMs = 50
/** A throttled line moves in steps of this long. */
const stepMs = 20

/** What a lane shares with its connection. */
export interface LaneTools {
  readonly faults: Faults
  readonly random: () => number
  /** These frames are about to be written. */
  passing(frames: readonly Frame[]): void
  /** Everything that came before the end has been written. */
  ended(): void
}

/** Carries one direction of a connection until it is closed or has ended. */
export class Lane {
  readonly #direction: Direction
  readonly #source: Socket
  readonly #target: Socket
  readonly #tools: LaneTools
  #queue: Travelling[] = []
  #queued = 0
  #lastDue = 0
  #ending = false
  #closed = false
  #congested = false
  #turning = false
  #gathering = 0
  #cancel: (() => void) | null = null

  constructor(direction: Direction, source: Socket, target: Socket, tools: LaneTools) {
    this.#direction = direction
    this.#source = source
    this.#target = target
    this.#tools = tools
    target.on('drain', () => {
      this.#congested = false
      this.pump()
      this.#hold()
    })
  }

  enter(pieces: readonly Piece[]): void {
    if (this.#closed || this.#ending) return
    const due = this.#due()
    for (const { bytes, frames } of pieces) {
      this.#queue.push({ bytes, frames, due })
      this.#queued += bytes.length
    }
    this.pump()
    this.#hold()
  }

  /** Nothing comes after this. With `forget`, what waits is given up as well. */
  end(forget = false): void {
    if (this.#closed || this.#ending) return
    if (forget) this.#drop()
    this.#ending = true
    this.pump()
  }

  /** Writes what may be written now. Called again whenever a fault ends. */
  pump(): void {
    const { faults } = this.#tools
    while (!this.#closed && !this.#congested && !this.#turning && !faults.silent[this.#direction]) {
      const first = faults.lumpBytes === null ? this.#queue[0] : this.#lump(faults.lumpBytes)
      if (first === null) return
      if (first === undefined) {
        if (this.#ending) {
          this.close()
          this.#tools.ended()
        }
        return
      }
      const wait = this.#wait(first.due)
      if (wait > 0) {
        this.#later(wait)
        return
      }
      this.#write(first, this.#portion(first.bytes.length))
    }
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
    this.#cancel = null
    this.#drop()
  }

  /** All that waits as one, once it is enough or nothing more comes; null: not yet. */
  #lump(least: number): Travelling | null | undefined {
    if (this.#queue.length === 0) return undefined
    if (this.#queued < least && !this.#ending) {
      const now = realClock.monotonic()
      if (this.#gathering === 0) this.#gathering = now + lumpMs
      if (now < this.#gathering) {
        this.#later(this.#gathering - now)
        return null
      }
    }
    this.#gathering = 0
    const due = this.#queue.at(-1)?.due ?? 0
    const lump = {
      bytes: Buffer.concat(this.#queue.map(({ bytes }) => bytes)),
      frames: this.#queue.flatMap(({ frames }) => frames),
      due,
    }
    this.#queue = [lump]
    return lump
  }

  #drop(): void {
    this.#queue = []
    this.#queued = 0
  }

  #due(): number {
    const { latencyMs, jitterMs } = this.#tools.faults
    if (latencyMs === 0 && jitterMs === 0 && this.#lastDue === 0) return 0
    const spread = jitterMs === 0 ? 0 : jitterMs * (2 * this.#tools.random() - 1)
    this.#lastDue = Math.max(this.#lastDue, realClock.monotonic() + Math.max(0, latencyMs + spread))
    return this.#lastDue
  }

  #wait(due: number): number {
    const { bytesPerSecond, lineFree } = this.#tools.faults
    const from = bytesPerSecond === null ? due : Math.max(due, lineFree[this.#direction])
    return from === 0 ? 0 : from - realClock.monotonic()
  }

  #portion(length: number): number {
    const { faults } = this.#tools
    const { bytesPerSecond, sliceBytes, lineFree } = faults
    let portion = sliceBytes === null ? length : Math.min(length, sliceBytes)
    if (bytesPerSecond !== null) {
      portion = Math.min(portion, Math.max(1, Math.floor((bytesPerSecond * stepMs) / 1000)))
      lineFree[this.#direction] = Math.max(realClock.monotonic(), lineFree[this.#direction]) + (portion * 1000) / bytesPerSecond
    }
    return portion
  }

  #write(first: Travelling, portion: number): void {
    const { bytes, frames, due } = first
    const part = bytes.subarray(0, portion)
    if (portion < bytes.length) this.#queue[0] = { bytes: bytes.subarray(portion), frames, due }
    else {
      this.#queue.shift()
      if (frames.length > 0) this.#tools.passing(frames)
    }
    this.#queued -= portion
    if (portion > 0 && !this.#target.write(this.#damaged(part)) && this.#target.writable) this.#congested = true
    if (this.#tools.faults.sliceBytes !== null && portion > 0) this.#turn()
  }

  #damaged(part: Uint8Array): Uint8Array {
    const { faults } = this.#tools
    if (faults.corrupt === 0 || this.#direction === 'up') return part
    const copy = Uint8Array.from(part)
    const length = Math.min(faults.corrupt, copy.length)
    for (let index = 0; index < length; index++) copy[index] = (copy[index] as number) ^ 0x55
    faults.corrupt -= length
    return copy
  }

  /** Slices are read apart only if each gets a turn of its own. */
  #turn(): void {
    this.#turning = true
    void settled().then(() => {
      this.#turning = false
      this.pump()
      this.#hold()
    })
  }

  #later(ms: number): void {
    if (this.#cancel !== null) return
    this.#cancel = realClock.timer(Math.ceil(ms), () => {
      this.#cancel = null
      this.pump()
      this.#hold()
    })
  }

  #hold(): void {
    if (this.#closed) return
    const full = this.#congested || this.#queued > (this.#tools.faults.silent[this.#direction] ? mostSilent : most)
    if (full !== this.#source.isPaused()) {
      if (full) this.#source.pause()
      else this.#source.resume()
    }
  }
}

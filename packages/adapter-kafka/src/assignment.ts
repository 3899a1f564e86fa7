// A partition in the hands of core: what was fetched waits here until it is asked for, settling moves the position of the group,
// and it ends once.

import type { Assignment, Delivery, Outgoing, Received, SettleResult, Undecodable } from '@posthorn/core/adapter'
import type { Settling } from './commits.ts'
import { type AttributeCache, decode, type RawRecord } from './decode.ts'
import type { Reader } from './fetcher.ts'
import { createProgress, farthest, type Place, type Progress } from './progress.ts'

/** What an assignment needs of its subscription. */
export interface Host {
  /** As core names it. */
  readonly topic: string
  readonly role: 'main' | 'retry' | 'delay'
  readonly partition: number
  /** The topic at the server. */
  readonly source: string
  /** Of the very topic that it belongs to; '' where the server tells none. */
  readonly topicId: string
  readonly maxUnsettled: number
  readonly maxBytes: number
  /** Settled with outputs, both or neither. */
  readonly atomic: boolean
  aliveUntil(): number
  /** Something changed in what it wants to fetch. */
  hungry(reader: Reader): void
  /** Something was finished. `now`: no more is handed out before the answer. */
  commit(one: Owned, now: boolean): Promise<SettleResult>
  /** The same, and nobody waits for it. */
  note(one: Owned): void
  /** Outputs and position, both or neither. */
  forward(one: Owned, outputs: readonly Outgoing[], finished: ReadonlySet<number>): Promise<SettleResult>
  /** Before it ends: what was noted is durable. */
  flush(): Promise<void>
  /** An answer to a settlement was not `settled`: this assignment is over, and another one begins at the position. */
  spoiled(one: Owned, result: 'stale' | 'unknown'): void
  /** The position is not in the log any more: says where to go on. */
  outOfRange(one: Owned): void
  gone(one: Owned): void
  refused(error: unknown): void
  /** The partition holds something that cannot be read at all, and everything before it is settled. */
  unreadable(error: unknown): void
  over(one: Owned): void
}

interface Chunk {
  readonly records: readonly RawRecord[]
  /** The next one to hand out. */
  at: number
  readonly bytes: number
}

const empty: readonly Delivery[] = Object.freeze([])
const nothing: Promise<readonly Delivery[]> = Promise.resolve(empty)
const answeredStale: Promise<SettleResult> = Promise.resolve('stale')

class Handed implements Delivery {
  readonly token: number
  readonly content: Received | Undecodable
  readonly parked: boolean
  readonly deliveries = null
  readonly #place: string

  constructor(offset: number, content: Received | Undecodable, parked: boolean, place: string) {
    this.token = offset
    this.content = content
    this.parked = parked
    this.#place = place
  }

  position(): string {
    return `${this.#place}:${this.token}`
  }
}

export class Owned implements Assignment, Reader, Settling {
  readonly topic: string
  readonly role: 'main' | 'retry' | 'delay'
  readonly partition: number
  readonly source: string
  readonly topicId: string
  readonly #host: Host
  readonly #leaving = new AbortController()
  readonly #lost = new AbortController()
  readonly #cache: AttributeCache = { last: null }
  readonly #place: string
  #chunks: Chunk[] = []
  #bytes = 0
  /** Where the next fetch begins. */
  #position: number
  /** Handed out and not settled. */
  #held = 0
  /** Settled here, and not yet confirmed. */
  #settling = 0
  readonly #progress: Progress
  #waiting: { readonly max: number; readonly resolve: (deliveries: readonly Delivery[]) => void } | null = null
  #marks = true
  #over = false
  #released: Promise<void> | null = null

  constructor(host: Host, start: Place) {
    this.topic = host.topic
    this.role = host.role
    this.partition = host.partition
    this.source = host.source
    this.topicId = host.topicId
    this.#host = host
    this.#position = start.offset
    this.#progress = createProgress(start)
    this.#place = host.role === 'main' ? String(host.partition) : `${host.role}/${host.partition}`
  }

  get leaving(): AbortSignal {
    return this.#leaving.signal
  }
  get lost(): AbortSignal {
    return this.#lost.signal
  }
  get aliveUntil(): number {
    return this.#host.aliveUntil()
  }
  get ended(): boolean {
    return this.#over
  }
  get position(): number {
    return this.#position
  }

  read(max: number): Promise<readonly Delivery[]> {
    if (this.#over || this.#leaving.signal.aborted) return nothing
    const some = this.#hand(max)
    if (some.length > 0) return Promise.resolve(some)
    return new Promise((resolve) => {
      this.#waiting = { max, resolve }
      this.#host.hungry(this)
    })
  }

  settle(tokens: readonly unknown[], outputs?: readonly Outgoing[]): Promise<SettleResult> {
    if (this.#over) return answeredStale
    const finished = tokens as readonly number[]
    this.#held -= finished.length
    this.#settling += finished.length
    const forwards = outputs !== undefined && outputs.length > 0
    if (!forwards) for (const offset of finished) this.#progress.finish(offset)
    const answer = forwards
      ? this.#host.forward(this, outputs, new Set(finished))
      : this.#host.commit(this, this.#settling >= this.#host.maxUnsettled)
    this.#offer()
    return answer.then((result) => {
      this.#settling -= finished.length
      if (forwards && result === 'settled') for (const offset of finished) this.#progress.finish(offset)
      this.#offer()
      // Where the outputs may be missing nothing may be settled behind them.
      if ((result === 'stale' || (forwards && result === 'unknown')) && !this.#over) this.#host.spoiled(this, result)
      return result
    })
  }

  /** What the server is to be told. */
  place(also?: ReadonlySet<number>): Place {
    if (this.#chunks.length === 0) this.#progress.reach(this.#position)
    const place = this.#progress.place(also)
    return this.#marks ? place : { offset: place.offset, metadata: '' }
  }

  // A server with a small limit for it. Without marks a successor repeats what is done behind the position; where outputs and
  // position are one, that must not be.
  leaveOutMarks(): boolean {
    if (!this.#marks || this.#host.atomic) return false
    this.#marks = false
    return true
  }

  release(): Promise<void> {
    this.#released ??= this.#letGo()
    return this.#released
  }

  async #letGo(): Promise<void> {
    if (this.#over) return
    this.#close()
    await this.#host.flush().catch(() => {})
    this.#lost.abort()
    this.#host.over(this)
  }

  /** Core is asked to hand over. */
  leave(): void {
    if (this.#over || this.#leaving.signal.aborted) return
    this.#leaving.abort()
    this.#answer(empty)
  }

  /** It is over: somebody else's, or nobody's. */
  end(): void {
    if (this.#lost.signal.aborted) return
    this.#close()
    this.#lost.abort()
    this.#host.over(this)
  }

  #close(): void {
    this.#over = true
    // What was not handed out is not done.
    if (this.#chunks.length > 0) this.#position = this.#progress.place().offset
    this.#chunks = []
    this.#bytes = 0
    this.#answer(empty)
  }

  #answer(deliveries: readonly Delivery[]): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.resolve(deliveries)
  }

  // What a settlement is on its way for makes room once, so that what a crash may repeat is bounded by two windows.
  get #room(): number {
    const { maxUnsettled } = this.#host
    return Math.min(maxUnsettled, 2 * maxUnsettled - this.#settling) - this.#held
  }

  #offer(): void {
    const waiting = this.#waiting
    if (waiting === null) return
    const some = this.#hand(waiting.max)
    if (some.length === 0) return
    this.#waiting = null
    waiting.resolve(some)
  }

  #hand(max: number): readonly Delivery[] {
    const wanted = Math.min(Math.max(1, max), this.#room)
    if (wanted <= 0 || this.#chunks.length === 0) return empty
    const some: Delivery[] = []
    const parked = this.role === 'retry'
    let passed = false
    while (some.length < wanted) {
      const chunk = this.#chunks[0]
      if (chunk === undefined) break
      const record = chunk.records[chunk.at] as RawRecord
      // Something unfinished is so far behind that no more can be noted beside it.
      if (this.#progress.ahead(record.offset) >= farthest) break
      chunk.at++
      if (this.#progress.handOut(record.offset))
        some.push(new Handed(record.offset, decode(record, this.#cache, false).content, parked, this.#place))
      else passed = true
      if (chunk.at < chunk.records.length) continue
      this.#chunks.shift()
      this.#bytes -= chunk.bytes
    }
    if (passed && some.length === 0) this.#host.note(this)
    this.#held += some.length
    this.#host.hungry(this)
    return some
  }

  // ── what the fetcher asks and brings ─────────────────────────────────────────────────────────────────────────────
  /** Bytes that may be fetched now; 0: none. */
  wants(): number {
    if (this.#over || this.#leaving.signal.aborted) return 0
    const room = this.#host.maxBytes - this.#bytes
    return this.#chunks.length === 0 || this.#bytes * 2 < this.#host.maxBytes ? Math.max(1, room) : 0
  }

  take(records: readonly RawRecord[], next: number, bytes: number): void {
    if (this.#over) return
    const moved = next > this.#position
    this.#position = Math.max(this.#position, next)
    if (records.length > 0) {
      this.#chunks.push({ records, at: 0, bytes })
      this.#bytes += bytes
      this.#offer()
    } else if (moved && this.#held === 0 && this.#chunks.length === 0) this.#host.note(this)
  }

  /** Goes on farther ahead in the same log: what was there is gone. */
  moveTo(position: number): void {
    if (this.#over) return
    this.#position = position
    this.#host.hungry(this)
  }
  outOfRange(): void {
    if (!this.#over) this.#host.outOfRange(this)
  }
  gone(): void {
    if (!this.#over) this.#host.gone(this)
  }
  refused(error: unknown): void {
    if (!this.#over) this.#host.refused(error)
  }
  unreadable(error: unknown): void {
    // Before it is told, all that lies before it is settled: whoever then goes on behind it passes over nothing else.
    if (!this.#over && this.#chunks.length === 0 && this.#held + this.#settling === 0) this.#host.unreadable(error)
  }
}

// An assignment in the hands of core: what came waits in a bounded buffer until it is asked for, and ends once.

import type { Assignment, Delivery, SettleResult } from '@posthorn/core/adapter'

/** Where an assignment's messages come from and go to. */
export interface Feed {
  readonly maxBuffered: number
  readonly maxBytes: number
  aliveUntil(): number
  /** At the end of this turn of the event loop. */
  soon(run: () => void): void
  /** There is room again. */
  room(): void
  settle(tokens: readonly unknown[]): Promise<SettleResult>
  /** The last call: gives everything back. */
  release(): Promise<void>
  /** It ended, for whatever reason. */
  over(): void
}

/** Something that came, not yet made into a delivery. */
export interface Arrived {
  readonly bytes: number
  deliver(): Delivery
}

const empty: readonly Delivery[] = Object.freeze([])
const nothing: Promise<readonly Delivery[]> = Promise.resolve(empty)
const answeredStale: Promise<SettleResult> = Promise.resolve('stale')

export class Owned implements Assignment {
  readonly topic: string
  readonly role: 'main' | 'retry'
  readonly partition: number | null
  readonly #feed: Feed
  readonly #leaving = new AbortController()
  readonly #lost = new AbortController()
  /** Come and not asked for yet. */
  #buffer: Arrived[] = []
  #head = 0
  #bytes = 0
  #full = false
  /** Handed out, and not answered for by a settlement. */
  #out = 0
  #waiting: { readonly max: number; readonly resolve: (deliveries: readonly Delivery[]) => void } | null = null
  #soon = false
  #over = false
  #released: Promise<void> | null = null

  constructor(topic: string, role: 'main' | 'retry', partition: number | null, feed: Feed) {
    this.topic = topic
    this.role = role
    this.partition = partition
    this.#feed = feed
  }

  get leaving(): AbortSignal {
    return this.#leaving.signal
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  get aliveUntil(): number {
    return this.#feed.aliveUntil()
  }

  /** It has ended, or is being given back. */
  get ended(): boolean {
    return this.#over || this.#released !== null
  }

  read(max: number): Promise<readonly Delivery[]> {
    if (this.ended || this.#leaving.signal.aborted) return nothing
    if (this.#buffer.length > this.#head && this.#mayHand > 0) return Promise.resolve(this.#hand(max))
    return new Promise((resolve) => {
      this.#waiting = { max, resolve }
    })
  }

  settle(tokens: readonly unknown[]): Promise<SettleResult> {
    if (this.#over) return answeredStale
    const answered = (): void => {
      this.#out -= tokens.length
      if (this.#waiting !== null) this.#serve()
    }
    const settling = this.#feed.settle(tokens)
    settling.then(answered, answered)
    return settling
  }

  /** Core takes the next ones when a settlement has left. Where its answer is long under way, no more than another window goes after it. */
  get #mayHand(): number {
    return 2 * this.#feed.maxBuffered - this.#out
  }

  release(): Promise<void> {
    this.#released ??= this.#letGo()
    return this.#released
  }

  async #letGo(): Promise<void> {
    if (this.#over) return
    this.#answer(empty)
    await this.#feed.release().catch(() => {})
    this.end()
  }

  /** Core is asked to hand over. */
  leave(): void {
    if (this.ended || this.#leaving.signal.aborted) return
    this.#leaving.abort()
    this.#answer(empty)
  }

  /** It is over, and the server knows or will find out. */
  end(): void {
    if (this.#over) return
    this.#over = true
    this.#buffer = []
    this.#head = 0
    this.#lost.abort()
    this.#answer(empty)
    this.#feed.over()
  }

  /** Takes what came. False: no more until `room` is called. */
  push(arrived: Arrived): boolean {
    if (this.ended) return true
    this.#buffer.push(arrived)
    this.#bytes += arrived.bytes
    // At the end of the turn, so that what came together is handed out together.
    if (this.#waiting !== null && !this.#soon) {
      this.#soon = true
      this.#feed.soon(() => this.#serve())
    }
    this.#full = this.#buffer.length - this.#head >= this.#feed.maxBuffered || this.#bytes >= this.#feed.maxBytes
    return !this.#full
  }

  #serve(): void {
    this.#soon = false
    const waiting = this.#waiting
    if (waiting === null || this.ended || this.#buffer.length === this.#head || this.#mayHand <= 0) return
    this.#waiting = null
    waiting.resolve(this.#hand(waiting.max))
  }

  #answer(deliveries: readonly Delivery[]): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.resolve(deliveries)
  }

  #hand(max: number): readonly Delivery[] {
    const until = Math.min(this.#buffer.length, this.#head + Math.min(Math.max(1, max), this.#mayHand))
    this.#out += until - this.#head
    const some: Delivery[] = []
    for (let at = this.#head; at < until; at++) {
      const arrived = this.#buffer[at] as Arrived
      this.#bytes -= arrived.bytes
      some.push(arrived.deliver())
    }
    if (until === this.#buffer.length) {
      this.#buffer = []
      this.#head = 0
    } else {
      this.#head = until
      if (until >= 512 && until * 2 >= this.#buffer.length) {
        this.#buffer = this.#buffer.slice(until)
        this.#head = 0
      }
    }
    if (this.#full && (this.#buffer.length - this.#head) * 2 <= this.#feed.maxBuffered && this.#bytes * 2 <= this.#feed.maxBytes) {
      this.#full = false
      this.#feed.room()
    }
    return some
  }
}

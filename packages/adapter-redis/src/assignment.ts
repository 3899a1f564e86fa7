// An assignment in the hands of core: reads ahead while core handles, waits without taking, settles, and ends once.

import type { Assignment, Delivery, Outgoing, Received, SettleResult, Undecodable } from '@posthorn/core/adapter'
import type { Entry } from './encode.ts'

/** What a read of the server gave. */
export type Fetched =
  | { readonly kind: 'stale' }
  /** The group or the stream is not there. */
  | { readonly kind: 'gone' }
  | {
      readonly kind: 'entries'
      readonly entries: readonly Entry[]
      /** Hand-overs counted by the server, one per entry; null: this is the first. */
      readonly times: readonly number[] | null
      /** Where a wait begins. */
      readonly last: string
      /** There may be more at once. */
      readonly more: boolean
    }

/** How far a read goes back: all that is pending (`history`), what is new, or what a lost answer may have carried (`again`). */
export type Mode = 'history' | 'new' | 'again'

/** Where an assignment's messages come from. */
export interface Feed {
  readonly first: Mode
  fetch(mode: Mode, after: string, count: number, chunk: number, bytes: number): Promise<Fetched>
  /** Calls `wake` when something may have come after `last`. */
  wait(last: string, wake: () => void): void
  settle(ids: readonly string[], outputs: readonly Outgoing[] | undefined): Promise<SettleResult>
  /** After a settle without an answer: these may come again. */
  doubt(ids: readonly string[]): void
  /** It is over: nothing waits any more. */
  stop(): void
  /** The last call, after `stop`: gives everything back. */
  release(): Promise<void>
  /** Entries that the server does not have any more. */
  vanished(ids: readonly string[]): void
}

/** What an assignment needs of its subscription. */
export interface Host {
  readonly topic: string
  readonly role: 'main' | 'retry'
  readonly partition: number
  readonly maxUnsettled: number
  readonly maxBytes: number
  readonly count: number
  aliveUntil(): number
  /** Is the connection there? */
  up(): boolean
  timer(ms: number, run: () => void): () => void
  /** The server says that it is somebody else's. */
  stale(): void
  /** The topic or the group is gone: makes it again, then `resync` is called. */
  gone(): void
  /** The server refuses to let it be read, and will not change its mind by itself. False: that is not what the error says. */
  refused(right: 'read' | 'settle', error: unknown): boolean
  /** It ended, for whatever reason. */
  over(one: Owned): void
}

const empty: readonly Delivery[] = Object.freeze([])
const nothing: Promise<readonly Delivery[]> = Promise.resolve(empty)
const answeredStale: Promise<SettleResult> = Promise.resolve('stale')
const trouble = 500

class Handed implements Delivery {
  readonly token: string
  readonly content: Received | Undecodable
  readonly parked: boolean
  readonly deliveries: number | null
  readonly #place: string
  readonly bytes: number

  constructor(entry: Entry, content: Received | Undecodable, parked: boolean, deliveries: number | null, place: string) {
    this.token = entry.id
    this.content = content
    this.parked = parked
    this.deliveries = deliveries
    this.#place = place
    this.bytes = entry.bytes
  }

  position(): string {
    return `${this.#place}:${this.token}`
  }
}

export class Owned implements Assignment {
  readonly topic: string
  readonly role: 'main' | 'retry'
  readonly partition: number
  readonly #host: Host
  readonly #feed: Feed
  readonly #leaving = new AbortController()
  readonly #lost = new AbortController()
  /** Read and not asked for yet. */
  #buffer: Handed[] = []
  #head = 0
  #bytes = 0
  /** Entries in the hands of core, their settlement not answered. */
  readonly #out = new Set<string>()
  /** Of these, how many no settlement was asked for. */
  #held = 0
  #mode: Mode
  #after = '0-0'
  /** An answer was lost while the history was read: it is followed by another look. */
  #doubtful = false
  #fetching = false
  #waiting: { readonly max: number; readonly resolve: (deliveries: readonly Delivery[]) => void } | null = null
  /** The server has nothing for us: a wake is asked for. */
  #idle = false
  #paused: (() => void) | null = null
  /** Bytes of the largest entry seen, and messages of one step of a read: so that what lies here stays bounded. */
  #largest = 256
  #chunk = 16
  #over = false
  #released: Promise<void> | null = null

  constructor(host: Host, feed: Feed) {
    this.topic = host.topic
    this.role = host.role
    this.partition = host.partition
    this.#host = host
    this.#feed = feed
    this.#mode = feed.first
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

  /** It has ended, or is being given back. */
  get ended(): boolean {
    return this.#over
  }

  read(max: number): Promise<readonly Delivery[]> {
    if (this.#over || this.#leaving.signal.aborted) return nothing
    if (this.#buffer.length > this.#head) return Promise.resolve(this.#hand(max))
    return new Promise((resolve) => {
      this.#waiting = { max, resolve }
      this.#pump()
    })
  }

  settle(tokens: readonly unknown[], outputs?: readonly Outgoing[]): Promise<SettleResult> {
    if (this.#over) return answeredStale
    const ids = tokens as readonly string[]
    this.#held -= ids.length
    return this.#feed.settle(ids, outputs).then((result) => {
      for (const id of ids) this.#out.delete(id)
      if (result === 'unknown' && !this.#over) {
        this.#feed.doubt(ids)
        // The server may have it still, and then it comes again; not at once, because what is refused is refused again.
        this.#pause(trouble, () => this.resync())
      } else if (result === 'stale') this.#host.stale()
      return result
    })
  }

  release(): Promise<void> {
    this.#released ??= this.#letGo()
    return this.#released
  }

  async #letGo(): Promise<void> {
    if (this.#over) return
    // The successor may begin the moment the server knows, which is before its answer is here.
    this.#stop()
    await this.#feed.release().catch(() => {})
    this.#host.over(this)
  }

  /** Core is asked to hand over. */
  leave(): void {
    if (this.#over || this.#leaving.signal.aborted) return
    this.#leaving.abort()
    this.#answer(empty)
  }

  /** It is over, and the server knows or will find out. */
  end(): void {
    if (this.#over) return
    this.#stop()
    this.#host.over(this)
  }

  /** Answers may have been lost: everything pending is looked at again, and what core has not is handed out. */
  resync(): void {
    if (this.#over) return
    if (this.#mode === 'new') {
      this.#mode = 'again'
      this.#after = '0-0'
    } else if (this.#mode === 'again') this.#after = '0-0'
    else this.#doubtful = true
    this.#idle = false
    this.#pump()
  }

  /** The group was made again, from its beginning: nothing of before counts. */
  restart(): void {
    if (this.#over) return
    this.#mode = this.#feed.first
    this.#after = '0-0'
    this.#idle = false
    this.#pump()
  }

  /** Something may have come. */
  wake(): void {
    if (this.#over) return
    this.#idle = false
    this.#pump()
  }

  #stop(): void {
    this.#over = true
    this.#paused?.()
    this.#feed.stop()
    this.#buffer = []
    this.#head = 0
    this.#lost.abort()
    this.#answer(empty)
  }

  #answer(deliveries: readonly Delivery[]): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.resolve(deliveries)
  }

  #hand(max: number): readonly Delivery[] {
    const until = Math.min(this.#buffer.length, this.#head + Math.max(1, max))
    const some = this.#head === 0 && until === this.#buffer.length ? this.#buffer : this.#buffer.slice(this.#head, until)
    if (until === this.#buffer.length) {
      this.#buffer = []
      this.#head = 0
    } else this.#head = until
    for (const each of some) {
      this.#out.add(each.token)
      this.#bytes -= each.bytes
    }
    this.#held += some.length
    this.#pump()
    return some
  }

  #pause(ms: number, then: () => void): void {
    this.#paused ??= this.#host.timer(ms, () => {
      this.#paused = null
      then()
    })
  }

  /** Reads on where there is room: what core holds and what lies here together stay within the window. */
  #pump(): void {
    if (this.#over || this.#fetching || this.#idle || this.#leaving.signal.aborted || !this.#host.up()) return
    const ahead = this.#buffer.length - this.#head
    const room = this.#host.maxUnsettled - this.#held - ahead
    if (room <= 0 || (ahead > 0 && this.#bytes >= this.#host.maxBytes)) return
    // A small rest of room is not worth a way to the server while core has enough.
    if (this.#waiting === null && room * 4 < this.#host.maxUnsettled) return
    const count = Math.min(room, this.#host.count)
    this.#fetching = true
    const mode = this.#mode
    this.#feed.fetch(mode, this.#after, count, Math.min(this.#chunk, count), Math.max(1, this.#host.maxBytes - this.#bytes)).then(
      (fetched) => {
        this.#fetching = false
        if (!this.#over) this.#take(mode, fetched)
      },
      (error: unknown) => {
        this.#fetching = false
        if (this.#over || this.#host.refused('read', error)) return
        // Its answer may have carried entries that are ours and unknown here. While the connection is away `resync` is called
        // when it is back; where the server refuses, it is asked again a little later.
        if (this.#mode === 'new') {
          this.#mode = 'again'
          this.#after = '0-0'
        }
        if (this.#host.up()) this.#pause(trouble, () => this.#pump())
      },
    )
  }

  #take(mode: Mode, fetched: Fetched): void {
    if (fetched.kind === 'stale') return this.#host.stale()
    if (fetched.kind === 'gone') {
      this.#idle = true
      return this.#host.gone()
    }
    const { entries, times, last, more } = fetched
    const known = mode === 'again' ? new Set(this.#buffer.slice(this.#head).map(({ token }) => token)) : null
    const place = this.role === 'retry' ? 'retry' : String(this.partition)
    const vanished: string[] = []
    for (let at = 0; at < entries.length; at++) {
      const entry = entries[at] as Entry
      if (known !== null && (known.has(entry.id) || this.#out.has(entry.id))) continue
      if (entry.content === null) {
        vanished.push(entry.id)
        continue
      }
      this.#bytes += entry.bytes
      if (entry.bytes > this.#largest) this.#largest = entry.bytes
      this.#buffer.push(new Handed(entry, entry.content, this.role === 'retry', times === null ? 1 : (times[at] ?? null), place))
    }
    if (vanished.length > 0) this.#feed.vanished(vanished)
    // So many of the largest seen fit into what may lie here.
    this.#chunk = Math.max(1, Math.min(this.#chunk * 2, 500, Math.floor(this.#host.maxBytes / this.#largest)))
    // Another look was asked for while this one was under way.
    if (this.#mode === mode) {
      if (mode !== 'new') {
        if (more) this.#after = last
        else {
          this.#mode = mode === 'history' && this.#doubtful ? 'again' : 'new'
          this.#after = '0-0'
          this.#doubtful = false
        }
      } else if (!more) {
        this.#idle = true
        this.#feed.wait(last, () => this.wake())
      }
      if (mode === 'new') this.#after = last
    }
    const waiting = this.#waiting
    if (waiting !== null && this.#buffer.length > this.#head) {
      this.#waiting = null
      waiting.resolve(this.#hand(waiting.max))
    } else this.#pump()
  }
}

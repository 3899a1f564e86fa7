// A queue in the hands of core: what one consumer on one channel was given, from the first delivery to the end of the channel.
// Giving up is always closing the channel: a cancelled consumer or a message handed back singly would come after newer ones.

import type { AdapterContext, Assignment, Delivery, Received, SettleResult, Source } from '@posthorn/core/adapter'
import type { Channel, ConsumeMessage } from 'amqplib'
import { answered } from './answers.ts'
import { applied } from './applied.ts'
import type { Wire } from './connections.ts'
import { decode, deliveriesOf } from './decode.ts'
import { explain } from './explain.ts'

/** One message that the channel holds unacknowledged: what core is given, and its own token. Of the client's message it keeps the bytes alone. */
class Held implements Delivery {
  readonly owner: QueueAssignment
  readonly tag: number
  readonly content: Delivery['content']
  readonly parked: boolean
  readonly deliveries: number
  settled = false

  constructor(owner: QueueAssignment, tag: number, content: Delivery['content'], parked: boolean, deliveries: number) {
    this.owner = owner
    this.tag = tag
    this.content = content
    this.parked = parked
    this.deliveries = deliveries
  }

  get token(): Held {
    return this
  }

  position(): null {
    return null
  }
}

export interface AssignmentHost {
  readonly context: AdapterContext
  readonly source: Source
  readonly wire: Wire
  readonly role: Assignment['role']
  readonly partition: number | null
  /** Came again, and may have been answered `settled` before: not to be handed out. */
  repeated(message: ConsumeMessage): boolean
  /** The first delivery is here. */
  begun(assignment: QueueAssignment): void
  /** It is over, whoever ended it. */
  over(assignment: QueueAssignment): void
}

const nothing: Promise<readonly Delivery[]> = Promise.resolve(Object.freeze([]))
const closeMs = 5000
/** So many do not wait for the answer to those before them: the server hands out more only for what it knows to be acknowledged. */
const ackAtOnce = 100
const stale: Promise<SettleResult> = Promise.resolve('stale')
const soon = Promise.resolve()

export class QueueAssignment implements Assignment {
  readonly topic: string
  readonly role: Assignment['role']
  readonly partition: number | null
  readonly #host: AssignmentHost
  readonly #leaving = new AbortController()
  readonly #lost = new AbortController()
  #channel: Channel | null = null
  /** What it is read from, where others may consume it too. */
  #queue: string | null = null
  #acknowledged = false
  #buffer: Held[] = []
  #head = 0
  /** Something came from the server in this turn, and `#arrived` follows. */
  #arriving = false
  #begun = false
  #over = false
  #waiting: { readonly max: number; readonly resolve: (deliveries: readonly Delivery[]) => void } | null = null
  #deadline: (() => void) | null = null
  #released: Promise<void> | null = null
  /** The lowest tag that is not acknowledged, and what is acknowledged above it. */
  #lowest = 1
  readonly #above = new Set<number>()
  /** Finished, and not acknowledged yet: what finishes while an answer is awaited leaves together. */
  #due: number[] = []
  #trip: Promise<SettleResult> | null = null
  #flush: Promise<SettleResult> | null = null

  constructor(host: AssignmentHost) {
    this.topic = host.source.topic
    this.role = host.role
    this.partition = host.partition
    this.#host = host
  }

  get leaving(): AbortSignal {
    return this.#leaving.signal
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  get aliveUntil(): number {
    return this.#over ? Number.NEGATIVE_INFINITY : this.#host.wire.aliveUntil()
  }

  /** May a routing key stand for the key of a message? */
  get keyed(): boolean {
    return this.#host.source.keyed && this.role !== 'retry'
  }

  /** Was it yielded to core, or is it about to be? */
  get begun(): boolean {
    return this.#begun
  }

  read(max: number): Promise<readonly Delivery[]> {
    if (this.#over || this.#leaving.signal.aborted) return nothing
    if (this.#head < this.#buffer.length) return Promise.resolve(this.#take(max))
    return new Promise((resolve) => {
      this.#waiting = { max, resolve }
    })
  }

  settle(tokens: readonly unknown[]): Promise<SettleResult> {
    if (this.#over || this.#channel === null) return stale
    let some = false
    for (const token of tokens) {
      const held = token as Held
      if (held.owner !== this || held.settled) continue
      held.settled = true
      some = true
      this.#due.push(held.tag)
    }
    if (!some) return stale
    if (this.#trip === null) return this.#send()
    if (this.#due.length >= Math.min(ackAtOnce, this.#host.source.maxUnsettled / 4)) this.#acknowledgeDue()
    this.#flush ??= this.#trip.then(() => this.#send())
    return this.#flush
  }

  release(): Promise<void> {
    this.#released ??= this.#releaseNow()
    return this.#released
  }

  // ── the host's side ────────────────────────────────────────────────────────────────────────────────────────────────

  /** The channel that consumes for it. */
  attach(channel: Channel): void {
    this.#channel = channel
  }

  /** The queue that it consumes, unless nobody else may. */
  consumes(queue: string): void {
    this.#queue = queue
  }

  /** A share of a queue begins with the consumer; a partition, whose owner only the server knows, with its first message. */
  begin(): void {
    if (this.#begun || this.#over) return
    this.#begun = true
    this.#host.begun(this)
  }

  /** The server handed a message over. Never throws: that would end the channel. */
  receive(message: ConsumeMessage): void {
    const tag = message.fields.deliveryTag
    if (!this.#over && this.#host.repeated(message)) {
      this.#arrives()
      return this.#drop(tag)
    }
    this.#hold(tag, decode(message, this.keyed), deliveriesOf(message))
  }

  /** The same for one that was read where it lay, which has no count of deliveries and so is the first. */
  receiveRead(tag: number, content: Received): void {
    this.#hold(tag, content, 1)
  }

  #hold(tag: number, content: Delivery['content'], deliveries: number): void {
    this.#arrives()
    if (this.#over) return
    this.#buffer.push(new Held(this, tag, content, this.role === 'retry', deliveries))
    this.begin()
  }

  #arrives(): void {
    if (this.#arriving) return
    this.#arriving = true
    void soon.then(this.#arrived)
  }

  // What one piece from the socket brings is handed over together.
  readonly #arrived = (): void => {
    this.#arriving = false
    this.#host.wire.heard()
    this.#wake()
  }

  /** Asked to hand over; `forceMs` later it ends by itself (null: never). */
  leave(forceMs: number | null): void {
    if (this.#over || this.#leaving.signal.aborted) return
    this.#leaving.abort()
    this.#wakeEmpty()
    if (forceMs !== null && !this.#isOver) this.#deadline = this.#host.context.clock.timer(forceMs, () => void this.release())
  }

  /** The channel is gone. */
  end(): void {
    if (this.#over) return
    this.#stop()
    this.#host.over(this)
  }

  // ── inside ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A getter, because what is called in between may end it. */
  get #isOver(): boolean {
    return this.#over
  }

  #take(max: number): readonly Delivery[] {
    const until = Math.min(this.#buffer.length, this.#head + Math.max(1, max))
    const all = this.#head === 0 && until === this.#buffer.length
    const deliveries = all ? this.#buffer : this.#buffer.slice(this.#head, until)
    this.#head = until
    if (until === this.#buffer.length) {
      this.#buffer = []
      this.#head = 0
    } else if (this.#head >= 512 && this.#head * 2 >= this.#buffer.length) {
      this.#buffer = this.#buffer.slice(this.#head)
      this.#head = 0
    }
    return deliveries
  }

  #wake(): void {
    const waiting = this.#waiting
    if (waiting === null || this.#head === this.#buffer.length) return
    this.#waiting = null
    waiting.resolve(this.#take(waiting.max))
  }

  #wakeEmpty(): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.resolve([])
  }

  // One acknowledgement for everything up to the end of the finished start, single ones for what finished out of turn. A multiple
  // one must name a message that is still open, or the server closes the channel.
  #acknowledge(tags: readonly number[]): void {
    const channel = this.#channel as Channel
    let lowest = this.#lowest
    for (const tag of tags) {
      if (tag === lowest) lowest++
      else this.#above.add(tag)
    }
    if (this.#above.size > 0) while (this.#above.delete(lowest)) lowest++
    this.#lowest = lowest
    let highest = 0
    let below = 0
    for (const tag of tags) {
      if (tag >= lowest) ack(channel, tag, false)
      else {
        below++
        if (tag > highest) highest = tag
      }
    }
    if (below > 0) ack(channel, highest, below > 1)
  }

  #acknowledgeDue(): void {
    const due = this.#due
    if (due.length === 0) return
    this.#due = []
    try {
      this.#acknowledge(due)
    } catch {
      // The channel has ended; what was finished comes again.
    }
  }

  // The server works a channel off in order: an answer to anything asked later proves that it has read the acknowledgements.
  #send(): Promise<SettleResult> {
    this.#flush = null
    const trip = this.#ask()
    this.#trip = trip
    void trip.then(() => {
      if (this.#trip === trip) this.#trip = null
    })
    return trip
  }

  async #ask(): Promise<SettleResult> {
    const due = this.#due
    this.#due = []
    const channel = this.#channel as Channel
    const { wire, context, source } = this.#host
    if (this.#over) return 'unknown'
    try {
      this.#acknowledge(due)
      await answered(wire, context.clock, channel.prefetch(source.maxUnsettled))
      wire.heard()
      return 'settled'
    } catch (error) {
      // Otherwise the channel has ended.
      if (explain(error).code === 'TIMED_OUT') void this.release()
    }
    return 'unknown'
  }

  #drop(tag: number): void {
    const { context, source } = this.#host
    try {
      this.#acknowledge([tag])
    } catch {
      // The channel has ended: it comes again, and is dropped then.
      return
    }
    context.event('broker-dropped', {
      topic: source.topic,
      ...(source.group === null ? {} : { group: source.group }),
      ...(this.partition === null ? {} : { partition: this.partition }),
      count: 1,
      note: 'it may have been settled before a connection was lost, and came again: at most once, it is not handled',
    })
  }

  async #releaseNow(): Promise<void> {
    if (this.#over) return
    this.#acknowledgeDue()
    if (this.#leaving.signal.aborted && this.#acknowledged) await this.#proven()
    if (this.#isOver) return
    // The successor may begin the moment the server reads this, which is before its answer is here.
    this.#stop()
    await this.#close()
    this.#host.over(this)
  }

  // Handed over politely, nothing that was settled comes again.
  #proven(): Promise<void> {
    const [channel, queue] = [this.#channel, this.#queue]
    if (channel === null || queue === null) return Promise.resolve()
    return this.#within(applied(channel, queue, () => ''))
  }

  #close(): Promise<void> {
    const channel = this.#channel
    if (channel === null) return Promise.resolve()
    return this.#within((async () => channel.close())())
  }

  // Until it is done or failed, the connection is lost, or it takes too long.
  #within(work: Promise<unknown>): Promise<void> {
    const { wire, context } = this.#host
    return new Promise((resolve) => {
      const end = (): void => {
        cancel()
        wire.lost.removeEventListener('abort', end)
        resolve()
      }
      const cancel = context.clock.timer(closeMs, end)
      wire.lost.addEventListener('abort', end, { once: true })
      work.then(end, end)
      if (wire.lost.aborted) end()
    })
  }

  #stop(): void {
    this.#over = true
    this.#deadline?.()
    this.#lost.abort()
    this.#buffer = []
    this.#head = 0
    this.#wakeEmpty()
  }
}

function ack(channel: Channel, deliveryTag: number, upTo: boolean): void {
  channel.ack({ fields: { deliveryTag } } as ConsumeMessage, upTo)
}

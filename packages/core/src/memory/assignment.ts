// An assignment in the hands of core: reads and settles over the link, and ends once, for whatever reason.

import type { Assignment, Delivery, Outgoing, SettleResult } from '../contract.ts'
import type { Ownership } from './group.ts'
import type { Connection } from './link.ts'
import { clearDoubt, settle, take } from './serve.ts'
import type { EmbeddedServer } from './server.ts'

/** What an assignment needs of its subscription. */
export interface AssignmentHost {
  readonly server: EmbeddedServer
  readonly connection: Connection
  /** The host's timer: it stands still while the client's process does. */
  timer(ms: number, run: () => void): () => void
  aliveUntil(): number
  /** It ended, or was released and the server knows. */
  over(assignment: MemoryAssignment): void
  /** The connection does not answer. */
  broken(): void
}

const empty: readonly Delivery[] = Object.freeze([])
const nothing: Promise<readonly Delivery[]> = Promise.resolve(empty)
const answers: Readonly<Record<SettleResult, Promise<SettleResult>>> = {
  settled: Promise.resolve('settled'),
  stale: Promise.resolve('stale'),
  unknown: Promise.resolve('unknown'),
}

/** Rough size on the wire of what a read gave. */
function weigh(deliveries: readonly Delivery[]): number {
  let bytes = 64
  for (const { content } of deliveries) bytes += 64 + (content.body?.length ?? 0)
  return bytes
}

export class MemoryAssignment implements Assignment {
  readonly topic: string
  readonly role: 'main' | 'retry' | 'delay'
  readonly partition: number | null
  readonly ownership: Ownership
  readonly #host: AssignmentHost
  readonly #leaving = new AbortController()
  readonly #lost = new AbortController()
  /** The open read that found nothing yet. */
  #waiting: { readonly max: number; readonly resolve: (deliveries: readonly Delivery[]) => void } | null = null
  /** A wake-up came while the answer to a read was on its way. */
  #woken = false
  #deadline: (() => void) | null = null
  #over = false
  #released: Promise<void> | null = null

  constructor(topic: string, ownership: Ownership, host: AssignmentHost) {
    this.topic = topic
    this.role = ownership.role
    this.partition = ownership.partition
    this.ownership = ownership
    this.#host = host
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

  read(max: number): Promise<readonly Delivery[]> {
    if (this.#over || this.#leaving.signal.aborted) return nothing
    if (!this.#host.connection.direct) return new Promise((resolve) => this.#readFar(max, resolve))
    const deliveries = this.#readNear(max)
    if (deliveries.length > 0) return Promise.resolve(deliveries)
    if (this.#ended) return nothing
    return new Promise((resolve) => {
      this.#waiting = { max, resolve }
    })
  }

  settle(tokens: readonly unknown[], outputs?: readonly Outgoing[]): Promise<SettleResult> {
    if (this.#over) return answers.stale
    const { connection, server } = this.#host
    const run = (): SettleResult => {
      const result = settle(server, this.ownership, tokens, outputs)
      server.room()
      return result
    }
    if (connection.direct) {
      server.count('settle')
      return answers[run()]
    }
    return connection.request('settle', 64 + 16 * tokens.length, server.settings.replyMs, run).catch((): SettleResult => {
      if (connection.open && !this.#over) this.#doubt(tokens, outputs !== undefined)
      return 'unknown'
    })
  }

  release(): Promise<void> {
    if (this.#over) return this.#released ?? Promise.resolve()
    // The successor may begin the moment the server knows, which is before its answer is here.
    this.#stop()
    this.#released = this.#tellRelease()
    return this.#released
  }

  /** The server asks to hand over; `forceMs` later the assignment ends by itself (null: never). */
  leave(forceMs: number | null): void {
    if (this.#over || this.#leaving.signal.aborted) return
    this.#leaving.abort()
    this.#wakeEmpty()
    if (forceMs === null || this.#ended) return
    this.#deadline = this.#host.timer(forceMs, () => void this.release())
  }

  /** Something may be there. */
  wake(): void {
    const waiting = this.#waiting
    this.#woken = waiting === null
    if (waiting === null) return
    if (!this.#host.connection.direct) {
      this.#waiting = null
      this.#readFar(waiting.max, waiting.resolve)
      return
    }
    const deliveries = this.#readNear(waiting.max)
    if (deliveries.length === 0) return
    this.#waiting = null
    waiting.resolve(deliveries)
  }

  /** It is over, and the server knows. */
  end(): void {
    if (this.#over) return
    this.#stop()
    this.#host.over(this)
  }

  #stop(): void {
    this.#over = true
    this.#deadline?.()
    this.#lost.abort()
    this.#wakeEmpty()
  }

  /** A getter, because what is called in between may end it. */
  get #ended(): boolean {
    return this.#over
  }

  /** A read without a link in between. */
  #readNear(max: number): readonly Delivery[] {
    const { server } = this.#host
    server.count('read')
    return take(server, this.ownership, max)
  }

  #readFar(max: number, resolve: (deliveries: readonly Delivery[]) => void): void {
    const { connection, server } = this.#host
    this.#woken = false
    connection
      .request('read', 64, server.settings.replyMs, () => take(server, this.ownership, max), weigh)
      .then(
        (deliveries) => {
          if (this.#over || (deliveries.length === 0 && this.#leaving.signal.aborted)) resolve(empty)
          else if (deliveries.length > 0) resolve(deliveries)
          else if (this.#woken) this.#readFar(max, resolve)
          else this.#waiting = { max, resolve }
        },
        () => {
          // What the answer carried is lost to this assignment: only a new one will be given it.
          if (!this.#over) this.#host.broken()
          resolve(empty)
        },
      )
  }

  #doubt(tokens: readonly unknown[], withOutputs: boolean): void {
    const { connection, server } = this.#host
    const run = (): void => {
      clearDoubt(server, this.ownership, tokens, withOutputs)
      server.room()
    }
    connection.request('read', 64 + 16 * tokens.length, server.settings.replyMs, run).catch(() => {
      if (!this.#over) this.#host.broken()
    })
  }

  async #tellRelease(): Promise<void> {
    const { connection, server } = this.#host
    const run = (): void => {
      this.ownership.member.group.release(this.ownership)
      server.room()
    }
    try {
      await connection.request('release', 32, server.settings.replyMs, run)
    } catch {
      // Without an answer the server may still think that we own it: the end of the connection says that we do not.
      this.#host.broken()
    }
    this.#host.over(this)
  }

  #wakeEmpty(): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.resolve(empty)
  }
}

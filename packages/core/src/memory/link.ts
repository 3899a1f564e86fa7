// The wire between one client and the server. Without a fault a request is a function call; with one it is packets that
// take time, vanish, or wait for a process that stands still.

import type { Clock } from '../contract.ts'
import { fault } from './explain.ts'
import type { LinkDirection, MemoryLink, Operation } from './faults.ts'
import type { Member } from './group.ts'
import type { Settings } from './options.ts'
import { Pipe } from './pipe.ts'

/** The server, as its links need it. */
export interface LinkServer {
  readonly state: 'running' | 'stopped' | 'down'
  readonly settings: Settings
  readonly clock: Clock
  readonly random: () => number
  /** Runs something that arrived, when the server's process does; never if it is down. */
  arrive(run: () => void): void
  count(operation: Operation): void
  /** A client asks to be let in. Throws when it is refused. */
  accept(connection: Connection): void
  /** The connection is over for the server. `told`: the client knows too, so its members are gone; else their leases run on. */
  disconnected(connection: Connection, told: boolean): void
  tried(instance: string): void
}

interface Call {
  readonly operation: Operation
  reject(error: Error): void
}

const lost = (): Error => fault('UNAVAILABLE', 'embedded broker: the connection was lost', 'unknown')

/** One connection of a link, from connect to its end. */
export class Connection {
  readonly link: Link
  readonly up: Pipe
  readonly down: Pipe
  /** As the client sees it. */
  open = true
  /** As the server sees it. */
  accepted = false
  readonly members: Set<Member> = new Set()
  /** Client's monotonic time of the last packet from the server. */
  heard = 0
  readonly #server: LinkServer
  readonly #clock: Clock
  readonly #calls = new Set<Call>()
  readonly #closed: (error: Error) => void
  #heardClient = 0
  #tick: (() => void) | null = null

  constructor(link: Link, server: LinkServer, clock: Clock, closed: (error: Error) => void) {
    this.link = link
    this.#server = server
    this.#clock = clock
    this.#closed = closed
    this.up = new Pipe('up', link, server)
    this.down = new Pipe('down', link, server)
    this.heard = clock.monotonic()
  }

  /** No fault is in the way: a request may be a plain call. */
  get direct(): boolean {
    return this.open && this.accepted && !this.link.faulty && this.#server.state === 'running' && this.up.empty && this.down.empty
  }

  openCalls(operation: Operation | undefined): number {
    if (operation === undefined) return this.#calls.size
    let count = 0
    for (const call of this.#calls) if (call.operation === operation) count++
    return count
  }

  /**
   * Asks the server. `run` executes there; what it returns or throws travels back. Rejects with UNAVAILABLE when the connection
   * ends first, with TIMED_OUT after `replyMs` (0: never). `weigh` says how many bytes an answer takes on the wire.
   */
  request<T>(operation: Operation, bytes: number, replyMs: number, run: () => T | Promise<T>, weigh?: (answer: T) => number): Promise<T> {
    if (this.link.killed) return new Promise(() => {})
    if (!this.open) return Promise.reject(lost())
    if (this.direct) {
      this.#server.count(operation)
      if (operation === 'renew') this.#heardClient = this.#server.clock.monotonic()
      try {
        const result = run()
        if (!(result instanceof Promise)) return Promise.resolve(result)
        return this.hold(operation, result)
      } catch (error) {
        return Promise.reject(error as Error)
      }
    }
    return this.#await(operation, replyMs, weigh, (answer, refuse) => {
      this.up.send(bytes, () =>
        this.#server.arrive(() => {
          this.#server.count(operation)
          this.#heardClient = this.#server.clock.monotonic()
          try {
            const result = run()
            if (result instanceof Promise) result.then(answer, refuse)
            else answer(result)
          } catch (error) {
            refuse(error as Error)
          }
        }),
      )
    })
  }

  /** An answer that the server gives later, to a request that reached it as a plain call. */
  hold<T>(operation: Operation, result: Promise<T>): Promise<T> {
    return this.#await(operation, 0, undefined, (answer, refuse) => result.then(answer, refuse))
  }

  /** The server tells the client something. */
  push(run: () => void, bytes = 64): void {
    if (this.direct) run()
    else
      this.down.send(bytes, () => {
        if (!this.open) return
        this.heard = this.#clock.monotonic()
        run()
      })
  }

  /** Both ends watch for silence from now on; the client's end is the session's work. */
  watch(on: boolean): void {
    if (!on) {
      this.#tick?.()
      this.#tick = null
    } else if (this.#tick === null) {
      this.#heardClient = this.#server.clock.monotonic()
      this.#beat()
    }
  }

  /** Ends the connection for both. A frozen client hears of it when it thaws, a killed one never. */
  close(error: Error = lost()): void {
    if (!this.open) return
    this.#end()
    const { link } = this
    const hear = (): void => {
      this.#rejectAll(error)
      this.#closed(error)
    }
    if (!link.killed) {
      if (link.frozen) link.whenThawed(hear)
      else hear()
    }
    this.#gone(link.killed || !link.frozen)
  }

  /** The client ends the connection; the server learns it when the last packet arrives. */
  hangUp(): void {
    if (!this.open) return
    this.#end()
    this.#rejectAll(lost())
    this.up.send(0, () => this.#server.arrive(() => this.#gone(true)))
    this.up.forget()
    // If that never arrives, silence tells the server.
    if (this.accepted) this.watch(true)
  }

  #end(): void {
    this.open = false
    this.down.clear()
    if (this.link.current === this) this.link.current = null
  }

  #gone(told: boolean): void {
    this.watch(false)
    if (!told && !this.accepted) return
    this.accepted = false
    this.#server.disconnected(this, told)
  }

  #rejectAll(error: Error): void {
    for (const call of this.#calls) call.reject(error)
    this.#calls.clear()
  }

  #await<T>(
    operation: Operation,
    replyMs: number,
    weigh: ((answer: T) => number) | undefined,
    start: (answer: (value: T) => void, refuse: (error: Error) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel =
        replyMs === 0
          ? null
          : this.#clock.timer(replyMs, () => {
              if (this.#calls.delete(call)) reject(fault('TIMED_OUT', `embedded broker: no answer within ${replyMs} ms`, 'unknown'))
            })
      const call: Call = {
        operation,
        reject: (error) => {
          cancel?.()
          reject(error)
        },
      }
      this.#calls.add(call)
      const reply = (weight: number, settle: () => void): void => {
        if (this.link.withholds(operation)) return
        const deliver = (): void => {
          if (!this.#calls.delete(call)) return
          cancel?.()
          settle()
        }
        this.push(deliver, weight)
      }
      start(
        (value) => reply(weigh?.(value) ?? 64, () => resolve(value)),
        (error) => reply(64, () => reject(error)),
      )
    })
  }

  /** The server's own heartbeat: it says that it lives, and ends a link that says nothing for two beats. */
  #beat(): void {
    const { clock, settings } = this.#server
    const due = clock.monotonic() + settings.heartbeatMs
    this.#tick = clock.timer(settings.heartbeatMs, () => {
      const now = clock.monotonic()
      // A server that stood still itself has heard nobody and must not blame the client.
      if (this.#server.state !== 'running' || now - due > settings.heartbeatMs / 2) this.#heardClient = now
      if (now - this.#heardClient > 2 * settings.heartbeatMs) {
        this.#gone(false)
        this.down.send(0, () => this.close())
        return
      }
      if (this.#server.state === 'running') {
        this.down.send(8, () => {
          this.heard = this.#clock.monotonic()
        })
      }
      this.#beat()
    })
  }
}

/** A client's way to the server, over all its connections, with the faults that are set on it. */
export class Link implements MemoryLink {
  readonly instance: string
  current: Connection | null = null
  /** Somebody was given it, and may look at it after its client is gone. */
  kept = false
  frozen = false
  killed = false
  withheld = 0
  /** Anything is set that keeps a request from being a plain call. */
  faulty = false
  silentUp = false
  silentDown = false
  latencyMs = 0
  jitterMs = 0
  bytesPerSecond: number | null = null
  #refused = false
  #withhold: ReadonlySet<Operation> = new Set()
  readonly #server: LinkServer
  readonly #connects: number[] = []
  #thaw: (() => void)[] = []

  constructor(instance: string, server: LinkServer) {
    this.instance = instance
    this.#server = server
  }

  get connected(): boolean {
    return this.current?.accepted ?? false
  }

  open(operation?: Operation): number {
    return this.current?.openCalls(operation) ?? 0
  }

  /** A new connection; rejects when refused or when nobody answers within `timeoutMs`. `closed` is called at most once, and not after a hang-up. */
  async connect(clock: Clock, timeoutMs: number, closed: (error: Error) => void): Promise<Connection> {
    const server = this.#server
    this.#connects.push(server.clock.monotonic())
    server.tried(this.instance)
    if (this.killed) return new Promise(() => {})
    if (this.#refused || server.state === 'down') throw fault('UNAVAILABLE', 'embedded broker: the server refused the connection', 'failed')
    let ready = false
    const connection = new Connection(this, server, clock, (error) => {
      if (ready) closed(error)
    })
    this.current = connection
    try {
      await connection.request('connect', 64, timeoutMs, () => {
        if (!connection.open) throw lost()
        server.accept(connection)
        connection.accepted = true
      })
    } catch (error) {
      connection.hangUp()
      throw error
    }
    if (!connection.open) throw lost()
    ready = true
    return connection
  }

  withholds(operation: Operation): boolean {
    if (!this.#withhold.has(operation)) return false
    this.withheld++
    return true
  }

  /** Runs when the client's process runs: now, or after the thaw and before anything that the network kept. */
  whenThawed(run: () => void): void {
    if (this.killed) return
    if (this.frozen) this.#thaw.push(run)
    else run()
  }

  cut(): void {
    const connection = this.current
    if (connection === null) return
    connection.up.arriveSome(this.#server.random())
    connection.close()
  }

  refuse(on: boolean): void {
    this.#refused = on
  }

  silence(direction: LinkDirection): void {
    if (direction !== 'down') this.silentUp = true
    if (direction !== 'up') this.silentDown = true
    this.#assess()
  }

  delay(latencyMs: number, jitterMs = 0): void {
    this.latencyMs = latencyMs
    this.jitterMs = jitterMs
    this.#assess()
  }

  throttle(bytesPerSecond: number | null): void {
    this.bytesPerSecond = bytesPerSecond
    this.#assess()
  }

  withhold(operations: readonly Operation[]): void {
    this.#withhold = new Set(operations)
    this.#assess()
  }

  freeze(): void {
    this.frozen = true
    this.#assess()
  }

  thaw(): void {
    if (!this.frozen || this.killed) return
    this.frozen = false
    this.#assess()
    const missed = this.#thaw
    this.#thaw = []
    for (const run of missed) run()
    this.current?.down.thaw()
    this.current?.up.thaw()
  }

  kill(): void {
    if (this.killed) return
    this.killed = true
    this.#thaw = []
    this.#assess()
    this.current?.close()
  }

  heal(): void {
    this.silentUp = this.silentDown = false
    this.latencyMs = this.jitterMs = 0
    this.bytesPerSecond = null
    this.#refused = false
    this.#withhold = new Set()
    this.#assess()
    this.current?.up.resume()
    this.current?.down.resume()
  }

  connects(): readonly number[] {
    return [...this.#connects]
  }

  #assess(): void {
    const slow = this.latencyMs > 0 || this.jitterMs > 0 || this.bytesPerSecond !== null
    this.faulty = this.frozen || this.killed || this.silentUp || this.silentDown || slow || this.#withhold.size > 0
  }
}

// A server with sessions, wills and retained presences, and members on it that decide by ownership.ts, under one virtual clock. The
// ways between them are slow, members stand still or die, connections are cut, the server is killed and comes back.

import { type VirtualClock, virtualClock } from '@posthorn/core/testing'
import { createOwnership, type Ownership, type Presence, type Slot } from '../../src/ownership.ts'

export const keepAliveMs = 2000
export const viewMs = keepAliveMs / 5
const willMs = 2000
const lifeMs = keepAliveMs * 1.5 + willMs - viewMs
const presenceMs = keepAliveMs * 3
const handleMs = 40
const window = 8

/** A network connection: what enters one end leaves the other in order, a while later, unless it was closed or silenced. */
interface Connection {
  readonly member: SimMember
  readonly slot: string | null
  /** As the server sees it. */
  open: boolean
  /** As the member sees it. */
  seenOpen: boolean
  heardAt: number
  upFree: number
  downFree: number
}

interface Session {
  owner: Connection | null
  /** Messages that are not acknowledged, in order. */
  readonly queue: number[]
}

export interface Start {
  readonly at: number
  readonly member: string
  readonly slot: string
  readonly message: number
}

export interface World {
  readonly clock: VirtualClock
  readonly random: () => number
  readonly server: Server
  readonly members: Set<SimMember>
  readonly starts: Start[]
  readonly problems: string[]
  readonly maxLatencyMs: number
}

export function createWorld(random: () => number, slots: readonly Slot[]): World {
  const clock = virtualClock()
  const world: World = {
    clock,
    random,
    members: new Set(),
    starts: [],
    problems: [],
    maxLatencyMs: 30,
    server: null as unknown as Server,
  }
  Object.assign(world, { server: new Server(world, slots) })
  return world
}

/** The server: one connection per name, the later one wins. */
export class Server {
  readonly #world: World
  readonly sessions = new Map<string, Session>()
  readonly #presences = new Map<string, { presence: Presence; until: number }>()
  readonly #controls = new Map<string, Connection>()
  readonly #wills = new Map<string, () => void>()
  readonly #connections = new Set<Connection>()
  up = true
  /** Connections that were closed because another one came under their name. */
  takeovers = 0
  connects = 0
  #next = 0

  constructor(world: World, slots: readonly Slot[]) {
    this.#world = world
    for (const { name } of slots) this.sessions.set(name, { owner: null, queue: [] })
    const look = (): void => {
      const now = world.clock.monotonic()
      for (const each of [...this.#connections]) if (now - each.heardAt > keepAliveMs * 1.5) this.close(each, true)
      for (const [id, kept] of this.#presences) if (kept.until <= now) this.#presences.delete(id)
      world.clock.timer(100, look)
    }
    look()
  }

  connect(member: SimMember, slot: string | null): Connection | null {
    if (!this.up) return null
    const now = this.#world.clock.monotonic()
    const connection: Connection = { member, slot, open: true, seenOpen: true, heardAt: now, upFree: now, downFree: now }
    this.#connections.add(connection)
    this.connects++
    if (slot === null) {
      this.#wills.get(member.id)?.()
      this.#wills.delete(member.id)
      const old = this.#controls.get(member.id)
      if (old !== undefined) this.close(old, false)
      this.#controls.set(member.id, connection)
      for (const [id, kept] of this.#presences) this.down(connection, () => member.saw(id, kept.presence, kept.until - now))
      return connection
    }
    const session = this.sessions.get(slot) as Session
    if (session.owner !== null) {
      this.takeovers++
      this.close(session.owner, false)
    }
    session.owner = connection
    for (const message of session.queue) this.down(connection, () => member.came(connection, message))
    return connection
  }

  /** Something travels to a member. */
  down(connection: Connection, run: () => void): void {
    const { clock, random, maxLatencyMs } = this.#world
    connection.downFree = Math.max(connection.downFree, clock.monotonic() + random() * maxLatencyMs)
    clock.timer(connection.downFree - clock.monotonic(), () => connection.member.receive(() => (connection.seenOpen ? run() : undefined)))
  }

  /** Something arrives from a member, a while after it was sent. */
  send(connection: Connection, run: () => void): void {
    const { clock, random, maxLatencyMs } = this.#world
    if (connection.member.silent) return connection.member.whenBack(() => this.send(connection, run))
    connection.upFree = Math.max(connection.upFree, clock.monotonic() + random() * maxLatencyMs)
    clock.timer(connection.upFree - clock.monotonic(), () => {
      if (!connection.open) return
      connection.heardAt = clock.monotonic()
      run()
    })
  }

  close(connection: Connection, withWill: boolean): void {
    if (!connection.open) return
    connection.open = false
    this.#connections.delete(connection)
    const { clock, random, maxLatencyMs } = this.#world
    const { member, slot } = connection
    const told = Math.max(connection.downFree, clock.monotonic() + random() * maxLatencyMs)
    clock.timer(told - clock.monotonic(), () => member.receive(() => member.ended(connection)))
    if (slot !== null) {
      const session = this.sessions.get(slot) as Session
      if (session.owner === connection) session.owner = null
      return
    }
    if (this.#controls.get(member.id) === connection) this.#controls.delete(member.id)
    if (withWill)
      this.#wills.set(
        member.id,
        clock.timer(willMs, () => this.store(member.id, null)),
      )
  }

  store(id: string, presence: Presence | null): void {
    const now = this.#world.clock.monotonic()
    if (presence === null) this.#presences.delete(id)
    else this.#presences.set(id, { presence, until: now + presenceMs })
    for (const each of this.#controls.values()) this.down(each, () => each.member.saw(id, presence, presenceMs))
  }

  echo(member: SimMember, run: () => void): void {
    const control = this.#controls.get(member.id)
    if (control !== undefined) this.down(control, run)
  }

  publish(slot: string): void {
    const session = this.sessions.get(slot) as Session
    const message = ++this.#next
    session.queue.push(message)
    const { owner } = session
    if (owner !== null) this.down(owner, () => owner.member.came(owner, message))
  }

  /** Killed: no will is said, and after a while it is back with what it had stored. */
  restart(downMs: number): void {
    this.up = false
    for (const cancel of this.#wills.values()) cancel()
    this.#wills.clear()
    for (const each of [...this.#connections]) this.close(each, false)
    this.#world.clock.timer(downMs, () => {
      this.up = true
    })
  }

  get published(): number {
    return this.#next
  }
}

interface Held {
  readonly connection: Connection
  proof: number
  readonly waiting: number[]
  running: number
  busy: boolean
  leaving: boolean
}

/** A member, as membership.ts is one. */
export class SimMember {
  readonly id: string
  readonly #world: World
  readonly #machine: Ownership
  readonly #held = new Map<string, Held>()
  #control: Connection | null = null
  #connecting = false
  #proof = Number.NEGATIVE_INFINITY
  #cancelWake: (() => void) | null = null
  #deferred: (() => void)[] = []
  #onWay: (() => void)[] = []
  #frozen = false
  #saidAt = Number.NEGATIVE_INFINITY
  silent = false
  gone = false
  #leaving = false
  fenced = 0

  constructor(world: World, id: string, group: string, slots: readonly Slot[]) {
    this.id = id
    this.#world = world
    const { random } = world
    this.#machine = createOwnership(
      { viewMs, coolMs: viewMs, presenceMs, willMs, fenceLosses: 3, fenceWindowMs: 60_000, fenceMs: 30_000, random },
      { id, group, topic: 'orders' },
      slots,
    )
    world.members.add(this)
    this.#connect()
    this.#beat()
  }

  get slots(): readonly string[] {
    return [...this.#held.keys()]
  }

  /** May it start handlers of this slot now? */
  mayStart(slot: string): boolean {
    const held = this.#held.get(slot)
    return held !== undefined && !this.gone && !this.#frozen && !held.leaving && this.#world.clock.monotonic() < this.#aliveUntil(held)
  }

  freeze(ms: number): void {
    this.#frozen = true
    this.#world.clock.timer(ms, () => {
      this.#frozen = false
      const waiting = this.#deferred
      this.#deferred = []
      for (const run of waiting) run()
    })
  }

  /** Its network is away: nothing goes either way, and nobody says so. */
  silence(ms: number): void {
    this.silent = true
    this.#world.clock.timer(ms, () => {
      this.silent = false
      const waiting = this.#onWay
      this.#onWay = []
      for (const run of waiting) run()
    })
  }

  /** What is sent while the network is away is sent again by the operating system when it is back. */
  whenBack(run: () => void): void {
    this.#onWay.push(run)
  }

  kill(): void {
    this.gone = true
    this.#world.members.delete(this)
    const { server } = this.#world
    if (this.#control !== null) server.close(this.#control, true)
    for (const { connection } of this.#held.values()) server.close(connection, true)
  }

  leave(): void {
    this.#leaving = true
    this.#machine.leaveAll()
    this.#look()
  }

  /** The server ends connections, and says so. (One that cannot be told, because its network is away as well, believes its last proof: the window on the page.) */
  cut(whom: 'control' | 'slots'): void {
    const { server } = this.#world
    if (this.silent) return
    if (whom === 'control') {
      if (this.#control !== null) server.close(this.#control, true)
    } else for (const { connection } of this.#held.values()) server.close(connection, true)
  }

  /** What arrives at a process that stands still is looked at when it goes on. */
  receive(run: () => void): void {
    if (this.gone) return
    if (this.silent) this.whenBack(() => this.receive(run))
    else if (this.#frozen) this.#deferred.push(run)
    else run()
  }

  #later(ms: number, run: () => void): () => void {
    return this.#world.clock.timer(ms, () => {
      if (this.gone) return
      if (this.#frozen) this.#deferred.push(run)
      else run()
    })
  }

  #now(): number {
    return this.#world.clock.monotonic()
  }

  #connect(): void {
    if (this.gone || this.#connecting || this.#control !== null) return
    this.#connecting = true
    const sentAt = this.#now()
    this.#later(this.#world.random() * this.#world.maxLatencyMs, () => {
      this.#machine.afresh(this.#now())
      const connection = this.silent ? null : this.#world.server.connect(this, null)
      this.#connecting = false
      if (connection === null) {
        this.#later(500 + this.#world.random() * 1000, () => this.#connect())
        return
      }
      this.#control = connection
      this.#proof = sentAt
      this.#machine.control(true, this.#now())
      this.#look()
    })
  }

  saw(id: string, presence: Presence | null, leftMs: number): void {
    this.#machine.seen('g', id, presence, leftMs, this.#now())
    this.#look()
  }

  ended(connection: Connection): void {
    if (!connection.seenOpen) return
    connection.seenOpen = false
    if (connection === this.#control) {
      this.#control = null
      this.#machine.control(false, this.#now())
      this.#later(500 + this.#world.random() * 500, () => this.#connect())
    } else if (connection.slot !== null && this.#held.get(connection.slot)?.connection === connection) {
      this.#held.delete(connection.slot)
      this.#machine.closed(connection.slot, this.#now())
    }
    this.#look()
  }

  came(connection: Connection, message: number): void {
    const held = connection.slot === null ? undefined : this.#held.get(connection.slot)
    if (held?.connection !== connection) return
    held.waiting.push(message)
    this.#work(connection.slot as string, held)
  }

  #aliveUntil(held: Held): number {
    return Math.min(held.proof, this.#proof) + lifeMs
  }

  #work(slot: string, held: Held): void {
    while (held.running < window && held.waiting.length > 0 && this.mayStart(slot) && this.#held.get(slot) === held) {
      const message = held.waiting.shift() as number
      held.running++
      this.#world.starts.push({ at: this.#now(), member: this.id, slot, message })
      this.#check(slot)
      this.#later(handleMs * (0.5 + this.#world.random()), () => {
        held.running--
        if (this.#held.get(slot) === held) {
          this.#world.server.send(held.connection, () => {
            const { queue } = this.#world.server.sessions.get(slot) as Session
            const at = queue.indexOf(message)
            if (at >= 0) queue.splice(at, 1)
          })
          this.#work(slot, held)
          if (held.leaving && held.running === 0) this.#release(slot, held)
        }
      })
    }
  }

  /** Does anybody else believe that it may start what we have just started? */
  #check(slot: string): void {
    for (const other of this.#world.members) {
      if (other === this || !other.mayStart(slot)) continue
      const since = (other as SimMember).#takenAt(slot)
      // The news that somebody else connected is on its way: so long both may start.
      if (since !== null && this.#now() - since <= this.#world.maxLatencyMs) continue
      if (this.#takenAt(slot) !== null && this.#now() - (this.#takenAt(slot) as number) <= this.#world.maxLatencyMs) continue
      this.#world.problems.push(`${this.#now().toFixed(0)}: ${this.id} and ${other.id} both start messages of ${slot}`)
    }
  }

  #lostAt = new Map<string, number>()
  /** When the server closed our connection of this slot, while we have not heard of it; null: it is open. */
  #takenAt(slot: string): number | null {
    const held = this.#held.get(slot)
    if (held === undefined || held.connection.open) return null
    if (!this.#lostAt.has(slot)) this.#lostAt.set(slot, this.#now())
    return this.#lostAt.get(slot) ?? null
  }

  #beat(): void {
    this.#later(keepAliveMs / 4, () => this.#beat())
    const { server } = this.#world
    const control = this.#control
    const at = this.#now()
    if (control !== null) {
      server.send(control, () =>
        server.echo(this, () => {
          this.#proof = Math.max(this.#proof, at)
        }),
      )
      if (at - this.#proof > lifeMs) this.#drop(control)
      if (at - this.#saidAt >= keepAliveMs / 2) this.#say()
    }
    for (const [slot, held] of [...this.#held]) {
      if (at > this.#aliveUntil(held) + viewMs) this.#drop(held.connection)
      else {
        server.send(held.connection, () =>
          server.echo(this, () => {
            held.proof = Math.max(held.proof, at)
            this.#work(slot, held)
          }),
        )
      }
    }
    this.#look()
  }

  #drop(connection: Connection): void {
    this.#world.server.send(connection, () => this.#world.server.close(connection, true))
    this.ended(connection)
  }

  #say(): void {
    const control = this.#control
    if (control === null) return
    this.#saidAt = this.#now()
    const presence = this.#machine.presence
    this.#world.server.send(control, () => this.#world.server.store(this.id, presence))
  }

  #look(): void {
    if (this.gone) return
    const step = this.#machine.decide(this.#now())
    this.fenced += step.fenced.length
    for (const slot of step.leave) {
      const held = this.#held.get(slot)
      if (held === undefined) continue
      held.leaving = true
      if (held.running === 0) this.#release(slot, held)
    }
    for (const slot of step.claim) this.#claim(slot)
    if (step.publish) this.#say()
    this.#cancelWake?.()
    this.#cancelWake = Number.isFinite(step.wakeAt) ? this.#later(Math.max(1, step.wakeAt - this.#now()), () => this.#look()) : null
    if (this.#leaving && this.#held.size === 0 && this.#control !== null && step.claim.length === 0) {
      const control = this.#control
      this.#world.server.send(control, () => {
        this.#world.server.store(this.id, null)
        this.#world.server.close(control, false)
      })
      this.gone = true
      this.#world.members.delete(this)
    }
  }

  #claim(slot: string): void {
    const sentAt = this.#now()
    this.#later(this.#world.random() * this.#world.maxLatencyMs, () => {
      const connection = this.silent ? null : this.#world.server.connect(this, slot)
      if (connection === null) {
        this.#machine.closed(slot, this.#now())
        return this.#look()
      }
      this.#held.set(slot, { connection, proof: sentAt, waiting: [], running: 0, busy: false, leaving: false })
      this.#lostAt.delete(slot)
      this.#machine.opened(slot, this.#now())
      this.#look()
    })
  }

  #release(slot: string, held: Held): void {
    this.#held.delete(slot)
    held.connection.seenOpen = false
    const { server } = this.#world
    server.send(held.connection, () => server.close(held.connection, false))
    // The goodbye has a way of its own to the server; the presence without the slot follows when the socket is closed.
    this.#later(this.#world.maxLatencyMs * 2, () => {
      this.#machine.released(slot, this.#now())
      this.#look()
    })
  }
}

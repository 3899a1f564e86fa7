// The embedded broker's server: one process's worth of topics, links, leases and time, and the switches to play with it.

import type { Clock, Outgoing, Place, PublishReport, Source, TopicState, Topology } from '../contract.ts'
import type { Auditor } from './audit.ts'
import { auditor } from './audit.ts'
import type { Delayed } from './delayed.ts'
import { DelayHeap } from './delayed.ts'
import { fault } from './explain.ts'
import type { MemoryLink, MemoryServer, MemoryStats, Operation, RawMessage, Removal, SettleCounts, StoredMessage } from './faults.ts'
import type { Group, Member, MemberVoice } from './group.ts'
import { Leases } from './leases.ts'
import type { Connection, LinkServer } from './link.ts'
import { Link } from './link.ts'
import type { Settings } from './options.ts'
import type { Hub } from './store.ts'
import { announce, lacksRoom, store, storeRaw, topicOf } from './store.ts'
import type { Topic } from './topic.ts'
import { declare } from './topology.ts'

interface Blocked {
  readonly batch: readonly Outgoing[]
  readonly connection: Connection
  readonly signal: AbortSignal
  readonly answer: (report: PublishReport) => void
}

// Attempts to connect that are remembered, at least.
const mostConnects = 10_000

/** Implements `MemoryServer` for tests, and everything that sessions ask for. */
export class EmbeddedServer implements MemoryServer, Hub, LinkServer {
  readonly settings: Settings
  readonly topics: Map<string, Topic> = new Map()
  readonly heap: DelayHeap = new DelayHeap()
  dropped = 0
  state: 'running' | 'stopped' | 'down' = 'running'
  readonly #links = new Map<string, Link>()
  readonly #connections = new Set<Connection>()
  readonly #leases = new Leases(this)
  readonly #requests = new Map<Operation, number>()
  readonly #connects: { instance: string; at: number }[] = []
  readonly #denied = new Set<string>()
  readonly #auditor: Auditor
  #clock: Clock | null
  /** The random numbers of faults; the first session's if no option says otherwise. */
  #random: (() => number) | null
  /** What arrived while the process stands still. */
  #inbox: (() => void)[] = []
  #blocked: Blocked[] = []
  #delayTimer: { due: number; cancel: () => void } | null = null

  constructor(settings: Settings) {
    this.settings = settings
    this.#clock = settings.clock
    this.#random = settings.random
    this.#auditor = auditor(this)
  }

  get capabilities(): Settings['capabilities'] {
    return this.settings.capabilities
  }

  get clock(): Clock {
    if (this.#clock === null) throw fault('INVALID_ARGUMENT', 'embedded broker: no clock yet: give it one, or connect a session first')
    return this.#clock
  }

  get random(): () => number {
    return this.#random ?? (() => 0.5)
  }

  /** The first session lends its clock and randomness, unless the options gave some. */
  lend(clock: Clock, random: () => number): void {
    this.#clock ??= clock
    this.#random ??= random
  }

  // Links

  link(instance: string): MemoryLink {
    const link = this.linkOf(instance)
    link.kept = true
    return link
  }

  linkOf(instance: string): Link {
    let link = this.#links.get(instance)
    if (link === undefined) {
      link = new Link(instance, this)
      this.#links.set(instance, link)
    }
    return link
  }

  links(): readonly MemoryLink[] {
    const links = [...this.#links.values()]
    for (const link of links) link.kept = true
    return links
  }

  /** A client is gone for good. What somebody asked for by name stays as it is, with its faults and its history. */
  forget(link: Link): void {
    if (!link.kept && link.current === null && this.#links.get(link.instance) === link) this.#links.delete(link.instance)
  }

  arrive(run: () => void): void {
    if (this.state === 'running') run()
    else if (this.state === 'stopped') this.#inbox.push(run)
  }

  count(operation: Operation): void {
    this.#requests.set(operation, (this.#requests.get(operation) ?? 0) + 1)
  }

  tried(instance: string): void {
    this.#connects.push({ instance, at: this.clock.monotonic() })
    if (this.#connects.length > 2 * mostConnects) this.#connects.splice(0, mostConnects)
  }

  accept(connection: Connection): void {
    this.check('connect', '')
    this.#connections.add(connection)
    this.armDelay()
  }

  disconnected(connection: Connection, told: boolean): void {
    this.#connections.delete(connection)
    if (told) for (const member of connection.members) this.end(member, undefined)
    this.#blocked = this.#blocked.filter((waiting) => waiting.connection !== connection)
    this.#idle()
  }

  check(operation: Operation, topic: string): void {
    if (this.#denied.size === 0) return
    if (this.#denied.has(`${operation} `) || this.#denied.has(`${operation} ${topic}`)) {
      throw fault('UNAUTHORIZED', `embedded broker: not allowed to ${operation}${topic === '' ? '' : ` on topic "${topic}"`}`, 'failed')
    }
  }

  // What sessions ask for

  declare(topology: Topology): readonly TopicState[] {
    return declare(this, topology)
  }

  /** Stores now, or answers later when there is room. `waits` is called if it has to wait. */
  publish(
    connection: Connection,
    batch: readonly Outgoing[],
    signal: AbortSignal,
    waits: () => void,
  ): PublishReport | Promise<PublishReport> {
    if (this.#blocked.length === 0 && !lacksRoom(this, batch)) return store(this, batch)
    if (!this.#blocked.some((waiting) => sharesTopic(waiting.batch, batch)) && !lacksRoom(this, batch)) return store(this, batch)
    waits()
    return new Promise((answer) => this.#blocked.push({ batch, connection, signal, answer }))
  }

  /** Something left: whoever waited for room may have it. Call it last, when nothing is half done. */
  room(): void {
    if (this.#blocked.length === 0 || this.state !== 'running') return
    const waiting = this.#blocked
    this.#blocked = []
    for (const item of waiting) {
      // The client has given up on it: what it never hears of need not be stored.
      if (item.signal.aborted) continue
      if (this.#blocked.some((other) => sharesTopic(other.batch, item.batch)) || lacksRoom(this, item.batch)) this.#blocked.push(item)
      else item.answer(store(this, item.batch))
    }
  }

  join(connection: Connection, source: Source, voice: MemberVoice): Member {
    this.check('subscribe', source.topic)
    if (!this.#connections.has(connection)) throw fault('UNAVAILABLE', 'embedded broker: this connection is over')
    const group = this.#groupOf(source)
    const member: Member = {
      instance: connection.link.instance,
      group,
      bounds: { maxUnsettled: source.maxUnsettled, maxBytes: source.maxBytes },
      voice,
      ownerships: new Set(),
      until: this.clock.monotonic() + this.settings.leaseMs,
      leaving: false,
      over: false,
    }
    connection.members.add(member)
    this.#leases.add(member)
    group.join(member)
    return member
  }

  /** Proofs of ownership; false for a membership that is over. */
  renew(members: readonly Member[]): readonly boolean[] {
    const until = this.clock.monotonic() + this.settings.leaseMs
    return members.map((member) => {
      if (member.over) return false
      member.until = until
      return true
    })
  }

  leave(member: Member): void {
    member.group.leave(member)
    this.room()
  }

  /** Ends a membership; see `Group.end` for `error`. */
  end(member: Member, error: Error | null | undefined): void {
    this.#leases.remove(member)
    member.group.end(member, error)
    this.room()
  }

  #groupOf(source: Source): Group {
    const topic = topicOf(this, source.topic)
    if (source.kind === 'broadcast') return topic.makeBroadcast(source.group ?? '')
    if (source.kind === 'forwarder') {
      if (topic.forwarder === null)
        throw fault('UNSUPPORTED', `embedded broker: topic "${source.topic}" has no delay lanes to forward from`)
      return topic.forwarder
    }
    const declared = topic.groups.get(source.group ?? '')
    if (declared === undefined) throw fault('NOT_FOUND', `embedded broker: topic "${source.topic}" has no group "${source.group}"`)
    return declared.group
  }

  // Time

  armDelay(): void {
    const first = this.heap.first
    if (first === null || this.state !== 'running') return
    const due = this.clock.monotonic() + Math.max(0, first.due - this.clock.now())
    if (this.#delayTimer !== null) {
      if (this.#delayTimer.due <= due) return
      this.#delayTimer.cancel()
    }
    const cancel = this.clock.timer(Math.max(0, first.due - this.clock.now()), () => {
      this.#delayTimer = null
      this.#promote()
    })
    this.#delayTimer = { due, cancel }
  }

  #promote(): void {
    if (this.state !== 'running') return
    const now = this.clock.now()
    const logs = new Set<Delayed['log']>()
    for (let first = this.heap.first; first !== null && first.due <= now; first = this.heap.first) {
      this.heap.take()
      if (first.topic.removed) continue
      first.log.append(first.entry)
      logs.add(first.log)
    }
    announce(this, [...logs])
    this.armDelay()
  }

  /** Without connections nothing is promoted or expired, so that the process may end; who connects next finds it done. */
  #idle(): void {
    if (this.#connections.size > 0) return
    this.#delayTimer?.cancel()
    this.#delayTimer = null
    this.#leases.rest()
  }

  // The process

  signal(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    if (signal === 'SIGSTOP') {
      if (this.state === 'running') this.state = 'stopped'
      return
    }
    if (signal === 'SIGCONT') {
      if (this.state === 'stopped') this.#continue()
      return
    }
    if (this.state === 'down') return
    const open = [...this.#links.values()].flatMap((link) => link.current ?? [])
    if (signal === 'SIGKILL' && this.state === 'running') for (const connection of open) connection.up.arriveSome(this.random())
    this.#inbox = []
    this.#blocked = []
    for (const connection of open) connection.close()
    this.state = 'down'
    // Who knows has no lease any more. Who stands still owns what it owned until its lease ends: leases are stored.
    this.#connections.clear()
    this.#idle()
  }

  #continue(): void {
    this.state = 'running'
    this.#leases.expire()
    const inbox = this.#inbox
    this.#inbox = []
    for (const run of inbox) run()
    this.#promote()
    this.room()
  }

  start(): void {
    if (this.state !== 'down') return
    this.state = 'running'
    this.#leases.expire()
    this.armDelay()
  }

  // The independent client and the administrator

  wipe(): void {
    this.#auditor.wipe()
    this.room()
  }

  write(topic: string, message: RawMessage): string {
    return storeRaw(this, topic, message)
  }

  read(place: Place): readonly StoredMessage[] {
    return this.#auditor.read(place)
  }

  unsettled(topic: string, group: string): number {
    return this.#auditor.unsettled(topic, group)
  }

  remaining(topic: string, group: string): number {
    return this.#auditor.remaining(topic, group)
  }

  position(topic: string, group: string): readonly number[] {
    return this.#auditor.position(topic, group)
  }

  owners(topic: string, group: string): ReadonlyMap<number, string> {
    return this.#auditor.owners(topic, group)
  }

  members(topic: string, group: string): readonly string[] {
    return this.#auditor.members(topic, group)
  }

  settles(topic: string, group: string): SettleCounts {
    return this.#auditor.settles(topic, group)
  }

  deny(operation: Operation, topic: string | null): void {
    this.#denied.add(`${operation} ${topic ?? ''}`)
  }

  allow(): void {
    this.#denied.clear()
  }

  remove(what: Removal): void {
    this.#auditor.remove(what)
    this.room()
  }

  trim(topic: string, partition: number, before?: number): void {
    this.#auditor.trim(topic, partition, before)
    this.room()
  }

  expel(instance: string): void {
    for (const member of this.#leases.all()) if (member.instance === instance) this.end(member, null)
  }

  stats(): MemoryStats {
    let messages = 0
    let bytes = 0
    for (const topic of this.topics.values()) {
      const usages = [topic.usage, topic.laneUsage, topic.deadUsage, ...[...topic.groups.values()].map((declared) => declared.retryUsage)]
      for (const usage of usages) {
        messages += usage.messages
        bytes += usage.bytes
      }
    }
    return {
      topics: this.topics.size,
      messages,
      bytes,
      requests: Object.fromEntries(this.#requests),
      connections: this.#connections.size,
      connects: [...this.#connects],
      blocked: this.#blocked.length,
      dropped: this.dropped,
    }
  }
}

/** Do both need room in the same place? Then the order between them is kept. */
function sharesTopic(a: readonly Outgoing[], b: readonly Outgoing[]): boolean {
  const needs = ({ place: { role, topic } }: Outgoing): string | null => (role === 'main' || role === 'delay' ? `${role} ${topic}` : null)
  const names = new Set(a.map(needs))
  return b.some((message) => {
    const name = needs(message)
    return name !== null && names.has(name)
  })
}

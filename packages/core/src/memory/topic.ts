// What the server keeps of one topic: its partitions, its groups with their retries, its lanes, its dead letters.

import type { Place, Start } from '../contract.ts'
import { Cursor } from './cursor.ts'
import type { Slot } from './group.ts'
import { Group } from './group.ts'
import type { Entry } from './log.ts'
import { Log, Usage } from './log.ts'
import type { Settings } from './options.ts'

/** Dead letters of one group: one entry per slot. */
export interface DeadPlace {
  readonly log: Log
  readonly slots: Map<string, Entry>
}

/** A declared group: its members, and where its retries wait. */
export interface DeclaredGroup {
  readonly group: Group
  /** One cursor per partition, in partition order. */
  readonly main: Cursor[]
  /** Lanes where the server has no delay of its own, else a log per partition that due retries enter. */
  readonly retry: Log[]
  readonly retryUsage: Usage
}

export class Topic {
  readonly name: string
  readonly keyed: boolean
  retentionMs: number | null
  /** All members of a group share one queue. */
  readonly shared: boolean
  readonly main: Log[] = []
  readonly lanes: Log[] = []
  readonly groups: Map<string, DeclaredGroup> = new Map()
  readonly broadcasts: Set<Group> = new Set()
  /** Moves due messages out of the lanes; null where delay is native. */
  forwarder: Group | null = null
  readonly dead: Map<string, DeadPlace> = new Map()
  /** Of the main partitions and of what is delayed natively. */
  readonly usage: Usage = new Usage()
  readonly laneUsage: Usage = new Usage()
  readonly deadUsage: Usage = new Usage()
  removed = false
  /** Next partition for messages that go anywhere. */
  #next = 0
  readonly #settings: Settings

  constructor(name: string, keyed: boolean, partitions: number, retentionMs: number | null, settings: Settings) {
    this.name = name
    this.keyed = keyed
    this.retentionMs = retentionMs
    this.shared = settings.sharedQueue && !keyed
    this.#settings = settings
    const eager = settings.capabilities.retention === 'queue' || (settings.trim === 'finished' && retentionMs === null)
    for (let partition = 0; partition < partitions; partition++) this.main.push(new Log(partition, this.usage, eager))
  }

  /** The next partition in turn. */
  spread(): number {
    this.#next = (this.#next + 1) % this.main.length
    return this.#next
  }

  /** Makes what is missing of the lanes; existing ones stay. */
  makeLanes(steps: number): void {
    if (this.#settings.capabilities.delay === 'native' || steps === 0) return
    this.forwarder ??= new Group(this.name, '', 'forwarder', null)
    while (this.lanes.length < steps) {
      const log = new Log(this.lanes.length, this.laneUsage, true)
      this.lanes.push(log)
      addSlot(this.forwarder, 'delay', log.partition, [new Cursor(log, 0, false)])
    }
    for (const declared of this.groups.values()) this.#makeRetry(declared, steps)
    this.forwarder.balance()
  }

  makeGroup(name: string, start: Start): DeclaredGroup {
    const main = this.main.map((log) => new Cursor(log, startOffset(log, start), false))
    const group = new Group(this.name, name, 'group', this.shared ? [...main] : null)
    if (!this.shared) for (const cursor of main) addSlot(group, 'main', cursor.log.partition, [cursor])
    const declared: DeclaredGroup = { group, main, retry: [], retryUsage: new Usage() }
    this.groups.set(name, declared)
    this.#makeRetry(declared, this.lanes.length)
    return declared
  }

  /** A group of one member that begins now and leaves nothing behind. */
  makeBroadcast(name: string): Group {
    const cursors = this.main.map((log) => new Cursor(log, log.end, false))
    const group = new Group(this.name, name, 'broadcast', this.shared ? cursors : null)
    group.emptied = () => this.endBroadcast(group)
    if (!this.shared) for (const cursor of cursors) addSlot(group, 'main', cursor.log.partition, [cursor])
    this.broadcasts.add(group)
    return group
  }

  endBroadcast(group: Group): void {
    if (this.broadcasts.delete(group)) for (const cursor of group.cursors) cursor.close()
  }

  deadOf(group: string): DeadPlace {
    let place = this.dead.get(group)
    if (place === undefined) {
      place = { log: new Log(0, this.deadUsage, true), slots: new Map() }
      this.dead.set(group, place)
    }
    return place
  }

  /** The logs of a place, by partition; empty if there is none. */
  logs(place: Place): readonly Log[] {
    if (place.role === 'main') return this.main
    if (place.role === 'delay') return this.lanes
    if (place.group === null) return []
    if (place.role === 'retry') return this.groups.get(place.group)?.retry ?? []
    const dead = this.dead.get(place.group)
    return dead === undefined ? [] : [dead.log]
  }

  /** Every group that may have members. */
  allGroups(): readonly Group[] {
    const groups = [...this.groups.values()].map((declared) => declared.group)
    return [...groups, ...this.broadcasts, ...(this.forwarder === null ? [] : [this.forwarder])]
  }

  /** Cuts a partition below an offset, and tells the groups that lost something by it. */
  cut(log: Log, before: number): void {
    log.scan(log.start, (entry) => {
      if (entry.offset < before) log.drop(entry)
    })
    for (const group of this.allGroups()) {
      for (const cursor of group.cursors) {
        if (cursor.log !== log) continue
        cursor.cut(before)
        group.tellLost(cursor)
      }
    }
  }

  /** Removes what may go: by age, and, when room is needed, what nobody will ask for. */
  evict(now: number, needRoom: boolean): void {
    const oldest = this.retentionMs === null ? Number.NEGATIVE_INFINITY : now - this.retentionMs
    const byAge = this.#settings.trim === 'age' && this.#settings.capabilities.retention === 'log'
    const someGroup = this.groups.size > 0
    for (const log of this.main) {
      log.evict((entry) => {
        if (entry.storedAt < oldest && (byAge || (entry.left === 0 && (entry.wanted || someGroup)))) return true
        return needRoom && someGroup && entry.left === 0
      })
      if (byAge && log.readers.some((reader) => reader.low < log.start)) this.cut(log, log.start)
    }
  }

  #makeRetry(declared: DeclaredGroup, steps: number): void {
    const { group, retry, retryUsage } = declared
    const { delay, settlement } = this.#settings.capabilities
    const native = delay === 'native'
    const count = native ? this.main.length : steps
    group.retriesFollow = native
    while (retry.length < count) {
      const log = new Log(retry.length, retryUsage, true)
      retry.push(log)
      const cursor = new Cursor(log, 0, true)
      // Where tokens settle by themselves, due retries come with their partition, as on servers that have one queue for
      // both. A prefix cannot cover two sequences, so there they are an assignment of their own.
      if (this.shared) group.shared?.unshift(cursor)
      else if (native && settlement === 'each') group.slots[log.partition]?.cursors.unshift(cursor)
      else addSlot(group, 'retry', log.partition, [cursor])
    }
    group.balance()
  }
}

function addSlot(group: Group, role: Slot['role'], partition: number, cursors: Cursor[]): void {
  group.slots.push({ role, partition, cursors, owner: null, target: null })
}

function startOffset(log: Log, start: Start): number {
  if (start === 'earliest') return log.start
  if (start === 'latest') return log.end
  for (let offset = log.start; offset < log.end; offset++) {
    const entry = log.at(offset)
    if (entry !== null && entry.storedAt >= start.at) return offset
  }
  return log.end
}

// Somebody's message store, as an adapter author finds it: logs of key and bytes, groups with a position per partition, and
// one owner per partition who must let go before the next begins. It knows nothing of Posthorn. It lives in this process, so
// there is no connection to lose; what ends a client all the same is `disconnect`.

export interface LogRecord {
  readonly key: string | null
  readonly value: Uint8Array | null
}

/** A record in a table. Writing the name again replaces it and keeps its place in the order; `version` is new each time. */
export interface Entry {
  readonly name: string
  readonly at: number
  readonly version: number
  readonly record: LogRecord
}

/** What the server refuses, and why. */
export class LogServerError extends Error {
  readonly reason: 'no-such-log' | 'no-such-group' | 'other-partitions' | 'too-large'
  constructor(reason: LogServerError['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}
/** How the server speaks to a member. */
export interface Voice {
  granted(grant: Grant): void
  /** Somebody else shall have it: let go when done. */
  wanted(grant: Grant): void
  revoked(grant: Grant): void
  /** There is something new to read. */
  arrived(grant: Grant): void
  /** The member left and let everything go. */
  left(): void
}
export interface Member {
  readonly client: string
  readonly voice: Voice
  leaving: boolean
}
/** A partition in the hands of one member, until it lets go. */
export interface Grant {
  readonly log: string
  readonly partition: number
  readonly member: Member
  next: number
  wanted: boolean
  over: boolean
}
interface Slot {
  readonly log: string
  readonly partition: number
  position: number
  /** The highest offset that was ever handed out, and counts for tests. */
  seen: number
  settled: number
  handedOut: number
  repeated: number
  target: Member | null
  grant: Grant | null
}
export interface Group {
  readonly slots: Slot[]
  readonly members: Member[]
  stale: number
}

export const maxRecordBytes = 2 * 1024 * 1024

/** Bytes go over a wire: whoever changes what he sent or received changes nothing here. */
const copyOf = ({ key, value }: LogRecord): LogRecord => ({ key, value: value === null ? null : Uint8Array.from(value) })

/** How long a group that gets a new member waits for others, before it shares its partitions out, in milliseconds. */
const gatherMs = 10

export class LogServer {
  readonly logs = new Map<string, LogRecord[][]>()
  readonly groups = new Map<string, Group>()
  /** Records by name: an entry is replaced or deleted, never appended twice. */
  readonly tables = new Map<string, Map<string, Entry>>()
  /** Who is connected, and what was asked of the server so far. */
  readonly clients = new Set<string>()
  readonly requests = { declare: 0, publish: 0, subscribe: 0, read: 0, settle: 0, release: 0, leave: 0, browse: 0, remove: 0, inspect: 0 }
  readonly #after: (ms: number, run: () => void) => void
  #entries = 0

  /** Time is given, so that a test can move it. */
  constructor(after: (ms: number, run: () => void) => void = (ms, run) => setTimeout(run, ms)) {
    this.#after = after
  }

  log(name: string): LogRecord[][] {
    const log = this.logs.get(name)
    if (log === undefined) throw new LogServerError('no-such-log', `there is no log "${name}"`)
    return log
  }

  connect(client: string): void {
    this.clients.add(client)
  }

  /** Makes a log. One that is there stays as it is. */
  makeLog(name: string, partitions: number): void {
    this.requests.declare++
    if (!this.logs.has(name))
      this.logs.set(
        name,
        Array.from({ length: partitions }, () => []),
      )
  }

  append(name: string, partition: number, record: LogRecord): number {
    this.requests.publish++
    const list = this.log(name)[partition]
    if (list === undefined) throw new LogServerError('other-partitions', `log "${name}" has no partition ${partition}`)
    if ((record.value?.length ?? 0) > maxRecordBytes) throw new LogServerError('too-large', `a record may have ${maxRecordBytes} bytes`)
    list.push(copyOf(record))
    for (const { slots } of this.groups.values()) {
      for (const { log, partition: at, grant } of slots) if (log === name && at === partition) grant?.member.voice.arrived(grant)
    }
    return list.length - 1
  }

  group(name: string): Group {
    const group = this.groups.get(name)
    if (group === undefined) throw new LogServerError('no-such-group', `there is no group "${name}"`)
    return group
  }

  /** Makes a group that reads these logs, from their beginning or their end. False: it was there, and stays as it is. */
  makeGroup(name: string, logs: readonly string[], start: 'earliest' | 'latest'): boolean {
    if (this.groups.has(name)) return false
    const slots = logs.flatMap((log) =>
      this.log(log).map((list, partition): Slot => {
        const position = start === 'earliest' ? 0 : list.length
        return { log, partition, position, seen: position, settled: 0, handedOut: 0, repeated: 0, target: null, grant: null }
      }),
    )
    this.groups.set(name, { slots, members: [], stale: 0 })
    return true
  }

  join(name: string, client: string, voice: Voice): Member {
    this.requests.subscribe++
    const member = { client, voice, leaving: false }
    const group = this.group(name)
    group.members.push(member)
    this.#after(gatherMs, () => this.#balance(group))
    return member
  }

  /** The member gets nothing new, and is gone once it let go of what it has. */
  leave(name: string, member: Member): void {
    this.requests.leave++
    const group = this.groups.get(name)
    if (group === undefined || member.leaving) return
    member.leaving = true
    this.#balance(group)
    this.#endIfEmpty(group, member)
  }

  /** The records after the last ones this grant read, without a wait. */
  read(grant: Grant, max: number): readonly { readonly offset: number; readonly record: LogRecord }[] {
    this.requests.read++
    const [, slot] = this.#find(grant)
    if (slot === undefined) return []
    const records = (this.log(grant.log)[grant.partition] ?? []).slice(grant.next, grant.next + max)
    const found = records.map((record, index) => ({ offset: grant.next + index, record: copyOf(record) }))
    slot.repeated += found.filter(({ offset }) => offset < slot.seen).length
    slot.handedOut += found.length
    grant.next += found.length
    slot.seen = Math.max(slot.seen, grant.next)
    return found
  }

  /** Moves the group's position. False: the grant is over, and nothing was touched. */
  commit(grant: Grant, position: number): boolean {
    this.requests.settle++
    const [group, slot] = this.#find(grant)
    if (group === undefined || slot === undefined) {
      for (const other of this.groups.values()) if (other.members.includes(grant.member)) other.stale++
      return false
    }
    slot.settled += Math.max(0, position - slot.position)
    slot.position = Math.max(slot.position, position)
    return true
  }

  /** Lets a partition go: the next owner begins at the position. */
  release(grant: Grant): void {
    this.requests.release++
    const [group, slot] = this.#find(grant)
    if (group === undefined || slot === undefined) return
    grant.over = true
    slot.grant = null
    this.#endIfEmpty(group, grant.member)
    this.#balance(group)
  }

  /** Ends a client, as a lost connection does: what it owned goes to others at once. */
  disconnect(client: string): void {
    this.clients.delete(client)
    for (const group of this.groups.values()) {
      const gone = group.members.filter((member) => member.client === client)
      for (const member of gone) group.members.splice(group.members.indexOf(member), 1)
      for (const slot of group.slots) {
        const { grant } = slot
        if (grant === null || !gone.includes(grant.member)) continue
        grant.over = true
        slot.grant = null
        grant.member.voice.revoked(grant)
      }
      for (const member of gone) member.voice.left()
      if (gone.length > 0) this.#balance(group)
    }
  }

  put(table: string, name: string, record: LogRecord): void {
    this.requests.publish++
    const entries = this.tables.get(table) ?? new Map<string, Entry>()
    this.tables.set(table, entries)
    const version = this.#entries++
    entries.set(name, { name, at: entries.get(name)?.at ?? version, version, record: copyOf(record) })
  }

  /** Entries of a table, oldest first, after where the page before ended; `next` is null at the end. */
  page(table: string, after: string | null, max: number): { readonly entries: readonly Entry[]; readonly next: string | null } {
    this.requests.browse++
    const rest = [...(this.tables.get(table)?.values() ?? [])].filter(({ at }) => after === null || at > Number(after))
    const page = rest.slice(0, max)
    return {
      entries: page.map((entry) => ({ ...entry, record: copyOf(entry.record) })),
      next: rest.length > max ? String(page.at(-1)?.at) : null,
    }
  }

  /** Deletes entries, but none that was written again since it was seen, and answers how many it deleted. */
  delete(table: string, seen: readonly Entry[]): number {
    this.requests.remove++
    const entries = this.tables.get(table)
    return seen.filter(({ name, version }) => entries?.get(name)?.version === version && entries.delete(name)).length
  }

  /** Of all that a group reads: not handed out, handed out and not settled. */
  count(name: string): { readonly backlog: number; readonly unsettled: number; readonly members: number } {
    this.requests.inspect++
    const { slots, members } = this.group(name)
    const unsettled = slots.reduce((sum, { grant, position }) => sum + (grant === null ? 0 : grant.next - position), 0)
    const remaining = slots.reduce((sum, { log, partition, position }) => sum + (this.log(log)[partition]?.length ?? 0) - position, 0)
    return { backlog: remaining - unsettled, unsettled, members: members.length }
  }

  #find(grant: Grant): [Group, Slot] | [undefined, undefined] {
    if (grant.over) return [undefined, undefined]
    for (const group of this.groups.values()) for (const slot of group.slots) if (slot.grant === grant) return [group, slot]
    return [undefined, undefined]
  }

  #endIfEmpty(group: Group, member: Member): void {
    if (!member.leaving || group.slots.some(({ grant }) => grant?.member === member)) return
    const at = group.members.indexOf(member)
    if (at >= 0) group.members.splice(at, 1)
    member.voice.left()
  }

  /** Shares the partitions of each log out evenly and moves as few as possible; what is owned moves when its owner lets go. */
  #balance(group: Group): void {
    const able = group.members.filter((member) => !member.leaving)
    const load = (member: Member, slots: readonly Slot[]): number => slots.filter(({ target }) => target === member).length
    for (const name of new Set(group.slots.map(({ log }) => log))) {
      const slots = group.slots.filter(({ log }) => log === name)
      for (const slot of slots) if (slot.target !== null && !able.includes(slot.target)) slot.target = null
      for (;;) {
        const sorted = [...able].sort((a, b) => load(a, slots) - load(b, slots))
        const [least, most] = [sorted[0], sorted.at(-1)]
        if (least === undefined || most === undefined) break
        const move =
          slots.find(({ target }) => target === null) ??
          (load(most, slots) - load(least, slots) > 1 ? slots.findLast(({ target }) => target === most) : undefined)
        if (move === undefined) break
        move.target = least
      }
    }
    for (const slot of group.slots) {
      const { grant, target, log, partition } = slot
      if (grant === null && target !== null) {
        slot.grant = { log, partition, member: target, next: slot.position, wanted: false, over: false }
        target.voice.granted(slot.grant)
      } else if (grant !== null && grant.member !== target && !grant.wanted) {
        grant.wanted = true
        grant.member.voice.wanted(grant)
      }
    }
  }
}

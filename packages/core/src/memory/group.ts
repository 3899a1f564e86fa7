// The members of one group on one topic, and who owns which partition. A partition moves only after its owner let it go.

import type { Cursor, Waiter } from './cursor.ts'

/** How the server speaks to a member. Each call travels through the member's link, in order. */
export interface MemberVoice {
  granted(ownership: Ownership): void
  leaving(ownership: Ownership): void
  wake(ownership: Ownership): void
  /** The ownership ended without being released. */
  revoked(ownership: Ownership): void
  /** The membership is over; `error` null: its lease ran out or it was expelled, and it may come back at once. */
  ended(error: Error | null): void
  /** The log was cut above the group's position: it goes on from the oldest that is left. */
  positionLost(partition: number, count: number): void
}

/** Bounds that a member asked for, as `Source` has them. */
export interface MemberBounds {
  readonly maxUnsettled: number
  readonly maxBytes: number
}

export interface Member {
  readonly instance: string
  readonly group: Group
  readonly bounds: MemberBounds
  readonly voice: MemberVoice
  readonly ownerships: Set<Ownership>
  /** Server's monotonic time at which the lease ends unless it is renewed. */
  until: number
  leaving: boolean
  over: boolean
}

/** A partition, a lane, or for a shared queue everything, in the hands of one member from grant to end. */
export class Ownership implements Waiter {
  /** Never used twice; marks in cursors carry it. */
  readonly epoch: number
  readonly member: Member
  readonly slot: Slot | null
  readonly role: 'main' | 'retry' | 'delay'
  readonly partition: number | null
  readonly cursors: readonly Cursor[]
  /** Handed out under it and not settled. */
  held = 0
  waiting = false
  leaving = false
  over = false

  constructor(
    epoch: number,
    member: Member,
    slot: Slot | null,
    role: 'main' | 'retry' | 'delay',
    partition: number | null,
    cursors: readonly Cursor[],
  ) {
    this.epoch = epoch
    this.member = member
    this.slot = slot
    this.role = role
    this.partition = partition
    this.cursors = cursors
  }

  wake(): void {
    this.waiting = false
    this.member.voice.wake(this)
  }
}

/** Something that one member at a time owns. */
export interface Slot {
  readonly role: 'main' | 'retry' | 'delay'
  readonly partition: number
  readonly cursors: Cursor[]
  owner: Ownership | null
  /** Who shall own it as soon as it is free. */
  target: Member | null
}

let lastEpoch = 0

/** Members and ownership of a group. Cursors belong to whoever made the group. */
export class Group {
  readonly topic: string
  readonly name: string
  readonly kind: 'group' | 'broadcast' | 'forwarder'
  readonly members: Member[] = []
  readonly slots: Slot[] = []
  /** Cursors of a shared queue; null where partitions are owned. */
  readonly shared: Cursor[] | null
  stale = 0
  /** Retries of a partition go to whoever owns the partition; else they are lanes, shared out by themselves. */
  retriesFollow = false
  /** Called when the last member is gone. */
  emptied: (() => void) | null = null

  constructor(topic: string, name: string, kind: 'group' | 'broadcast' | 'forwarder', shared: Cursor[] | null) {
    this.topic = topic
    this.name = name
    this.kind = kind
    this.shared = shared
  }

  get cursors(): readonly Cursor[] {
    return this.shared ?? this.slots.flatMap((slot) => slot.cursors)
  }

  join(member: Member): void {
    this.members.push(member)
    if (this.shared !== null) {
      this.#grant(member, null, 'main', null, this.shared)
      return
    }
    this.balance()
  }

  /** The member takes nothing new; it is gone once it released what it has. */
  leave(member: Member): void {
    if (member.over) return
    member.leaving = true
    if (member.ownerships.size === 0) this.end(member, undefined)
    else this.balance()
  }

  /** Ends a membership at once. `error` undefined: nobody is told; else see `MemberVoice.ended`. */
  end(member: Member, error: Error | null | undefined): void {
    if (member.over) return
    member.over = true
    this.members.splice(this.members.indexOf(member), 1)
    // The member hears it before anybody else gets what it had.
    if (error !== undefined) member.voice.ended(error)
    for (const ownership of member.ownerships) this.#close(ownership)
    this.#settled()
    this.balance()
    if (this.members.length === 0) this.emptied?.()
  }

  /** Ends one ownership: what it held comes back in order, then the next owner begins. */
  release(ownership: Ownership): void {
    if (ownership.over) return
    this.#close(ownership)
    const { member } = ownership
    if (member.leaving && member.ownerships.size === 0 && !member.over) this.end(member, undefined)
    else {
      this.#settled()
      this.balance()
    }
  }

  /** Takes one ownership away; the member is told first. */
  revoke(ownership: Ownership): void {
    if (ownership.over) return
    ownership.member.voice.revoked(ownership)
    this.release(ownership)
  }

  /** Shares the slots out evenly, moving as few as possible: nobody owns more than its share, rounded up. */
  balance(): void {
    if (this.shared !== null) return
    const able = this.members.filter((member) => !member.leaving)
    for (const role of ['main', 'retry', 'delay'] as const) {
      const slots = this.slots.filter((slot) => slot.role === role)
      if (role === 'retry' && this.retriesFollow) {
        for (const slot of slots)
          slot.target = this.slots.find((main) => main.role === 'main' && main.partition === slot.partition)?.target ?? null
        continue
      }
      // Lanes go to the youngest first, since the oldest have the odd partitions.
      if (slots.length > 0) aim(slots, role === 'main' ? able : [...able].reverse())
    }
    for (const slot of this.slots) {
      const { owner, target } = slot
      if (owner === null) {
        if (target !== null && !target.over) this.#grant(target, slot, slot.role, slot.partition, slot.cursors)
      } else if (owner.member !== target && target !== null && !owner.leaving && !owner.member.leaving) {
        owner.leaving = true
        owner.member.voice.leaving(owner)
      }
    }
  }

  #grant(member: Member, slot: Slot | null, role: 'main' | 'retry' | 'delay', partition: number | null, cursors: readonly Cursor[]): void {
    const ownership = new Ownership(++lastEpoch, member, slot, role, partition, cursors)
    if (slot !== null) slot.owner = ownership
    for (const cursor of cursors) cursor.owners.push(ownership)
    member.ownerships.add(ownership)
    member.voice.granted(ownership)
    for (const cursor of cursors) this.tellLost(cursor)
  }

  /** Reports what a cursor lost to whoever owns it now; without an owner the next one hears it. */
  tellLost(cursor: Cursor): void {
    const ownership = this.#ownerships(cursor)[0]
    if (cursor.lost === 0 || ownership === undefined) return
    const { lost } = cursor
    cursor.lost = 0
    ownership.member.voice.positionLost(cursor.log.partition, lost)
  }

  #ownerships(cursor: Cursor): readonly Ownership[] {
    return this.members.flatMap((member) => [...member.ownerships].filter((ownership) => ownership.cursors.includes(cursor)))
  }

  #close(ownership: Ownership): void {
    ownership.over = true
    ownership.waiting = false
    ownership.held = 0
    ownership.member.ownerships.delete(ownership)
    if (ownership.slot !== null) ownership.slot.owner = null
    for (const cursor of ownership.cursors) {
      cursor.owners.splice(cursor.owners.indexOf(ownership), 1)
      cursor.giveBack(ownership.epoch)
    }
  }

  /** What a share of a queue gave back is there for the others. */
  #settled(): void {
    for (const cursor of this.shared ?? []) if (cursor.available) cursor.arrived()
  }
}

function aim(slots: readonly Slot[], members: readonly Member[]): void {
  const holds = new Map<Member, Slot[]>(members.map((member) => [member, []]))
  const free: Slot[] = []
  for (const slot of slots) {
    const heir = slot.owner !== null && !slot.owner.leaving ? slot.owner.member : slot.target
    const list = heir === null ? undefined : holds.get(heir)
    if (list === undefined) free.push(slot)
    else list.push(slot)
  }
  const order = [...members].sort((a, b) => (holds.get(b)?.length ?? 0) - (holds.get(a)?.length ?? 0))
  const least = members.length === 0 ? 0 : Math.floor(slots.length / members.length)
  const odd = members.length === 0 ? 0 : slots.length % members.length
  const quota = order.map((_, index) => least + (index < odd ? 1 : 0))
  order.forEach((member, index) => {
    const list = holds.get(member) ?? []
    list.forEach((slot, at) => {
      if (at < (quota[index] ?? 0)) slot.target = member
      else free.push(slot)
    })
  })
  free.sort((a, b) => a.partition - b.partition)
  order.forEach((member, index) => {
    let room = (quota[index] ?? 0) - Math.min(holds.get(member)?.length ?? 0, quota[index] ?? 0)
    for (; room > 0 && free.length > 0; room--) (free.shift() as Slot).target = member
  })
  for (const slot of free) slot.target = null
}

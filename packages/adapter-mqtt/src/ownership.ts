// Who owns what, decided by everybody for himself from what all can see. Pure: it is told what happened and when, and answers what
// is to be done; it knows no connection and no clock, so that a simulation can play it with many members and a server of its own.
//
// A slot is something that one member at a time may hold: a partition of a group, or the moving of a topic's delayed messages. The
// session of a slot is at the server, which lets one connection in. Every member's presence says what it holds. The same view of
// the living members and of what they hold gives everybody the same answer to whose a slot should be (sharing.ts), so there is
// nothing to elect: who holds it and should not gives it back; who should and sees it held by nobody takes it. Two that look at
// different views for a moment both connect; the server keeps the later one, the earlier one steps back, looks anew, and by then
// both see the same.

import { wire } from '@posthorn/core/adapter'
import { shareOut } from './sharing.ts'

/** What a member says of itself. */
export interface Presence {
  /** Rises with every change of `holds`. */
  readonly seq: number
  readonly holds: readonly string[]
}

/** Times and bounds, in milliseconds. */
export interface Rules {
  /** A view is acted on when it did not change for so long. */
  readonly viewMs: number
  /** A slot that was lost is left alone for so long, and up to as long again. */
  readonly coolMs: number
  /** A presence that is not refreshed for so long is nobody's. */
  readonly presenceMs: number
  /** Without a control connection for so long, everything is given back. */
  readonly willMs: number
  /** So many losses within `fenceWindowMs`, while another member holds the slot, make us leave it alone for `fenceMs`. */
  readonly fenceLosses: number
  readonly fenceWindowMs: number
  readonly fenceMs: number
  readonly random: () => number
}

/** A slot, and who may hold it: members of this group, or with null everybody who is there. */
export interface Slot {
  readonly name: string
  readonly group: string | null
  /** Its turn among the slots of its group. */
  readonly at: number
}

/** What is to be done now. */
export interface Step {
  /** Connect as the owner of these; then `opened`, or `closed`. */
  readonly claim: readonly string[]
  /** Ask these to be given back; then `released`. */
  readonly leave: readonly string[]
  /** Say the presence anew. */
  readonly publish: boolean
  /** Somebody else takes these from us again and again. */
  readonly fenced: readonly string[]
  /** Look again at this time at the latest. */
  readonly wakeAt: number
}

export interface Ownership {
  /** What to say of ourselves. */
  readonly presence: Presence
  /** Others that live, ourselves included where we were seen. */
  members(group: string | null): readonly string[]
  /** Who holds a slot, as everybody says of himself. */
  holder(slot: string): string | null
  /** A presence was seen, ours too; null: it ended. `leftMs`: how much longer the server will show it. */
  seen(group: string, member: string, presence: Presence | null, leftMs: number, now: number): void
  /** From now on everybody is seen again: what was seen before may be old. */
  afresh(now: number): void
  /** The control connection is there, or went. */
  control(up: boolean, now: number): void
  opened(slot: string, now: number): void
  /** A slot's connection ended, or was not had: for whatever reason. */
  closed(slot: string, now: number): void
  /** A slot was given back in order. */
  released(slot: string, now: number): void
  /** Give everything back, take nothing. */
  leaveAll(): void
  decide(now: number): Step
}

type Phase = 'free' | 'claiming' | 'held' | 'leaving'
interface State {
  readonly slot: Slot
  phase: Phase
  /** Not before this. */
  notBefore: number
  losses: number[]
}
interface Member {
  readonly group: string
  readonly id: string
  presence: Presence
  until: number
}

const nothing: readonly string[] = Object.freeze([])
const none: ReadonlySet<string> = new Set()

/** Makes a member that knows nobody yet. `shift` spreads what many topics have in common over the members. */
export function createOwnership(
  rules: Rules,
  me: { readonly id: string; readonly group: string; readonly topic: string },
  slots: readonly Slot[],
): Ownership {
  const shift = wire.murmur2(Buffer.from(me.topic)) & 0x7fff_ffff
  const states = new Map<string, State>(slots.map((slot) => [slot.name, { slot, phase: 'free', notBefore: 0, losses: [] }]))
  const members = new Map<string, Member>()
  let seq = 1
  let said = 0
  /** The latest of our own presences that came back: both directions work, and what is older than it has been seen. */
  let heard = 0
  let controlled = false
  let controlSince = Number.NEGATIVE_INFINITY
  /** The set of members, and since when it is as it is. */
  let viewSince = Number.NEGATIVE_INFINITY
  let leaving = false

  const held = (): readonly string[] =>
    [...states.values()].filter(({ phase }) => phase === 'held' || phase === 'leaving').map(({ slot }) => slot.name)

  function view(group: string | null): readonly string[] {
    const ids: string[] = []
    for (const member of members.values()) if (group === null || member.group === group) ids.push(member.id)
    return ids.sort()
  }

  // By name and group: members of other groups hold partitions of the same number.
  function otherHolds(slot: Slot): boolean {
    for (const member of members.values()) {
      if (member.id === me.id || (slot.group !== null && member.group !== slot.group)) continue
      if (member.presence.holds.includes(slot.name)) return true
    }
    return false
  }

  function changed(): void {
    seq++
  }

  function expire(now: number): void {
    for (const [key, member] of members) {
      if (member.until > now) continue
      members.delete(key)
      viewSince = now
    }
  }

  function lost(state: State, now: number): void {
    state.phase = 'free'
    state.notBefore = now + rules.coolMs * (1 + rules.random())
    state.losses = [...state.losses.filter((at) => now - at < rules.fenceWindowMs), now]
    changed()
  }

  return {
    get presence() {
      return { seq, holds: held() }
    },
    members: view,
    holder(name) {
      const slot = states.get(name)?.slot
      if (slot === undefined) return null
      for (const member of members.values())
        if ((slot.group === null || member.group === slot.group) && member.presence.holds.includes(name)) return member.id
      return null
    },
    seen(group, id, presence, leftMs, now) {
      const key = `${group}/${id}`
      const known = members.get(key)
      if (presence === null) {
        if (known === undefined) return
        members.delete(key)
        viewSince = now
        // A will of ours: it was published while we were away, or by somebody who wants us gone. We are still here.
        if (id === me.id) said = 0
        return
      }
      if (id === me.id && presence.seq > heard) heard = presence.seq
      // Late copies of what was said before say nothing.
      if (known !== undefined && presence.seq < known.presence.seq) return
      members.set(key, { group, id, presence, until: now + Math.min(leftMs, rules.presenceMs) })
      if (known === undefined) viewSince = now
    },
    afresh(now) {
      members.clear()
      viewSince = now
      heard = 0
    },
    control(up, now) {
      if (controlled === up) return
      controlled = up
      controlSince = now
      if (!up) return
      viewSince = now
      heard = 0
      said = 0
      changed()
    },
    opened(name) {
      const state = states.get(name)
      if (state === undefined || state.phase !== 'claiming') return
      state.phase = 'held'
      changed()
    },
    closed(name, now) {
      const state = states.get(name)
      if (state !== undefined && state.phase !== 'free') lost(state, now)
    },
    released(name, now) {
      const state = states.get(name)
      if (state === undefined || state.phase === 'free') return
      state.phase = 'free'
      state.notBefore = now
      changed()
    },
    leaveAll() {
      leaving = true
    },
    decide(now) {
      expire(now)
      const claim: string[] = []
      const leave: string[] = []
      const fenced: string[] = []
      let wakeAt = Number.POSITIVE_INFINITY
      for (const { until } of members.values()) wakeAt = Math.min(wakeAt, until)
      const alone = !controlled && now - controlSince >= rules.willMs
      if (!controlled && !alone) wakeAt = Math.min(wakeAt, controlSince + rules.willMs)
      const settledAt = viewSince + rules.viewMs
      const confirmed = controlled && heard >= seq
      const stable = confirmed && now >= settledAt
      const mine = stable ? shareOfMine() : none
      if (confirmed && !stable) wakeAt = Math.min(wakeAt, settledAt)
      for (const state of states.values()) {
        const { slot, phase } = state
        if (phase === 'held') {
          // Where two say that they hold it, the server has let one of them in and is about to tell the other.
          if (leaving || alone || (stable && !mine.has(slot.name) && !otherHolds(slot))) {
            state.phase = 'leaving'
            leave.push(slot.name)
          }
        } else if (phase === 'free' && stable && !leaving && mine.has(slot.name) && !otherHolds(slot)) {
          if (now >= state.notBefore) {
            state.phase = 'claiming'
            claim.push(slot.name)
          } else wakeAt = Math.min(wakeAt, state.notBefore)
        }
        if (phase === 'free' && state.losses.length >= rules.fenceLosses && otherHolds(slot)) {
          state.losses = []
          state.notBefore = Math.max(state.notBefore, now + rules.fenceMs)
          fenced.push(slot.name)
        }
      }
      const publish = controlled && said < seq
      if (publish) said = seq
      return {
        claim: claim.length === 0 ? nothing : claim,
        leave: leave.length === 0 ? nothing : leave,
        publish,
        fenced: fenced.length === 0 ? nothing : fenced,
        wakeAt,
      }
    },
  }

  /** The slots that should be ours. What is one of all groups' goes round by itself: to move it costs nobody anything. */
  function shareOfMine(): ReadonlySet<string> {
    const found = new Set<string>()
    const ours: string[] = []
    for (const { slot } of states.values()) {
      if (slot.group !== null) ours.push(slot.name)
      else {
        const ids = view(null)
        if (ids[(shift + slot.at) % ids.length] === me.id) found.add(slot.name)
      }
    }
    const holders = new Map<string, string>()
    for (const member of [...members.values()].sort((a, b) => (a.id < b.id ? -1 : 1)))
      if (member.group === me.group) for (const slot of member.presence.holds) if (!holders.has(slot)) holders.set(slot, member.id)
    for (const [slot, member] of shareOut(ours, view(me.group), holders, shift)) if (member === me.id) found.add(slot)
    return found
  }
}

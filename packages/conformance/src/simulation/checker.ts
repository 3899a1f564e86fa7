// Judges the whole history of a run. The rules are the invariants of docs/guarantees.md; each verdict names its rule.

import type { RunPlan } from './plan.ts'

/** One member process: it may be closed, killed or frozen, and is then another. */
export interface MemberId {
  readonly name: string
  readonly group: string
}
interface Sent {
  readonly producer: string
  readonly key: string
  readonly seq: number
  outcome: 'open' | 'stored' | 'failed' | 'unknown'
}
interface Handled {
  starts: number
  /** Starts that a failure or a postponement asked for. */
  asked: number
  done: boolean
  /** Its last attempt failed: it belongs into the dead letters. */
  given: boolean
  /** Member to the time its handler started. */
  running: Map<string, number>
  last: string | undefined
}

export interface Checker {
  sending(id: string, producer: string, key: string, seq: number): void
  /** The library sent this one again. */
  repeated(id: string): void
  sent(id: string, outcome: 'stored' | 'failed' | 'unknown'): void
  start(member: MemberId, id: string, intact: boolean, owner: 'mine' | 'other' | 'unknown'): void
  end(member: MemberId, id: string, how: 'done' | 'failed' | 'last-failed' | 'postponed' | 'cancelled'): void
  /** This member was faulted: what it held may be handed out again. */
  faulted(member: MemberId): void
  closed(member: MemberId): void
  violation(rule: string, text: string): void
  /** At the end, with the ids of each group's dead letters and how often each id lies in the log. */
  judge(deadLetters: ReadonlyMap<string, ReadonlySet<string>>, copies: ReadonlyMap<string, number>): void
  /** Is everything that was stored done, or given up, in this group? */
  finished(group: string, deadLetters: ReadonlySet<string>): boolean
  readonly violations: readonly string[]
  readonly events: number
  readonly starts: number
  readonly repeats: number
  readonly hash: number
  readonly unsettledSends: number
}

export function createChecker(plan: RunPlan, now: () => number): Checker {
  const sends = new Map<string, Sent>()
  const groups = new Map<string, Map<string, Handled>>()
  const faultedAt = new Map<string, boolean>()
  const gone = new Set<string>()
  const repeated = new Set<string>()
  const violations: string[] = []
  let events = 0
  let starts = 0
  let repeats = 0
  let hash = 0x811c9dc5

  function note(...parts: readonly (string | number | boolean)[]): void {
    events++
    for (const part of [Math.round(now()), ...parts]) {
      const text = String(part)
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0
    }
  }
  function violation(rule: string, text: string): void {
    if (violations.length < 20) violations.push(`${rule} at ${Math.round(now())} ms: ${text}`)
  }
  function handled(group: string, id: string): Handled {
    const all = groups.get(group) ?? new Map<string, Handled>()
    groups.set(group, all)
    const one = all.get(id) ?? { starts: 0, asked: 0, done: false, given: false, running: new Map<string, number>(), last: undefined }
    all.set(id, one)
    return one
  }

  return {
    sending(id, producer, key, seq) {
      note('send', id)
      sends.set(id, { producer, key, seq, outcome: 'open' })
    },
    repeated: (id) => void repeated.add(id),
    sent(id, outcome) {
      note('sent', id, outcome)
      const send = sends.get(id)
      if (send === undefined) return
      if (send.outcome !== 'open') violation('L4', `${id} ended twice: ${send.outcome}, then ${outcome}`)
      send.outcome = outcome
    },
    start(member, id, intact, owner) {
      note('start', member.name, id)
      starts++
      const send = sends.get(id)
      if (send === undefined) return violation('L1', `${member.name} was given ${id}, which nobody sent`)
      if (!intact) violation('L2', `${id} reached ${member.name} with another body or key`)
      if (send.outcome === 'failed') violation('L3', `${id} was reported as not stored, and is handled by ${member.name}`)
      if (gone.has(member.name)) violation('L9', `${member.name} starts ${id} after it closed`)
      if (owner === 'other') violation('L11', `${member.name} starts ${id}, whose partition another member owns`)
      const one = handled(member.group, id)
      // A send that was repeated may lie in the log twice: then these are two messages.
      if (one.running.has(member.name) && !repeated.has(id)) violation('L8', `${member.name} runs ${id} twice at once`)
      one.starts++
      if (one.starts > 1 + one.asked) {
        repeats++
        // Where only prefixes are settled, what finished behind a message of another key that still waited is handed out again.
        const behindWaiting = plan.keyed && (plan.profile === 'kafka' || plan.profile === 'mqtt')
        const excused = plan.mode === 'rough' || (plan.mode === 'polite' && behindWaiting)
        if (!excused)
          violation(
            'N4',
            `${id} was started ${one.starts} times in group ${member.group}, ${1 + one.asked} were asked for (last by ${one.last ?? 'nobody'}, now by ${member.name})`,
          )
      }
      if (plan.keyed) checkOrder(member, id, send, one)
      one.running.set(member.name, now())
      one.last = member.name
    },
    end(member, id, how) {
      note('end', member.name, id, how)
      const one = handled(member.group, id)
      one.running.delete(member.name)
      if (how === 'done') one.done = true
      else if (how === 'last-failed') one.given = true
      else if (how === 'failed' || how === 'postponed') one.asked++
    },
    faulted(member) {
      note('fault', member.name)
      faultedAt.set(member.name, true)
    },
    closed(member) {
      note('closed', member.name)
      gone.add(member.name)
    },
    violation,
    finished(group, deadLetters) {
      for (const [id, send] of sends) {
        if (send.outcome === 'open') return false
        const one = groups.get(group)?.get(id)
        if (send.outcome === 'stored' && one?.done !== true && !deadLetters.has(id)) return false
      }
      return true
    },
    judge(deadLetters, copies) {
      for (const [id, send] of sends) {
        if (send.outcome === 'open') violation('L4', `the send of ${id} never ended`)
        for (const group of new Set(plan.members.map((member) => member.group))) {
          const one = groups.get(group)?.get(id)
          const dead = deadLetters.get(group)?.has(id) === true
          if (send.outcome === 'stored' && one?.done !== true && !dead)
            violation('N1', `${id} was stored, and never handled by group ${group}`)
          if (dead && one?.given !== true) violation('N7', `${id} is in the dead letters of ${group} without its attempts`)
        }
        if (plan.mode !== 'rough' && (copies.get(id) ?? 1) > 1)
          violation('E8', `${id} is stored ${copies.get(id)} times though nothing went wrong`)
      }
    },
    get violations() {
      return violations
    },
    get events() {
      return events
    },
    get starts() {
      return starts
    },
    get repeats() {
      return repeats
    },
    get hash() {
      return hash
    },
    get unsettledSends() {
      let open = 0
      for (const send of sends.values()) if (send.outcome === 'open') open++
      return open
    },
  }

  // Per key and group: nothing starts while an earlier one is unfinished. Going back is allowed after a fault, skipping never.
  function checkOrder(member: MemberId, id: string, send: Sent, one: Handled): void {
    for (const [otherId, other] of sends) {
      if (other.producer !== send.producer || other.key !== send.key || otherId === id) continue
      const state = groups.get(member.group)?.get(otherId)
      if (state !== undefined) {
        for (const [runner, since] of state.running) {
          // A handler that outlives the hand-over may overlap its successor's.
          const excused = runner !== member.name && (faultedAt.get(runner) === true || gone.has(runner) || now() - since >= plan.handOverMs)
          if (!excused) violation('O3', `${member.name} starts ${id} while ${runner} still runs ${otherId} of the same key`)
        }
      }
      if (other.seq < send.seq && other.outcome === 'stored' && one.starts === 1 && state?.done !== true && state?.given !== true) {
        violation('O3', `${member.name} starts ${id} before ${otherId} of the same key is finished: skipped`)
      }
    }
  }
}

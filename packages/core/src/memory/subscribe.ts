// A subscription in the hands of core: a membership that begins again by itself after a lost link, a lost lease, or a group
// that somebody deleted, and that yields each assignment once.

import { createAssignmentQueue } from '../assignment-queue.ts'
import type { Assignment, Source } from '../contract.ts'
import type { AssignmentHost } from './assignment.ts'
import { MemoryAssignment } from './assignment.ts'
import { explain, fault } from './explain.ts'
import type { Member, MemberVoice, Ownership } from './group.ts'
import type { Connection } from './link.ts'
import { refuseUnknown } from './options.ts'
import type { SessionCore } from './session-core.ts'

/** Pause before a membership that ended is asked for again, in milliseconds: at most two tries a second. */
const rejoinMs = 500

/** A subscription as its session drives it. */
export interface Subscription {
  readonly iterable: AsyncIterable<Assignment>
  /** The connection is gone: nothing is owned any more. */
  disconnected(): void
  /** There is a connection again. */
  connected(connection: Connection): void
  /** The membership to renew, if there is one. */
  member(): Member | null
  /** An answered renewal: sent when, and whether the membership still exists. */
  renewed(member: Member, sentAt: number, alive: boolean): void
  /** The session closes. */
  close(): void
}

function check(core: SessionCore, source: Source): void {
  const { limits, delay, forward } = core.server.capabilities
  if (source.native !== undefined && source.native !== null) {
    if (typeof source.native !== 'object')
      throw fault('INVALID_ARGUMENT', 'embedded broker: native options of a consumer must be an object')
    refuseUnknown(source.native, [], `native option of a consumer of topic "${source.topic}"`)
  }
  if (!(source.maxUnsettled >= 1) || source.maxUnsettled > limits.unsettled) {
    throw fault('INVALID_ARGUMENT', `embedded broker: maxUnsettled must be between 1 and ${limits.unsettled}`)
  }
  if (source.kind === 'forwarder' && delay === 'native') {
    throw fault('UNSUPPORTED', 'embedded broker: this server delays by itself; there are no lanes to forward from')
  }
  if (source.atomic && forward === 'none') throw fault('UNSUPPORTED', 'embedded broker: this server cannot settle and store in one step')
}

/** Resolves when the server accepted the member; keeps trying while the link is away, until `signal` is aborted. */
export async function subscribe(core: SessionCore, source: Source, signal: AbortSignal): Promise<Subscription> {
  check(core, source)
  const subscription = start(core, source, signal)
  for (;;) {
    const connection = await core.ready(signal)
    try {
      await subscription.join(connection)
      return subscription
    } catch (error) {
      const { code } = explain(error)
      if (code === 'UNAVAILABLE' && !core.closed()) continue
      if (code === 'TIMED_OUT' && !core.closed()) {
        core.broken(connection)
        continue
      }
      subscription.close()
      throw error
    }
  }
}

function start(core: SessionCore, source: Source, signal: AbortSignal): Subscription & { join(connection: Connection): Promise<void> } {
  const { server, context } = core
  const { settings } = server
  const life = settings.leaseMs - settings.marginMs
  const assignments = new Set<MemoryAssignment>()
  const byOwnership = new Map<Ownership, MemoryAssignment>()
  const queue = createAssignmentQueue<MemoryAssignment>(() => leave())
  let member: Member | null = null
  let joined: Connection | null = null
  let joining: Promise<void> | null = null
  let aliveUntil = 0
  let joinSentAt = 0
  let leaving = false
  let told = false
  let over = false
  let cancelRejoin: (() => void) | null = null
  const about = { topic: source.topic, ...(source.group === null ? {} : { group: source.group }) }

  function finish(): void {
    if (over) return
    over = true
    cancelRejoin?.()
    signal.removeEventListener('abort', leave)
    core.forget(subscription)
    queue.end()
  }

  function loseAll(): void {
    member = null
    joined = null
    for (const assignment of [...assignments]) {
      queue.withdraw(assignment)
      assignment.end()
    }
  }

  function die(error: unknown): void {
    if (over) return
    loseAll()
    queue.fail(error)
    finish()
  }

  function endIfLeft(): void {
    if (leaving && told && assignments.size === 0) finish()
  }

  /** The membership ended and the link did not: ask again, but not at once. */
  function rejoinLater(): void {
    cancelRejoin?.()
    if (leaving || over) return
    cancelRejoin = core.timer(rejoinMs * (1 + context.random()), () => {
      cancelRejoin = null
      const connection = core.connection()
      if (connection !== null) void rejoin(connection)
    })
  }

  async function rejoin(connection: Connection): Promise<void> {
    if (leaving || over || member !== null || joined === connection) return
    try {
      await subscription.join(connection)
    } catch (error) {
      const { code } = explain(error)
      if (over || core.connection() !== connection) return
      if (code === 'TIMED_OUT') core.broken(connection)
      else if (code === 'UNAVAILABLE') rejoinLater()
      else if (code === 'NOT_FOUND') await declareAgain(connection)
      else die(error)
    }
  }

  /** Somebody deleted the topic or the group. What this session declared is declared again; else it may come back. */
  async function declareAgain(connection: Connection): Promise<void> {
    try {
      if (await core.declareAgain(connection, source.topic, source.kind === 'group' ? source.group : null)) {
        context.event('position-lost', { ...about, note: 'the group was gone from the server; declared again, from the oldest message' })
      }
    } catch (error) {
      const { code } = explain(error)
      if (code !== 'UNAVAILABLE' && code !== 'TIMED_OUT' && code !== 'NOT_FOUND') {
        die(error)
        return
      }
    }
    rejoinLater()
  }

  function ended(who: Member | null, error: Error | null): void {
    if (over || (who !== null && who !== member)) return
    if (error !== null) {
      die(error)
      return
    }
    loseAll()
    context.event('lease-lost', { ...about, note: 'the server ended the membership; joining again' })
    if (leaving) {
      told = true
      endIfLeft()
    } else rejoinLater()
  }

  function granted(ownership: Ownership, host: AssignmentHost): void {
    aliveUntil = Math.max(aliveUntil, joinSentAt + life)
    // A grant that took longer than the lease is somebody else's by now: whoever slept must not begin with it.
    if (context.clock.monotonic() >= aliveUntil) {
      host.broken()
      return
    }
    const assignment = new MemoryAssignment(source.topic, ownership, host)
    assignments.add(assignment)
    byOwnership.set(ownership, assignment)
    if (leaving || over) {
      // Before the server has heard that we leave it would give the same again; what told it so may have been lost on the way,
      // or was about another membership of ours.
      if (over || (member !== null && member !== ownership.member)) tellLeave(host.connection, ownership.member)
      if (over || member !== null) void assignment.release()
    } else queue.push(assignment)
  }

  function voice(connection: Connection): MemberVoice {
    const host: AssignmentHost = {
      server,
      connection,
      timer: core.timer,
      aliveUntil: () => aliveUntil,
      over(assignment) {
        queue.withdraw(assignment)
        assignments.delete(assignment)
        byOwnership.delete(assignment.ownership)
        endIfLeft()
      },
      broken: () => core.broken(connection),
    }
    const hear = (run: () => void): void => {
      connection.push(() => {
        if (joined === connection) run()
      })
    }
    return {
      granted: (ownership) => hear(() => granted(ownership, host)),
      leaving: (ownership) => hear(() => handOver(ownership)),
      wake: (ownership) => hear(() => byOwnership.get(ownership)?.wake()),
      revoked: (ownership) => hear(() => byOwnership.get(ownership)?.end()),
      ended: (error) => hear(() => ended(null, error)),
      positionLost: (partition, count) =>
        hear(() =>
          context.event('position-lost', {
            ...about,
            partition,
            count,
            note: 'the log was cut above the position; going on from the oldest message',
          }),
        ),
    }
  }

  function handOver(ownership: Ownership): void {
    const assignment = byOwnership.get(ownership)
    if (assignment === undefined) return
    // Nobody has seen it yet, so there is nothing to finish.
    if (queue.withdraw(assignment)) void assignment.release()
    else assignment.leave(Math.min(source.handOverMs, settings.handOverMs))
  }

  function leave(): void {
    if (leaving || over) return
    leaving = true
    cancelRejoin?.()
    const open = [...assignments]
    // The server hears it before anything is released, else it would give us the same again.
    if (joined !== null && member !== null) tellLeave(joined, member)
    else told = true
    for (const assignment of open) {
      if (queue.has(assignment)) void assignment.release()
      else assignment.leave(null)
    }
    endIfLeft()
  }

  function tellLeave(connection: Connection, leaver: Member): void {
    const done = (): void => {
      told = true
      endIfLeft()
    }
    connection.request('leave', 32, settings.replyMs, () => server.leave(leaver)).then(done, done)
  }

  async function ask(connection: Connection): Promise<void> {
    if (leaving || over) throw fault('CANCELLED', 'embedded broker: the subscription was given up')
    joined = connection
    joinSentAt = context.clock.monotonic()
    try {
      const accepted = await connection.request('subscribe', 128, settings.replyMs, () =>
        server.join(connection, source, voice(connection)),
      )
      if (joined !== connection || over) return
      member = accepted
      aliveUntil = Math.max(aliveUntil, joinSentAt + life)
      // Given up while the server was asked: what it gave meanwhile goes back after it heard so.
      if (leaving) {
        tellLeave(connection, accepted)
        for (const assignment of [...assignments]) void assignment.release()
      }
    } catch (error) {
      if (joined === connection) joined = null
      throw error
    }
  }

  const subscription: Subscription & { join(connection: Connection): Promise<void> } = {
    // Who subscribes asks again once there is a connection, and so does the session: one membership is enough.
    join(connection) {
      if (joining === null || joined !== connection) joining = ask(connection)
      return joining
    },
    disconnected() {
      loseAll()
      cancelRejoin?.()
      if (leaving) {
        told = true
        endIfLeft()
      }
    },
    connected: (connection) => void rejoin(connection),
    member: () => member,
    renewed(who, sentAt, alive) {
      if (who !== member) return
      if (alive) aliveUntil = Math.max(aliveUntil, sentAt + life)
      else ended(who, null)
    },
    close() {
      loseAll()
      finish()
    },
    iterable: queue.iterable,
  }
  core.remember(subscription)
  signal.addEventListener('abort', leave)
  if (signal.aborted) leave()
  return subscription
}

// Membership in a group: joining, signs of life, and what the server says of it. Handing over happens inside the rejoin: while the
// server waits for all members to join again it still takes their positions, so whoever has to give up partitions lets handlers end
// and writes what is finished first, and only then joins.

import { assignPartitions, readAssignment, writeMetadata } from './assign.ts'
import type { Cluster } from './cluster.ts'
import { codeOf, explain, fault, serverFault } from './explain.ts'
import type { Committer } from './offsets.ts'

/** What the member's subscription does when something happens to it. */
export interface MemberHooks {
  /** These partitions are ours now. */
  begin(partitions: ReadonlyMap<string, readonly number[]>): Promise<void>
  /** Asks for all of them back; resolves when all are released, and at the latest when `limit` is aborted. */
  handOver(limit: AbortSignal): Promise<void>
  /** They are not ours any more: everything ends now. */
  lost(note: string): void
  /** For good. */
  failed(error: unknown): void
}

export interface MemberOptions {
  readonly groupId: string
  /** Topics at the server. */
  readonly topics: readonly string[]
  readonly purpose: string
  readonly sessionMs: number
  /** How long handlers may take to end while the others wait. */
  readonly handOverMs: number
  /** The same where nobody waits: when it leaves by itself. */
  readonly leaveMs: number
}

export interface Member {
  /** Resolves when the server accepted it, rejects when it refused for good. */
  readonly accepted: Promise<void>
  /** In whose name positions are written. */
  readonly committer: Committer
  aliveUntil(): number
  /** The server said that this is not a member any more. */
  expelled(): void
  /** Partitions are shared anew. */
  rejoin(): void
  /** Hands everything over and leaves. */
  leave(): void
  /** Gives everything up at once and leaves. */
  stop(): void
  readonly ended: Promise<void>
}

type Why = 'rebalance' | 'lost' | 'leave' | 'stop'

const codes = { notCoordinator: new Set([14, 15, 16]), generation: 22, unknown: 25, rebalancing: 27, memberId: 79, fenced: 82 }
/** Signs of life that are on their way at once, at most. */
const mostUnanswered = 20
/** How long a join may take before the member counts as accepted. */
const patientMs = 1000
/** How often a leader looks whether topics have grown. */
const watchMs = 30_000

export function startMember(cluster: Cluster, options: MemberOptions, hooks: MemberHooks): Member {
  const { clock } = cluster.context
  const { groupId, topics, purpose, sessionMs, handOverMs, leaveMs } = options
  // The server counts from when a sign arrives, so this is for the time between looking at it and starting a handler.
  const marginMs = Math.min(2000, sessionMs / 10)
  // A rebalance is heard of by the next sign of life, and the others wait for it.
  const beatMs = Math.max(100, Math.min(400, sessionMs / 20))
  const rebalanceMs = handOverMs + 5000
  let memberId = ''
  let generation = -1
  /** Counts the times that it held partitions: a server that lost everything begins with the same generation again. */
  let turn = 0
  let alive = Number.NEGATIVE_INFINITY
  let leads = false
  /** How many partitions were shared. */
  let shared = new Map<string, number>()
  let ending: 'leave' | 'stop' | null = null
  let holds = false
  let interrupt: (why: Why, note: string) => void = () => {}
  let cancelBeat: (() => void) | null = null
  let unanswered = 0
  let cancelWatch: (() => void) | null = null
  let accept: () => void = () => {}
  let refuse: (error: unknown) => void = () => {}
  const accepted = new Promise<void>((resolve, reject) => {
    accept = resolve
    refuse = reject
  })
  accepted.catch(() => {})

  // ── signs of life ────────────────────────────────────────────────────────────────────────────────────────────────
  function prove(sentAt: number): void {
    alive = Math.max(alive, sentAt + sessionMs - marginMs)
  }

  // The next sign does not wait for the answer to this one: on a slow way an answer is old when it comes.
  function beat(mine: number): void {
    cancelBeat = null
    if (ending === 'stop' || turn !== mine || !holds) return
    const sentAt = clock.monotonic()
    if (sentAt >= alive) {
      interrupt('lost', 'its signs of life were not answered in time')
      return
    }
    cancelBeat = clock.timer(Math.min(beatMs, alive - sentAt), () => beat(mine))
    if (unanswered >= mostUnanswered) return
    unanswered++
    cluster
      .coordinator(groupId, 'group', purpose)
      .then((connection) => connection.request('Heartbeat', { groupId, groupGenerationId: generation, memberId }))
      .then(({ errorCode }) => {
        if (turn !== mine) return
        if (errorCode === 0 || errorCode === codes.rebalancing) prove(sentAt)
        if (errorCode === 0) return
        if (errorCode === codes.rebalancing) interrupt('rebalance', '')
        else if (codes.notCoordinator.has(errorCode)) cluster.forgetCoordinator(groupId)
        else if (errorCode === 30) fail(serverFault(errorCode, `being a member of "${groupId}"`))
        else interrupt('lost', `the server says: error ${errorCode}`)
      })
      .catch(() => {
        // The connection ended: the next sign goes over another one.
        cluster.forgetCoordinator(groupId)
      })
      .finally(() => {
        unanswered--
      })
  }

  function watch(mine: number): void {
    cancelWatch = clock.timer(watchMs, () => {
      if (!leads || turn !== mine || !holds) return
      counts()
        .then((now) => {
          if ([...now].some(([topic, count]) => shared.get(topic) !== count)) interrupt('rebalance', '')
        })
        .catch(() => {})
        .finally(() => {
          if (turn === mine && holds) watch(mine)
        })
    })
  }

  async function counts(): Promise<Map<string, number>> {
    const found = await cluster.lookAll(topics)
    return new Map([...found].map(([topic, meta]) => [topic, meta?.leaders.length ?? 0]))
  }

  // ── joining ──────────────────────────────────────────────────────────────────────────────────────────────────────
  /** Answers what is ours, or null where it has to be tried again. */
  async function join(): Promise<ReadonlyMap<string, readonly number[]> | null> {
    const connection = await cluster.coordinator(groupId, 'group', purpose)
    const protocol = { name: 'RoundRobinAssigner', metadata: writeMetadata(topics, cluster.context.instance) }
    // The server knows it by now; what it waits for is that others end their handlers. A member without partitions is one.
    const known = memberId === '' ? () => {} : clock.timer(patientMs, accept)
    const asked = connection.request(
      'JoinGroup',
      {
        groupId,
        sessionTimeout: sessionMs,
        rebalanceTimeout: rebalanceMs,
        memberId,
        protocolType: 'consumer',
        groupProtocols: [protocol],
      },
      // The others have as long to end their handlers.
      rebalanceMs + sessionMs + cluster.settings.requestTimeoutMs,
    )
    const reply = await asked.finally(known)
    if (reply.errorCode === codes.memberId) {
      memberId = reply.memberId
      return null
    }
    if (reply.errorCode !== 0) return judge(reply.errorCode, 'joining')
    memberId = reply.memberId
    leads = reply.leaderId === memberId
    if (leads) shared = await counts()
    const groupAssignment = leads ? assignPartitions(reply.members, shared) : []
    const sentAt = clock.monotonic()
    const sync = await connection.request(
      'SyncGroup',
      { groupId, generationId: reply.generationId, memberId, groupAssignment },
      rebalanceMs + sessionMs,
    )
    if (sync.errorCode !== 0) return judge(sync.errorCode, 'joining')
    generation = reply.generationId
    prove(sentAt)
    const own = readAssignment(sync.memberAssignment)
    return new Map([...own].filter(([topic]) => topics.includes(topic)))
  }

  /** @throws what cannot be made good by trying again */
  function judge(code: number, doing: string): null {
    if (codes.notCoordinator.has(code)) cluster.forgetCoordinator(groupId)
    else if (code === codes.unknown || code === codes.fenced) memberId = ''
    else if (code !== codes.rebalancing && code !== codes.generation && code !== 81) throw serverFault(code, `${doing} group "${groupId}"`)
    return null
  }

  async function run(): Promise<void> {
    for (let tries = 0; ending === null; ) {
      let own: ReadonlyMap<string, readonly number[]> | null = null
      try {
        own = await join()
        if (own !== null) tries = 0
      } catch (error) {
        if (ending !== null) break
        if (codeOf(error) !== null && !explain(error).retryable) return fail(error)
        if (codeOf(error) === null && explain(error).code === 'UNAUTHORIZED') return fail(error)
        if (cluster.closed) return
        cluster.forgetCoordinator(groupId)
      }
      if (own === null) {
        if (memberId === '' || tries > 0) await cluster.pause(Math.min(1000, 20 * 2 ** tries))
        tries++
        continue
      }
      if (ending !== null) break
      await stay(own)
    }
    await goodbye()
  }

  async function stay(own: ReadonlyMap<string, readonly number[]>): Promise<void> {
    const mine = ++turn
    let why: Why | null = null
    let note = ''
    const over = new AbortController()
    let wake: () => void = () => {}
    const told = new Promise<void>((resolve) => {
      wake = resolve
    })
    interrupt = (reason, text) => {
      // What is lost cannot be handed over.
      if (reason === 'lost' || reason === 'stop') over.abort()
      if (why === null || (why !== 'lost' && (reason === 'lost' || reason === 'stop'))) {
        why = reason
        note = text
      }
      wake()
    }
    const is = (reason: Why): boolean => why === reason
    holds = true
    cancelBeat = clock.timer(beatMs, () => beat(mine))
    if (leads) watch(mine)
    if (ending !== null) interrupt(ending, '')
    try {
      await hooks.begin(own)
      accept()
    } catch (error) {
      const { retryable, code } = explain(error)
      if (!retryable && code !== 'CONFLICT' && code !== 'NOT_FOUND' && ending === null && why === null) {
        fail(error)
      } else {
        await cluster.pause(100)
        interrupt('lost', 'its partitions could not be taken over')
      }
    }
    await told
    if (is('rebalance') || is('leave')) {
      const cancel = clock.timer(is('leave') ? leaveMs : handOverMs, () => over.abort())
      await hooks.handOver(over.signal)
      cancel()
    }
    holds = false
    cancelBeat?.()
    cancelBeat = null
    cancelWatch?.()
    interrupt = () => {}
    // Whatever is left after a hand-over was given its time.
    hooks.lost(is('lost') ? note : '')
    if (is('lost')) alive = Number.NEGATIVE_INFINITY
  }

  async function goodbye(): Promise<void> {
    await cluster.drop(purpose)
    if (memberId === '' || cluster.closed) return
    const said = (async () => {
      const connection = await cluster.coordinator(groupId, 'group', 'main')
      await connection.request('LeaveGroup', { groupId, memberId })
    })()
    // The server finds out by itself, a little later.
    await Promise.race([said.catch(() => {}), cluster.pause(1000)])
  }

  function fail(error: unknown): void {
    if (ending !== null) return
    ending = 'stop'
    refuse(error)
    interrupt('stop', '')
    hooks.failed(error)
  }

  function end(how: 'leave' | 'stop'): void {
    if (ending === 'stop' || ending === how) return
    ending = how
    refuse(fault('CANCELLED', 'kafka: the subscription was given up'))
    interrupt(how, '')
    // A join waits for the others; nobody waits for it any more.
    if (!holds) void cluster.drop(purpose)
  }

  const ended = run().finally(() => {
    refuse(fault('CANCELLED', 'kafka: the subscription was given up'))
    cancelBeat?.()
    cancelWatch?.()
    void cluster.drop(purpose)
  })

  return {
    accepted,
    get committer() {
      return { groupId, generation, memberId }
    },
    aliveUntil: () => alive,
    expelled: () => interrupt('lost', 'the server knows another generation'),
    rejoin: () => interrupt('rebalance', ''),
    leave: () => end('leave'),
    stop: () => end('stop'),
    ended,
  }
}

// A group's messages and its due retries, or a topic's delay lanes: one membership, one fetcher, and an assignment for each partition.

import {
  type AdapterContext,
  type Assignment,
  createAssignmentQueue,
  type Outgoing,
  type SettleResult,
  type Source,
} from '@posthorn/core/adapter'
import { type Host, Owned } from './assignment.ts'
import type { Cluster } from './cluster.ts'
import { type Commits, createCommits } from './commits.ts'
import { codeOf, explain, fault, serverFault, unreadable } from './explain.ts'
import { createFetcher } from './fetcher.ts'
import { type Member, startMember } from './member.ts'
import { delayPlace, forwarderIdOf, groupIdOf, retryPlace } from './names.ts'
import { committedOf, offsetsAt } from './offsets.ts'
import { consumerOptions, type KafkaTopicOptions } from './options.ts'
import type { Place } from './progress.ts'
import { createRecovery } from './recovery.ts'
import { openTransactions, type Transactions } from './transactions.ts'
import { trimLanes } from './trim.ts'

/** What a subscription needs of its session. */
export interface Subscribing {
  readonly cluster: Cluster
  readonly context: AdapterContext
  nativeOf(topic: string): KafkaTopicOptions | undefined
  topicAt(place: { readonly topic: string; readonly role: 'main' | 'delay' | 'retry' | 'dead'; readonly group: string | null }): string
  /** Makes a topic again that is gone, from its plan. False: it has none, or may not. */
  declareAgain(topic: string): Promise<boolean>
  enter(subscription: Subscription): void
  leave(subscription: Subscription): void
  /** A number that no other subscription of the session has. */
  readonly number: number
}
/** As its session ends it. */
export interface Subscription {
  /** Gives everything up at once; resolves when the server was told. */
  end(): Promise<void>
}

const taken = new Set([47, 49, 90])
/** The user may not write to the topic of an output. */
const mayNotPublish = 29
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Resolves when the server accepted the member. */
export async function subscribeGroup(on: Subscribing, source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>> {
  const { cluster, context } = on
  const { settings } = cluster
  const { topic } = source
  const forwards = source.kind === 'forwarder'
  const native = on.nativeOf(topic)
  const { groupId: given } = consumerOptions(topic, source.native)
  const group = source.group ?? ''
  const groupId = forwards ? forwarderIdOf(topic) : (given ?? groupIdOf(topic, group, native))
  const main = on.topicAt({ topic, role: 'main', group: null })
  const retry = forwards ? '' : on.topicAt(retryPlace(topic, group))
  const delay = on.topicAt(delayPlace(topic))
  const purpose = `group${on.number}`
  const owned = new Map<string, Owned>()
  const transactions = new Map<string, Transactions>()
  const queue = createAssignmentQueue<Owned>(() => leave())
  const fetcher = createFetcher(cluster, `fetch${on.number}`)
  let commits: Commits | null = null
  let over = false
  /** What is given up now is somebody else's next. */
  let handing = false
  let waiting: (() => void) | null = null
  let closing: Promise<unknown> = Promise.resolve()
  const keyOf = (at: string, partition: number): string => `${at} ${partition}`
  if (signal.aborted) throw fault('CANCELLED', 'kafka: the subscription was given up')

  const [first, ...lanes] = forwards ? [delay] : [main, retry]
  const found = await cluster.lookAll([first as string, ...lanes])
  // An abort that came meanwhile is not told again.
  if (signal.aborted) throw fault('CANCELLED', 'kafka: the subscription was given up')
  if (found.get(first as string) === null) throw fault('NOT_FOUND', `kafka: there is no topic "${first}"`, 'failed')
  // A topic that was only looked at may have no lanes.
  const topics = [...found].filter(([, meta]) => meta !== null).map(([at]) => at)

  for (const at of topics) fetcher.prepare(at)

  const handOverMs = Math.min(source.handOverMs, settings.handOverMs)
  const member: Member = startMember(
    cluster,
    { groupId, topics, purpose, sessionMs: settings.sessionTimeoutMs, handOverMs, leaveMs: source.handOverMs + 1000 },
    { begin, handOver, lost, failed },
  )

  const stopTrimming = trimLanes(cluster, groupId, () => {
    const lanes = new Map<string, number[]>()
    for (const { role, source: at, partition } of owned.values()) {
      if (role !== 'main') lanes.set(at, [...(lanes.get(at) ?? []), partition])
    }
    return lanes
  })

  function roleOf(at: string): 'main' | 'retry' | 'delay' {
    return at === main && !forwards ? 'main' : forwards ? 'delay' : 'retry'
  }

  function hostOf(at: string, topicId: string, partition: number): Host {
    return {
      topic,
      role: roleOf(at),
      partition,
      source: at,
      topicId,
      maxUnsettled: source.maxUnsettled,
      maxBytes: source.maxBytes,
      atomic: source.atomic,
      aliveUntil: () => member.aliveUntil(),
      hungry: (reader) => fetcher.hungry(reader),
      commit: (one, now) => (commits === null ? Promise.resolve('stale') : commits.settle(one, now)),
      note: (one) => commits?.note(one),
      forward: (one, outputs, finished) => forward(one, outputs, finished),
      flush: async () => await commits?.flush(),
      spoiled(one, result) {
        one.end()
        // Still ours: what follows is read again from the position that the server has.
        if (result === 'unknown') void recovery.again(at, partition)
      },
      outOfRange: (one) => void recovery.outOfRange(one),
      gone: (one) => void recovery.gone(one),
      refused: failed,
      unreadable: (error) => failed(unreadable(error, partition, at)),
      over(one) {
        fetcher.remove(one)
        queue.withdraw(one)
        if (owned.get(keyOf(at, partition)) === one) owned.delete(keyOf(at, partition))
        if (owned.size === 0) waiting?.()
      },
    }
  }

  // ── what becomes ours ────────────────────────────────────────────────────────────────────────────────────────────
  async function begin(partitions: ReadonlyMap<string, readonly number[]>): Promise<void> {
    const mine = createCommits(
      cluster,
      purpose,
      () => member.committer,
      () => member.aliveUntil(),
      () => member.expelled(),
      (code) => failed(serverFault(code, `writing the positions of group "${groupId}"`)),
    )
    commits = mine
    handing = false
    void present(mine)
    const starts: { readonly at: string; readonly topicId: string; readonly partition: number; readonly place: Place }[] = []
    for (const [at, list] of partitions) {
      if (list.length === 0) continue
      const meta = await cluster.look(at)
      if (meta === null) throw serverFault(3, `taking over "${at}"`)
      // The predecessor's transactions end first: one of them may move the position.
      if (source.atomic) await Promise.all(list.map((partition) => fence(at, partition)))
      const committed = await committedOf(cluster, groupId, at, meta.leaders.length)
      const oldest = list.every((partition) => committed.has(partition)) ? null : await offsetsAt(cluster, at, 'earliest')
      if (oldest !== null && at === main && !forwards)
        context.event('position-lost', {
          topic,
          group,
          count: list.filter((partition) => !committed.has(partition)).length,
          note: `group "${groupId}" had no position in partitions of "${at}"; it goes on from the oldest message`,
        })
      for (const partition of list)
        starts.push({
          at,
          topicId: meta.id,
          partition,
          place: committed.get(partition) ?? { offset: oldest?.get(partition) ?? 0, metadata: '' },
        })
    }
    if (over || commits !== mine) return
    for (const { at, topicId, partition, place } of starts) start(at, topicId, partition, place)
  }

  /** What is not there cannot be shared: it is made again from its plan, or waited for, and then shared. */
  async function present(mine: Commits): Promise<void> {
    try {
      const there = [...(await cluster.lookAll(topics))].filter(([, meta]) => meta !== null).map(([at]) => at)
      if (there.length === topics.length) return
      context.event('position-lost', { topic, group, note: `the server has lost ${topics.filter((at) => !there.includes(at)).join(', ')}` })
      while (!over && commits === mine && !cluster.closed) {
        const made = await on.declareAgain(topic).catch(() => false)
        if (made || ![...(await cluster.lookAll(topics)).values()].includes(null)) break
        await cluster.pause(1000)
      }
      if (!over && commits === mine) member.rejoin()
    } catch {
      // The link ended, and with it the membership.
    }
  }

  function start(at: string, topicId: string, partition: number, place: Place, write = false): void {
    const one = new Owned(hostOf(at, topicId, partition), place)
    owned.set(keyOf(at, partition), one)
    if (write) commits?.note(one)
    fetcher.add(one)
    queue.push(one)
  }

  const recovery = createRecovery<Owned>({
    cluster,
    event: (partition, note) => context.event('position-lost', { topic, group, partition, note }),
    declareAgain: () => on.declareAgain(topic),
    holder: () => (over || handing ? null : commits),
    owns: (at, partition) => owned.has(keyOf(at, partition)),
    async placeOf(at, partition) {
      if (source.atomic) await fence(at, partition)
      return (await committedOf(cluster, groupId, at, partition + 1)).get(partition)
    },
    async giveUp(one) {
      const mine = commits
      mine?.forget(one)
      one.end()
      await Promise.all([turns.get(one), mine?.hold(one)])
    },
    start,
  })

  async function fence(at: string, partition: number): Promise<void> {
    const id = at === main ? `${groupId}__${partition}` : `${groupId}__${roleOf(at)}__${partition}`
    transactions.set(keyOf(at, partition), await openTransactions(cluster, id, `out${on.number}`))
  }

  const turns = new Map<Owned, Promise<unknown>>()
  // One transaction at a time in a partition, and no plain commit beside it: the later of two would undo the other.
  function forward(one: Owned, outputs: readonly Outgoing[], finished: ReadonlySet<number>): Promise<SettleResult> {
    const before = turns.get(one) ?? Promise.resolve()
    const mine = before.then(() => forwardNow(one, outputs, finished))
    turns.set(one, mine)
    void mine.then(() => {
      if (turns.get(one) === mine) turns.delete(one)
    })
    return mine
  }

  async function forwardNow(one: Owned, outputs: readonly Outgoing[], finished: ReadonlySet<number>): Promise<SettleResult> {
    const { source: at, partition } = one
    const own = transactions.get(keyOf(at, partition))
    const mine = commits
    if (own === undefined || over || mine === null || one.ended) return 'stale'
    await mine.hold(one)
    try {
      const byTopic = new Map<string, Map<number, Outgoing[]>>()
      for (const output of outputs) {
        const target = on.topicAt(output.place)
        const meta = cluster.known(target) ?? (await cluster.look(target))
        if (meta === null) throw serverFault(3, `sending to "${target}"`)
        const to = output.partition ?? Math.floor(context.random() * meta.leaders.length)
        const partitions = byTopic.get(target) ?? new Map<number, Outgoing[]>()
        byTopic.set(target, partitions)
        const list = partitions.get(to) ?? []
        partitions.set(to, list)
        list.push(output)
      }
      await own.run(byTopic, { groupId, topics: new Map([[at, new Map([[partition, one.place(finished)]])]]) })
      recovery.goesWell(at, partition)
      return 'settled'
    } catch (error) {
      // Whatever went wrong, this producer is of no use any more.
      transactions.delete(keyOf(at, partition))
      // It may have moved the position: what this one would write now could move it back.
      mine.forget(one)
      const code = codeOf(error) ?? 0
      if (code === mayNotPublish)
        // A right that is given back needs no restart; until then its messages are handled again, later and later.
        context.event('blocked', { topic, group, partition, note: `its outputs are refused, and it is tried again: ${textOf(error)}` })
      else if (explain(error).code === 'UNAUTHORIZED') failed(error)
      if (!taken.has(code)) return 'unknown'
      context.event('fenced', {
        topic,
        group,
        partition,
        note: `a successor took over the transactions of "${groupId}"; this member gives up`,
      })
      member.expelled()
      return 'stale'
    } finally {
      mine.free(one)
    }
  }

  // ── what ends ────────────────────────────────────────────────────────────────────────────────────────────────────
  async function handOver(limit: AbortSignal): Promise<void> {
    handing = true
    for (const one of [...owned.values()]) {
      if (queue.withdraw(one)) void one.release()
      else one.leave()
    }
    if (owned.size === 0) return
    await new Promise<void>((resolve) => {
      waiting = resolve
      limit.addEventListener('abort', () => resolve(), { once: true })
      if (owned.size === 0 || limit.aborted) resolve()
    })
    waiting = null
    // What ended meanwhile, in partitions whose handlers did not all end.
    if (!limit.aborted || owned.size > 0) await Promise.race([commits?.flush(), cluster.pause(1000)])
  }

  function lost(note: string): void {
    commits?.stop()
    commits = null
    transactions.clear()
    const count = owned.size
    for (const one of [...owned.values()]) one.end()
    if (note !== '' && count > 0 && !over) context.event('lease-lost', { topic, group, count, note })
  }

  function failed(error: unknown): void {
    if (over) return
    over = true
    const code = explain(error).code
    const shown =
      code === 'UNAUTHORIZED'
        ? fault(
            'UNAUTHORIZED',
            `kafka: a right to read "${topic}", to settle it as group "${groupId}" or to write its outputs is missing: ${textOf(error)}`,
            'failed',
          )
        : error
    lost('')
    close()
    queue.fail(shown)
    member.stop()
  }

  function close(): void {
    over = true
    signal.removeEventListener('abort', leave)
    stopTrimming()
    closing = Promise.all([fetcher.stop(), cluster.drop(`out${on.number}`)])
    on.leave(subscription)
  }

  function leave(): void {
    if (over) return
    member.leave()
  }

  const subscription: Subscription = {
    end() {
      if (!over) {
        over = true
        member.stop()
        lost('')
        close()
        queue.end()
      }
      return member.ended
    },
  }
  on.enter(subscription)
  signal.addEventListener('abort', leave, { once: true })
  void member.ended.then(() => {
    if (over) return
    close()
    queue.end()
  })
  try {
    await member.accepted
  } catch (error) {
    await Promise.all([subscription.end(), closing])
    throw signal.aborted ? fault('CANCELLED', 'kafka: the subscription was given up') : error
  }
  return queue.iterable
}

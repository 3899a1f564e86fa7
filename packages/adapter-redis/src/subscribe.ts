// Membership in a group: leases on the partitions, by the server's clock. A step every quarter of a lease renews what is
// owned, takes what is free and is this member's share, and learns what to hand over. A bell shortens the wait.

import { type Assignment, createAssignmentQueue, type Source } from '@posthorn/core/adapter'
import { type Feed, type Host, Owned } from './assignment.ts'
import type { Core, OwnerLinks, Tenant } from './core.ts'
import { explain, fault, refusal } from './explain.ts'
import { mainFeed, type Ownership, retryFeed } from './feeds.ts'
import { keyOf } from './keys.ts'
import type { Link } from './link.ts'
import { consumerOptions } from './options.ts'
import { type Script, scripts } from './scripts.ts'
import { tend } from './tend.ts'
import { partitionsAt } from './topology.ts'

/** A partition that is ours: one row at the server, one or two assignments here. */
interface Row {
  readonly token: string
  readonly partition: number
  readonly owned: Owned[]
  leaving: boolean
  /** Given back by all its assignments: told to the server, and not renewed any more. */
  released: boolean
  cancelForce: (() => void) | null
}

const closeRings = 10
const trimEveryMs = 5000

/** Becomes a member. Resolves when the server has accepted it. */
export async function subscribeGroup(core: Core, source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>> {
  const { context, settings } = core
  const { clock } = context
  const { topic } = source
  const group = source.group ?? ''
  const { count } = consumerOptions(source)
  signal.throwIfAborted()
  const links = await core.owner()
  const partitions = core.partitionsOf(topic) ?? (await partitionsAt(core.main, topic))
  const me = core.member(topic, group)
  const about = { topic, group }
  const keys = [keyOf(topic, `mem:${group}`), keyOf(topic, `own:${group}`), keyOf(topic, `bell:${group}`)]
  const rows = new Map<number, Row>()
  const queue = createAssignmentQueue(() => leave())
  let proof = Number.NEGATIVE_INFINITY
  let leaving = false
  let left = false
  let over = false
  const everyMs = settings.leaseMs / 5
  let rhythm = everyMs
  let stepping = false
  let stepAgain = false
  let cancelStep: (() => void) | null = null
  let cancelKeep: (() => void) | null = null
  let cancelExpire: (() => void) | null = null
  let cancelTrim: (() => void) | null = null
  let cancelGone: (() => void) | null = null
  let healing = false

  async function ask(script: Script, renewOnly = false, link: Link = links.link): Promise<readonly unknown[]> {
    const held = [...rows.values()].filter((row) => !row.released).flatMap((row) => [String(row.partition), row.token])
    const sentAt = clock.monotonic()
    const args = [me, String(settings.leaseMs), String(partitions), leaving ? '1' : renewOnly ? '2' : '0', ...held]
    const reply = (await link.run(script, keys, args)) as readonly unknown[]
    // Where answers are long under way proofs follow each other sooner, because each is older when it comes.
    rhythm = clock.monotonic() - sentAt > everyMs ? everyMs / 2 : everyMs
    // A grant that took longer than the lease is somebody else's by now.
    if (clock.monotonic() < sentAt + settings.leaseMs - settings.marginMs) proof = Math.max(proof, sentAt)
    return reply
  }

  function step(): void {
    if (over) return
    if (stepping) {
      stepAgain = true
      return
    }
    cancelStep?.()
    cancelStep = null
    stepping = true
    keep()
    const before = held()
    const script = leaving ? scripts.leave : scripts.step
    ask(script).then(
      (reply) => {
        stepping = false
        if (over) return
        if (script === scripts.leave) left = true
        heard(reply, before)
      },
      (error: unknown) => {
        stepping = false
        if (!over && !refused('consume', error)) later(rhythm)
      },
    )
  }

  // Its answer may be longer under way than proofs may be apart, or wait behind large messages: then what is owned is renewed
  // meanwhile, on the other connection, where nothing is taken.
  function keep(): void {
    cancelKeep?.()
    cancelKeep = clock.timer(rhythm, () => {
      if (over || !stepping) return
      keep()
      if (links.link.client === null) return expire()
      const before = held()
      ask(scripts.step, true, core.main).then(
        (reply) => {
          if (!over) renewed(reply, before, false)
        },
        () => {},
      )
    })
  }

  function later(ms: number): void {
    if (stepAgain) {
      stepAgain = false
      cancelStep = clock.timer(closeRings, step)
    } else cancelStep = clock.timer(Math.min(ms, rhythm), step)
    expire()
    finish()
  }

  const held = (): ReadonlySet<Row> => new Set([...rows.values()].filter((row) => !row.released))

  function heard(reply: readonly unknown[], before: ReadonlySet<Row>): void {
    renewed(reply, before, true)
    if (String(reply[0]) === 'NOGROUP') return heal()
    later(Math.max(closeRings, Number(reply[1]) + 5))
  }

  function renewed(reply: readonly unknown[], before: ReadonlySet<Row>, taking: boolean): void {
    const told = new Set<number>()
    for (let at = 2; at + 2 < reply.length; at += 3) {
      const partition = Number(String(reply[at]))
      const token = String(reply[at + 1])
      const row = rows.get(partition)
      told.add(partition)
      if (row !== undefined && row.token === token) {
        if (reply[at + 2] !== 1) handOver(row)
      } else if (taking) {
        if (row !== undefined) drop(row, true)
        take(partition, token)
      }
    }
    for (const row of before) if (rows.get(row.partition) === row && !told.has(row.partition) && !row.released) drop(row, true)
    cancelExpire?.()
    cancelExpire = over || rows.size === 0 ? null : clock.timer(Math.max(1, ends() - clock.monotonic()), lookOnce)
  }

  // Handlers start nothing from `aliveUntil` on; those that run are told to stop just before somebody else may begin.
  const ends = (): number => proof + settings.leaseMs - settings.marginMs / 2

  const lookOnce = (): void => {
    // A process that stood still has not listened: what came meanwhile is read first.
    cancelExpire = clock.timer(50, expire)
  }
  /** Without an answered proof for a whole lease, somebody else may begin. */
  function expire(): void {
    if (over || clock.monotonic() < ends()) return
    for (const row of [...rows.values()]) if (!row.released) drop(row, true)
  }

  function take(partition: number, token: string): void {
    const row: Row = { token, partition, owned: [], leaving: false, released: false, cancelForce: null }
    rows.set(partition, row)
    const ownership: Ownership = {
      core,
      link: links.link,
      waiter: links.waiter,
      topic,
      group,
      partition,
      token,
      vanished: (at, ids) =>
        context.event('position-lost', {
          ...about,
          partition: at,
          count: ids.length,
          note: `entries were taken away before they were settled: ${ids.slice(0, 10).join(', ')}${ids.length > 10 ? ', …' : ''}`,
        }),
      cut: (at, lost) =>
        context.event('position-lost', {
          ...about,
          partition: at,
          count: lost,
          note: 'the stream was cut above the position; going on from the oldest message',
        }),
      refused: (error) => void refused('settle', error),
      done: () => giveBack(row),
    }
    add(row, 'main', mainFeed(ownership))
    if (partition === 0 && source.kind === 'group') add(row, 'retry', retryFeed(ownership))
    tender.owns(rows.has(0))
    if (leaving) for (const owned of row.owned) void owned.release()
    else for (const owned of row.owned) queue.push(owned)
  }

  function add(row: Row, role: 'main' | 'retry', feed: Feed): void {
    const host: Host = {
      topic,
      role,
      partition: row.partition,
      maxUnsettled: source.maxUnsettled,
      maxBytes: source.maxBytes,
      count,
      aliveUntil: () => proof + settings.leaseMs - settings.marginMs,
      up: () => links.link.client !== null,
      timer: (ms, run) => clock.timer(ms, run),
      stale: () => drop(row, true),
      gone: heal,
      refused,
      over: () => {},
    }
    row.owned.push(new Owned(host, feed))
  }

  function handOver(row: Row): void {
    if (row.leaving) return
    row.leaving = true
    for (const owned of row.owned) {
      // Nobody has seen it yet, so there is nothing to finish.
      if (queue.withdraw(owned)) void owned.release()
      else owned.leave()
    }
    row.cancelForce = clock.timer(Math.min(source.handOverMs, settings.leaseMs * 6) + 1000, () => {
      for (const owned of row.owned) void owned.release()
    })
  }

  // The last of a row's assignments gives it back for all.
  async function giveBack(row: Row): Promise<void> {
    if (row.released || row.owned.some((owned) => !owned.ended)) return
    row.released = true
    row.cancelForce?.()
    const stream = keyOf(topic, String(row.partition))
    const args = [String(row.partition), row.token, group]
    try {
      await links.link.run(
        scripts.release,
        [stream, keyOf(topic, `own:${group}`), keyOf(topic, `bell:${group}`), keyOf(topic, `retry:${group}`)],
        args,
      )
    } catch {
      // Without an answer its lease runs out.
    }
    if (rows.get(row.partition) === row) rows.delete(row.partition)
    tender.owns(rows.has(0))
    if (!over && !leaving) step()
    finish()
  }

  function drop(row: Row, tell: boolean): void {
    if (rows.get(row.partition) !== row) return
    rows.delete(row.partition)
    row.released = true
    row.cancelForce?.()
    for (const owned of row.owned) {
      queue.withdraw(owned)
      owned.end()
    }
    tender.owns(rows.has(0))
    if (tell && !over)
      context.event('lease-lost', { ...about, partition: row.partition, note: 'the partition is owned elsewhere, or its lease ran out' })
    finish()
  }

  function heal(): void {
    if (healing || over) return
    healing = true
    core.declareAgain(topic).then(
      (made) => {
        healing = false
        if (over) return
        if (made)
          context.event('position-lost', { ...about, note: 'the group was gone from the server; declared again, from the oldest message' })
        step()
        for (const row of rows.values()) for (const owned of row.owned) owned.restart()
      },
      (error: unknown) => {
        healing = false
        const { code, retryable } = explain(error)
        if (over) return
        if (!retryable && code !== 'NOT_FOUND') return die(error)
        cancelGone = clock.timer(1000, heal)
      },
    )
  }

  function trimSoon(ms: number): void {
    cancelTrim = clock.timer(ms, () => {
      let busy = false
      const mine = [...rows.values()].filter((row) => !row.released)
      const work = mine.map((row) =>
        links.link.run(scripts.trim, [keyOf(topic, 'meta')], [String(row.partition), String(trimEveryMs - 500)]).then(
          (gone) => {
            if (Number(gone) > 0) busy = true
          },
          () => {},
        ),
      )
      void Promise.all(work).then(() => {
        if (!over) trimSoon(busy ? 100 : trimEveryMs * (0.9 + 0.2 * context.random()))
      })
    })
  }

  const tender = tend(core, links, topic, () => {
    for (const owned of rows.get(0)?.owned ?? []) if (owned.role === 'retry') owned.wake()
  })

  function leave(): void {
    if (leaving || over) return
    leaving = true
    step()
    for (const row of rows.values()) {
      row.leaving = true
      for (const owned of row.owned) {
        if (queue.withdraw(owned)) void owned.release()
        else owned.leave()
      }
    }
    finish()
  }

  function finish(): void {
    if (!leaving || over || rows.size > 0 || stepping) return
    // The others have to hear that we left, or they wait for our share until our membership runs out.
    if (!left && links.link.client !== null) {
      if (cancelStep === null) step()
      return
    }
    stop()
    queue.end()
  }

  function stop(): void {
    over = true
    cancelStep?.()
    cancelKeep?.()
    cancelExpire?.()
    cancelTrim?.()
    cancelGone?.()
    tender.stop()
    links.waiter.forget(keyOf(topic, `bell:${group}`), me)
    signal.removeEventListener('abort', leave)
    core.leave(tenant)
  }

  const dropAll = (): void => {
    for (const row of [...rows.values()]) drop(row, false)
  }
  // It would be refused for ever: the consumer ends with one clear error instead of asking again and again.
  function refused(right: string, error: unknown): boolean {
    if (explain(error).code !== 'UNAUTHORIZED') return false
    die(refusal(topic, right, error))
    return true
  }

  function die(error: unknown): void {
    if (over) return
    links.link.run(scripts.leave, keys, [me, String(settings.leaseMs), String(partitions), '1']).catch(() => {})
    stop()
    dropAll()
    queue.fail(error)
  }

  const tenant: Tenant = {
    up() {
      step()
      for (const row of rows.values()) for (const owned of row.owned) owned.resync()
    },
    down() {},
    end() {
      if (over) return
      stop()
      dropAll()
      queue.end()
    },
  }

  await begin(links)
  return queue.iterable

  async function begin(owner: OwnerLinks): Promise<void> {
    const first = await ask(scripts.join)
    if (String(first[0]) === 'NOGROUP') throw fault('NOT_FOUND', `redis: topic "${topic}" has no group "${group}"`, 'failed')
    if (signal.aborted) {
      void owner.link.run(scripts.leave, keys, [me, String(settings.leaseMs), String(partitions), '1']).catch(() => {})
      throw fault('CANCELLED', 'redis: the subscription was given up')
    }
    core.enter(tenant)
    signal.addEventListener('abort', leave, { once: true })
    owner.waiter.listen(keyOf(topic, `bell:${group}`), me, step)
    heard(first, new Set())
    trimSoon(trimEveryMs * context.random())
  }
}

// A broadcast: everybody who is connected gets everything that is stored from now on. It reads without a group and settles
// nothing; where it is, is kept at the server only so that trimming waits for it.

import { type Assignment, createAssignmentQueue, type Source } from '@posthorn/core/adapter'
import { type Feed, type Host, Owned } from './assignment.ts'
import type { Core, Tenant } from './core.ts'
import type { AttributeCache } from './encode.ts'
import { explain, fault, refusal } from './explain.ts'
import { entriesOf } from './feeds.ts'
import { keyOf, streamOf } from './keys.ts'
import { consumerOptions } from './options.ts'
import { scripts } from './scripts.ts'
import { tend } from './tend.ts'

/** Accepted once its start is fixed on all partitions. */
export async function subscribeBroadcast(core: Core, source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>> {
  const { context, settings } = core
  const { topic } = source
  const { count } = consumerOptions(source)
  signal.throwIfAborted()
  const links = await core.owner()
  const me = core.member(topic, '*')
  const meta = [keyOf(topic, 'meta')]
  const [status, ids] = (await links.link.run(scripts.cast, meta, [me, String(settings.leaseMs)])) as readonly [unknown, unknown[]]
  if (String(status) !== 'OK') throw fault('NOT_FOUND', `redis: there is no topic "${topic}"`, 'failed')
  // Per partition: up to where core has been given everything.
  const positions = ids.map(String)
  const assignments: Owned[] = []
  const queue = createAssignmentQueue<Owned>(() => leave())
  let over = false
  let leaving = false
  let cancelBeat: (() => void) | null = null

  positions.forEach((start, partition) => {
    assignments.push(new Owned(host(partition), feed(partition, start)))
  })

  function host(partition: number): Host {
    return {
      topic,
      role: 'main',
      partition,
      maxUnsettled: source.maxUnsettled,
      maxBytes: source.maxBytes,
      count,
      aliveUntil: () => Number.POSITIVE_INFINITY,
      up: () => links.link.client !== null,
      timer: (ms, run) => context.clock.timer(ms, run),
      stale: () => {},
      gone: () => {},
      refused,
      over: finish,
    }
  }

  function refused(right: string, error: unknown): boolean {
    if (explain(error).code !== 'UNAUTHORIZED') return false
    if (over) return true
    stop()
    for (const owned of assignments) owned.end()
    queue.fail(refusal(topic, right, error))
    return true
  }

  function feed(partition: number, start: string): Feed {
    const stream = streamOf(topic, partition)
    const cache: AttributeCache = { last: null }
    let at = start
    return {
      first: 'new',
      async fetch(_mode, _after, most, chunk, bytes) {
        const reply = (await links.link.run(
          scripts.castRead,
          [stream],
          [at, String(most), String(chunk), String(bytes)],
        )) as readonly unknown[]
        const entries = entriesOf(reply, 2, cache)
        at = entries.at(-1)?.id ?? at
        const more = entries.length > 0 && (entries.length >= most || entries.length % chunk === 0)
        return { kind: 'entries', entries, times: null, last: at, more }
      },
      wait: (last, wake) => links.waiter.wait(stream, me, last, wake),
      async settle(done) {
        positions[partition] = done.at(-1) ?? positions[partition] ?? start
        return 'settled'
      },
      doubt: () => {},
      stop: () => links.waiter.forget(stream, me),
      release: () => Promise.resolve(),
      vanished: () => {},
    }
  }

  const tender = tend(core, links, topic, () => {})

  function beat(): void {
    cancelBeat = context.clock.timer(settings.leaseMs / 4, () => {
      links.link.run(scripts.cast, meta, [me, String(settings.leaseMs), ...positions]).catch(() => {})
      beat()
    })
  }

  function leave(): void {
    if (leaving || over) return
    leaving = true
    for (const owned of assignments) {
      if (queue.withdraw(owned)) void owned.release()
      else owned.leave()
    }
    finish()
  }

  function finish(): void {
    if (over || !assignments.every((owned) => owned.ended)) return
    stop()
    links.link.run(scripts.cast, meta, [me, String(settings.leaseMs), '-']).catch(() => {})
    queue.end()
  }

  function stop(): void {
    over = true
    cancelBeat?.()
    tender.stop()
    signal.removeEventListener('abort', leave)
    core.leave(tenant)
  }

  const tenant: Tenant = {
    up() {
      for (const owned of assignments) owned.wake()
    },
    down() {},
    end() {
      if (over) return
      stop()
      for (const owned of assignments) owned.end()
      queue.end()
    },
  }

  if (signal.aborted) throw fault('CANCELLED', 'redis: the subscription was given up')
  core.enter(tenant)
  signal.addEventListener('abort', leave, { once: true })
  tender.owns(true)
  beat()
  for (const owned of assignments) queue.push(owned)
  return queue.iterable
}

// Where assignments of a group get their messages: a partition's stream, and the group's parked messages. Every script here
// begins with the fence, so that whoever lost the partition while it slept gets nothing and settles nothing.

import type { Outgoing, SettleResult } from '@posthorn/core/adapter'
import type { Feed, Fetched, Mode } from './assignment.ts'
import type { Core } from './core.ts'
import { type AttributeCache, type Entry, readEntries } from './encode.ts'
import { fault } from './explain.ts'
import { keyOf, streamOf } from './keys.ts'
import type { Argument, Link } from './link.ts'
import { packReader } from './pack.ts'
import { packOutputs, refusal } from './publish.ts'
import { type Script, scripts } from './scripts.ts'
import type { Waiter } from './waiter.ts'

/** Whose messages a feed reads. */
export interface Ownership {
  readonly core: Core
  readonly link: Link
  readonly waiter: Waiter
  readonly topic: string
  readonly group: string
  readonly partition: number
  readonly token: string
  /** Tells core that entries were taken away behind its back. */
  vanished(partition: number, ids: readonly string[]): void
  /** Tells core that so many were taken away before the group was given them. */
  cut(partition: number, count: number): void
  /** The server refuses settlements for good. */
  refused(error: unknown): void
  /** Gives the partition back, when nothing of it is used any more. */
  done(): Promise<void>
}

/** Entries out of a reply whose packed lists begin at `from`. */
export function entriesOf(reply: readonly unknown[], from: number, cache: AttributeCache): Entry[] {
  const entries: Entry[] = []
  for (let at = from; at < reply.length; at++) readEntries(packReader(reply[at] as Buffer), cache, entries)
  return entries
}

const counts = (text: unknown): readonly number[] | null => {
  const list = String(text)
  return list === '' ? null : list.split(',').map(Number)
}

/** Under which name it waits: groups of one process read the same stream. */
export const waiterName = ({ group, token }: Pick<Ownership, 'group' | 'token'>): string => `${group} ${token}`

/** The stream of one partition: history first, then what is new. */
export function mainFeed(own: Ownership): Feed {
  const { link, waiter, topic, group, token } = own
  const partition = String(own.partition)
  const stream = streamOf(topic, own.partition)
  const keys = [stream, keyOf(topic, `own:${group}`)]
  const waitingAs = waiterName(own)
  const cache: AttributeCache = { last: null }
  return {
    first: 'history',
    async fetch(mode: Mode, after, count, chunk, bytes): Promise<Fetched> {
      const reply = (await (mode === 'again'
        ? link.run(scripts.again, keys, [partition, token, group, after, String(count)])
        : link.run(scripts.read, keys, [
            partition,
            token,
            group,
            mode === 'new' ? '>' : after,
            String(count),
            String(mode === 'new' ? chunk : count),
            String(bytes),
          ]))) as readonly unknown[]
      const status = String(reply[0])
      if (status === 'STALE') return { kind: 'stale' }
      if (status === 'NOGROUP') return { kind: 'gone' }
      const entries = entriesOf(reply, 2, cache)
      if (mode !== 'new') {
        const [cut, list] = String(reply[1]).includes(';') ? String(reply[1]).split(';') : ['0', String(reply[1])]
        if (Number(cut) > 0) own.cut(own.partition, Number(cut))
        const times = counts(list)
        // A page that is not full was the last one.
        return { kind: 'entries', entries, times, last: entries.at(-1)?.id ?? after, more: entries.length >= count }
      }
      // What was cut short by its bytes goes on; what was not full had nothing behind it.
      const more = entries.length > 0 && (entries.length >= count || entries.length % chunk === 0)
      return { kind: 'entries', entries, times: null, last: entries.at(-1)?.id ?? String(reply[1]), more }
    },
    wait: (last, wake) => waiter.wait(stream, waitingAs, last, wake),
    settle: (ids, outputs) => settle(own, keys, scripts.settle, [partition, token, group], group, ids, outputs),
    doubt: () => {},
    stop: () => waiter.forget(stream, waitingAs),
    release: () => own.done(),
    vanished(ids) {
      // They would come back with every history: the list of what is pending is cleaned.
      own.vanished(own.partition, ids)
      void link.run(scripts.settle, keys, [partition, token, group, ...ids]).catch(() => {})
    },
  }
}

/** The group's parked messages, when they are due. */
export function retryFeed(own: Ownership): Feed {
  const { core, link, topic, group, token } = own
  const keys = [keyOf(topic, `retry:${group}`), keyOf(topic, `own:${group}`)]
  const cache: AttributeCache = { last: null }
  let fresh = true
  let back: string[] = []
  let cancel: (() => void) | null = null
  let nextMs = -1

  return {
    first: 'new',
    async fetch(mode, after, count): Promise<Fetched> {
      const returned = back
      back = []
      // After a lost answer everything that is out and not known to be settled comes back, and core's own are left out here.
      const all = fresh || (mode === 'again' && after === '0-0')
      let reply: readonly unknown[]
      try {
        reply = (await link.run(scripts.due, keys, ['0', token, String(count), all ? '1' : '0', ...returned])) as readonly unknown[]
      } catch (error) {
        back = [...returned, ...back]
        throw error
      }
      if (String(reply[0]) === 'STALE') return { kind: 'stale' }
      fresh = false
      nextMs = Number(reply[2])
      const entries = entriesOf(reply, 3, cache)
      return { kind: 'entries', entries, times: counts(reply[1]), last: '1-0', more: entries.length >= count || nextMs === 0 }
    },
    wait(_last, wake) {
      cancel?.()
      cancel = nextMs < 0 ? null : core.context.clock.timer(Math.max(1, nextMs), wake)
    },
    settle: (ids, outputs) => settle(own, keys, scripts.settleRetry, ['0', token], '', ids, outputs),
    doubt(ids) {
      back.push(...ids)
    },
    stop: () => cancel?.(),
    release: () => own.done(),
    vanished: () => {},
  }
}

async function settle(
  { core, link, refused }: Ownership,
  keys: readonly string[],
  script: Script,
  plain: readonly string[],
  group: string,
  ids: readonly string[],
  outputs: readonly Outgoing[] | undefined,
): Promise<SettleResult> {
  try {
    let reply: unknown
    if (outputs === undefined || outputs.length === 0) reply = await link.run(script, keys, [...plain, ...ids])
    else {
      if (outputs.some((output) => refusal(output) !== null)) return 'unknown'
      const packs = packOutputs(core, outputs)
      const args: Argument[] = [plain[0] ?? '', plain[1] ?? '', group, String(ids.length), ...ids]
      for (const { partitions, packed } of packs) args.push(partitions, packed)
      reply = await link.run(scripts.forward, [...keys, ...packs.map(({ topic }) => keyOf(topic, 'meta'))], args)
    }
    const status = String((reply as readonly unknown[])[0])
    if (status === 'DENIED') refused(fault('UNAUTHORIZED', 'NOPERM the user may not acknowledge', 'failed'))
    return status === 'OK' ? 'settled' : status === 'STALE' ? 'stale' : 'unknown'
  } catch (error) {
    // With outputs it may be their topic that is closed to us, which is no reason to leave this one.
    if (outputs === undefined || outputs.length === 0) refused(error)
    return 'unknown'
  }
}

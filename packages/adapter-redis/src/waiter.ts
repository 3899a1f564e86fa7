// One connection per session that does nothing but wait. It reads without a group, so that it can take nothing away from
// anybody however long it sleeps; what it sees only wakes whoever reads for real.

import type { AdapterContext } from '@posthorn/core/adapter'
import type { Link } from './link.ts'

/** Wakes readers when something comes after what they have seen. Several may wait for one stream, each by an id of its own. */
export interface Waiter {
  /** Calls `wake` when the stream has something after `after`. Once per call, or a little more often. */
  wait(key: string, id: string, after: string, wake: () => void): void
  forget(key: string, id: string): void
  /** Calls `wake` now and each time anything is added from now on, until `forget`. */
  listen(key: string, id: string, wake: () => void): void
  connected(): void
  close(until: AbortSignal): Promise<void>
}

interface Watched {
  after: string
  wake: () => void
  /** Woken once since it last said where it is: a second wake puts it to rest. */
  woken: boolean
  resting: boolean
  readonly bell: boolean
}

/** Is the first entry id after the second? */
export function later(a: string, b: string): boolean {
  const [aMs = '', aSeq = ''] = a.split('-')
  const [bMs = '', bSeq = ''] = b.split('-')
  if (aMs !== bMs) return aMs.length === bMs.length ? aMs > bMs : aMs.length > bMs.length
  return aSeq.length === bSeq.length ? aSeq > bSeq : aSeq.length > bSeq.length
}

// Long enough to be idle, short enough to notice soon that the connection is dead.
const blockMs = 500
// Where nobody may be woken from outside.
const shortBlockMs = 50

/** Makes a waiter on its own connection; `control` is the one that wakes it. */
export function createWaiter(context: AdapterContext, link: () => Link | null, control: () => Link | null): Waiter {
  const { clock } = context
  const watched = new Map<string, Map<string, Watched>>()
  // The keys that the wait under way knows of; null: none is under way.
  let blocked: ReadonlySet<string> | null = null
  let cancelWake: (() => void) | null = null
  let canWake = true
  let closed = false
  let cancelPause: (() => void) | null = null

  function changed(key: string): void {
    if (closed) return
    if (blocked === null) soon(0)
    else if (!blocked.has(key)) wakeSoon()
  }

  // Never before what came on the other connections is seen to: that is what everybody waits for.
  function soon(ms: number): void {
    cancelPause ??= clock.timer(ms, () => {
      cancelPause = null
      loop()
    })
  }

  // The wait under way does not know the key: it is ended at the server. The order may get there first, so it is repeated.
  function wakeSoon(tries = 0): void {
    if (cancelWake !== null || !canWake) return
    cancelWake = clock.timer(tries, () => {
      cancelWake = null
      const known = blocked
      const id = link()?.info.clientId
      const by = control()
      if (known === null || by === null) return
      if (id === null || id === undefined) {
        canWake = false
        return
      }
      by.call('client', ['UNBLOCK', id]).then(
        (reply) => {
          if (reply === 0 && blocked === known && tries < 5 && !closed) wakeSoon(tries + 1)
        },
        (error: unknown) => {
          if (error instanceof Error && !/away|closed/i.test(error.message)) canWake = false
        },
      )
    })
  }

  function loop(): void {
    const current = link()
    if (closed || blocked !== null || current === null || current.client === null) return
    const keys: string[] = []
    const ids: string[] = []
    for (const [key, all] of watched) {
      let least: string | null = null
      for (const each of all.values()) if (!each.resting && (least === null || later(least, each.after))) least = each.after
      if (least === null) continue
      keys.push(key)
      ids.push(least)
    }
    if (keys.length === 0) return
    const known = new Set(keys)
    blocked = known
    const ms = canWake && current.info.clientId !== null ? blockMs : shortBlockMs
    current.call('xread', ['COUNT', '1', 'BLOCK', String(ms), 'STREAMS', ...keys, ...ids], ms).then(
      (reply) => {
        if (blocked === known) blocked = null
        if (closed) return
        if (Array.isArray(reply)) seen(reply)
        soon(0)
      },
      () => {
        if (blocked === known) blocked = null
        if (closed) return
        // Away: `connected` comes when it is back. Refused: not at once again.
        soon(500)
      },
    )
  }

  // RESP2 shape [[key, entries]], or the flat map [key, entries, …] of RESP3.
  function seen(reply: readonly unknown[]): void {
    const pairs: (readonly [unknown, unknown])[] = []
    if (Array.isArray(reply[0])) for (const each of reply as readonly (readonly unknown[])[]) pairs.push([each[0], each[1]])
    else for (let at = 0; at + 1 < reply.length; at += 2) pairs.push([reply[at], reply[at + 1]])
    for (const [key, entries] of pairs) {
      const all = watched.get(String(key))
      const last = Array.isArray(entries) ? (entries.at(-1) as readonly unknown[] | undefined) : undefined
      if (all === undefined || last === undefined) continue
      const id = String(last[0])
      for (const one of [...all.values()]) {
        // It is resting, or went on before the wait ended and has seen this.
        if (one.resting || !later(id, one.after)) continue
        one.after = id
        if (!one.bell) {
          if (one.woken) one.resting = true
          one.woken = true
        }
        one.wake()
      }
    }
  }

  function put(key: string, id: string, one: Watched): void {
    const all = watched.get(key)
    if (all === undefined) watched.set(key, new Map([[id, one]]))
    else all.set(id, one)
    changed(key)
  }

  return {
    wait(key, id, after, wake) {
      const known = watched.get(key)?.get(id)
      if (known === undefined || known.resting) {
        put(key, id, { after, wake, woken: false, resting: false, bell: false })
        return
      }
      known.wake = wake
      known.woken = false
      // The wait under way may have seen more than the reader did when it asked.
      if (later(known.after, after)) wake()
      else known.after = after
      changed(key)
    },
    forget(key, id) {
      const all = watched.get(key)
      if (all?.delete(id) === true && all.size === 0) watched.delete(key)
    },
    // From the beginning: the one entry that is there rings at once, and none is missed afterwards.
    listen: (key, id, wake) => put(key, id, { after: '0-0', wake, woken: false, resting: false, bell: true }),
    connected() {
      cancelPause?.()
      cancelPause = null
      // What rang while nobody listened is not heard any more: everybody looks.
      for (const all of [...watched.values()]) for (const each of [...all.values()]) each.wake()
      loop()
    },
    async close(until) {
      closed = true
      cancelPause?.()
      cancelWake?.()
      watched.clear()
      await link()?.close(until)
    },
  }
}

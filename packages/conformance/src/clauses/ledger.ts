// Stores for `once` that outlive the members of a clause, with the effects that happen in their transactions.

import { inMemoryOnce, type OnceKey, type OnceStore } from '@posthorn/core'
import { realClock } from '../clock.ts'
import type { Trial } from '../trial.ts'

interface Transaction {
  readonly effects: string[]
}
/** A store and the effects of what ran in it, counted per message: group, topic, source and id. */
export interface Ledger {
  readonly name: string
  readonly store: OnceStore<unknown>
  readonly effects: ReadonlyMap<string, number>
  /** What a handler does to the world, inside the store's transaction. */
  effect(tx: unknown, key: OnceKey): void
  /** Is this message recorded as done? */
  recorded(key: OnceKey): Promise<boolean>
}

const nameOf = ({ group, topic, source, id }: OnceKey): string => JSON.stringify([group, topic, source ?? null, id])

/** Every store that the library ships, and one with transactions as an application would write it for its database. */
export function ledgers(t: Trial, options: { readonly windowMs?: number } = {}): readonly Ledger[] {
  const effects = new Map<string, number>()
  const clock = t.server.simulation?.clock ?? realClock
  const shipped = ledger('in memory', inMemoryOnce(options, clock), effects, (_, name) => count(effects, name))
  return [shipped, database()]
}

function database(): Ledger {
  const effects = new Map<string, number>()
  const records = new Set<string>()
  const working = new Map<string, Promise<void>>()
  const store: OnceStore<Transaction> = {
    async once(key, work) {
      const name = nameOf(key)
      for (let other = working.get(name); other !== undefined; other = working.get(name)) await other
      if (records.has(name)) return 'repeat'
      let end: () => void = () => {}
      working.set(
        name,
        new Promise((resolve) => {
          end = resolve
        }),
      )
      const tx: Transaction = { effects: [] }
      try {
        await work(tx)
        // The commit: record and effects at one instant.
        records.add(name)
        for (const effect of tx.effects) count(effects, effect)
        return 'done'
      } finally {
        working.delete(name)
        end()
      }
    },
  }
  return ledger('with transactions', store as OnceStore<unknown>, effects, (tx, name) => (tx as Transaction).effects.push(name))
}

function ledger(name: string, store: OnceStore<unknown>, effects: Map<string, number>, write: (tx: unknown, name: string) => void): Ledger {
  return {
    name,
    store,
    effects,
    effect: (tx, key) => write(tx, nameOf(key)),
    async recorded(key) {
      try {
        return (await store.once(key, () => Promise.reject(new Error('only a look')))) === 'repeat'
      } catch {
        return false
      }
    },
  }
}

function count(effects: Map<string, number>, name: string): void {
  effects.set(name, (effects.get(name) ?? 0) + 1)
}

/** How often each message of these ids took effect: on any topic, from any source, in any group. */
export function effectsOf(ledger: Ledger, ids: readonly string[]): readonly number[] {
  const all = [...ledger.effects].map(([name, times]) => ({ id: (JSON.parse(name) as readonly string[])[3], times }))
  const byId = new Map<string | undefined, number>()
  for (const { id, times } of all) byId.set(id, (byId.get(id) ?? 0) + times)
  return ids.map((id) => byId.get(id) ?? 0)
}

/** The process that a store's calls come from: when it dies, its open transactions are rolled back by the server of the store. */
export interface Process {
  readonly died: Promise<never>
  end(): void
}
export function processOf(): Process {
  let end: () => void = () => {}
  const died = new Promise<never>((_, reject) => {
    end = () => reject(new Error('the process has ended, and its transaction with it'))
  })
  died.catch(() => {})
  return { died, end }
}

/** The store as one process uses it. The effect is part of the handler's work; `between` runs after it and before the commit. */
export function storeIn(own: Process, ledger: Ledger, between?: () => void | Promise<void>): OnceStore<unknown> {
  return {
    ...(ledger.store.windowMs === undefined ? {} : { windowMs: ledger.store.windowMs }),
    once: (key, work) =>
      ledger.store.once(key, async (tx) => {
        await Promise.race([work(tx), own.died])
        // Without a transaction there is no instant between the effect and its record.
        if (tx !== undefined) ledger.effect(tx, key)
        if (between !== undefined) await Promise.race([between(), own.died])
        if (tx === undefined) ledger.effect(tx, key)
      }),
  }
}

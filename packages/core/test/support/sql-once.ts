// sql-once.ts
import { createHash } from 'node:crypto'
import type { OnceKey, OnceStore } from '@posthorn/core'

/** A client inside a transaction. */
export interface Transaction {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>
}
/** Runs `work` in one transaction: commits when it resolves, rolls back when it rejects, and passes its error on. */
export interface Database<Tx extends Transaction> {
  transaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
}

export const onceTable = `
  create table if not exists handled_messages (
    key char(64) primary key,
    topic text not null,
    consumer text not null,
    handled_at timestamptz not null default now()
  );
  create index if not exists handled_messages_at on handled_messages (handled_at)`

// Ids come from outside: hashed, none is too long for an index or holds what a text column refuses. The four parts stay apart.
function keyOf({ group, topic, source, id }: OnceKey): string {
  return createHash('sha256')
    .update(JSON.stringify([group, topic, source ?? null, id]))
    .digest('hex')
}

/** Recognises repeats for `windowMs`, in the database that holds the effects. Call `forgetOld` now and then. */
export function sqlOnce<Tx extends Transaction>(database: Database<Tx>, windowMs: number): OnceStore<Tx> {
  return {
    windowMs,
    once: (message, work) =>
      database.transaction(async (tx) => {
        // Waits while another member has the same message in its transaction: whoever comes second sees how the first one ended.
        const { rows } = await tx.query(
          'insert into handled_messages (key, topic, consumer) values ($1, $2, $3) on conflict (key) do nothing returning key',
          [keyOf(message), message.topic, message.group],
        )
        if (rows.length === 0) return 'repeat'
        await work(tx)
        return 'done'
      }),
  }
}

/** Removes records older than the window, by the database's clock. */
export async function forgetOld(tx: Transaction, windowMs: number): Promise<void> {
  await tx.query("delete from handled_messages where handled_at < now() - $1 * interval '1 millisecond'", [windowMs])
}

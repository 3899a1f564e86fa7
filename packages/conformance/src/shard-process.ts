// A worker of the suite: one broker, one clause after the other, as it is told.

import { allClauses } from './clauses/index.ts'
import type { Harness } from './harness.ts'
import { openSession, type Session } from './session.ts'
import type { FromShard, ToShard } from './shards.ts'

let session: Session | undefined

const say = (message: FromShard): void => {
  if (process.connected) process.send?.(message)
}

async function obey(message: ToShard): Promise<void> {
  if (message.kind === 'start') {
    const { default: harness } = (await import(message.harnessAt)) as { default: Harness }
    session = await openSession({ ...message, harness, clauses: allClauses, started: (pid) => say({ kind: 'process', pid }) })
    const { title, durability, capabilities } = session
    say({ kind: 'open', title, durability, capabilities })
  } else if (message.kind === 'run') {
    const clause = allClauses.find(({ id }) => id === message.id)
    if (session === undefined || clause === undefined) throw new Error(`there is no clause ${message.id} here`)
    say({ kind: 'ran', ...(await session.run(clause)) })
  } else {
    await session?.close()
    process.exit(0)
  }
}

process.on('message', (message: ToShard) => {
  obey(message).catch((error: unknown) => {
    say({ kind: 'broke', text: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  })
})
process.on('disconnect', () => {
  void session?.close().finally(() => process.exit(1))
})

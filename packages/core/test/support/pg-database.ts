// pg-database.ts
import type { Database, Transaction } from './sql-once.ts'

/** What this needs of `pg`: `new Pool()` fits. */
interface Client extends Transaction {
  release(broken?: boolean): void
}
interface Pool {
  connect(): Promise<Client>
}

export function pgDatabase(pool: Pool): Database<Transaction> {
  return {
    async transaction(work) {
      const client = await pool.connect()
      let broken = false
      try {
        await client.query('begin')
        const result = await work(client)
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback').catch(() => {
          broken = true // nobody may get this connection with our transaction still open
        })
        throw error
      } finally {
        client.release(broken)
      }
    },
  }
}

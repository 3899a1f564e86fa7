// A real server for a file of tests, a session on it, and a plain client beside it.

import { type Opened, openSession, whereFound } from '@posthorn/conformance/live'
import { type RedisOptions, redis } from '@posthorn/redis'
import { Redis } from 'ioredis'
import { describe } from 'vitest'
import { findBroker } from '../../../../tools/brokers/index.mjs'

/** Tests that need a server; without one they are skipped, and their title says why. */
export const describeLive: ReturnType<typeof whereFound> = whereFound(describe, await findBroker('redis'))

/** Opens a session as core would, on a lease of 2 s. */
export const open = (options: RedisOptions): Promise<Opened> => openSession(redis({ leaseMs: 2000, ...options }))

/** A plain client, to look and to meddle with. */
export async function witness(url: string): Promise<Redis> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0 })
  client.on('error', () => {})
  await client.connect()
  return client
}

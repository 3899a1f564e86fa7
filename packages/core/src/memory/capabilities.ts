// What the embedded broker can be: its own best, or as little as one of the servers that the same application runs on later.

import type { Capabilities } from '../contract.ts'

/** Which server the embedded broker behaves like. */
export type MemoryProfile = 'default' | 'kafka' | 'rabbitmq' | 'redis' | 'mqtt'

const day = 86_400_000

const limits: Capabilities['limits'] = Object.freeze({
  // A body of 1 MiB and room for its headers.
  messageBytes: 1_048_576 + 65_536,
  batch: 1000,
  batches: 4,
  holdMs: null,
  unsettled: 100_000,
  delayMs: 365 * day,
})

const best: Capabilities = Object.freeze({
  settlement: 'each',
  retention: 'log',
  positions: 'native',
  attempts: 'native',
  delay: 'native',
  replay: 'native',
  forward: 'atomic',
  unroutable: 'reported',
  headers: 'native',
  limits,
})

/** The capabilities of each profile. Only `default` has everything. */
export const profiles: Readonly<Record<MemoryProfile, Capabilities>> = Object.freeze({
  default: best,
  kafka: Object.freeze({ ...best, settlement: 'prefix', attempts: 'none', delay: 'none', unroutable: 'silent' }),
  rabbitmq: Object.freeze({ ...best, retention: 'queue', positions: 'none', replay: 'none', forward: 'none' }),
  redis: Object.freeze({ ...best, retention: 'queue', replay: 'none' }),
  mqtt: Object.freeze({
    ...best,
    settlement: 'prefix',
    retention: 'queue',
    positions: 'none',
    attempts: 'none',
    replay: 'none',
    forward: 'none',
    unroutable: 'silent',
    headers: 'envelope',
    // Text around a body of 1 MiB in base64.
    limits: Object.freeze({ ...limits, messageBytes: 2 * 1_048_576 }),
  }),
})

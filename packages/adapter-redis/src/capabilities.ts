import type { Capabilities } from '@posthorn/core/adapter'

/** The most that Redis gives. */
export const best: Capabilities = Object.freeze({
  settlement: 'each',
  retention: 'queue',
  positions: 'native',
  attempts: 'native',
  delay: 'native',
  replay: 'none',
  forward: 'atomic',
  unroutable: 'reported',
  headers: 'native',
  limits: Object.freeze({
    messageBytes: 4 * 1024 * 1024,
    // Scripts hold the server up: never more than this in one.
    batch: 500,
    batches: 2,
    holdMs: null,
    unsettled: 10_000,
    delayMs: 365 * 86_400_000,
  }),
})

/** In a Cluster the topics of one step may lie on different nodes, and no script spans two. */
export const clustered: Capabilities = Object.freeze({ ...best, forward: 'none' })

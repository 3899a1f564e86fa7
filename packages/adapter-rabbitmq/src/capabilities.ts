// What RabbitMQ gives through quorum queues and AMQP 0-9-1. The same from 3.10 to 4.x: nothing here depends on the version.

import type { Capabilities } from '@posthorn/core/adapter'

const day = 86_400_000

/** The capabilities of every session. `delay` is `none`: queues wait fixed steps, and core chooses and repeats them (docs/decisions/0003). */
export const capabilities: Capabilities = Object.freeze({
  settlement: 'each',
  retention: 'queue',
  positions: 'none',
  attempts: 'native',
  delay: 'none',
  replay: 'none',
  forward: 'none',
  unroutable: 'reported',
  headers: 'native',
  limits: Object.freeze({
    // The default of RabbitMQ 4; older servers take more.
    messageBytes: 16 * 1_048_576,
    batch: 500,
    batches: 4,
    // `consumer_timeout` of the server, checked every minute: later it takes everything of the channel back.
    holdMs: 30 * 60_000,
    unsettled: 10_000,
    delayMs: 365 * day,
  }),
})

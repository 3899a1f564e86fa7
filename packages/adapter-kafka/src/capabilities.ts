import type { Capabilities } from '@posthorn/core/adapter'

/** What Kafka gives. */
export const capabilities: Capabilities = Object.freeze({
  // The position carries what is finished behind something unfinished.
  settlement: 'each',
  retention: 'log',
  positions: 'native',
  attempts: 'none',
  delay: 'none',
  replay: 'native',
  forward: 'atomic',
  unroutable: 'silent',
  headers: 'native',
  limits: Object.freeze({
    // The server's own default is 1,048,588 for what one request brings to a partition, its frame included.
    messageBytes: 1_040_000,
    batch: 500,
    batches: 4,
    holdMs: null,
    unsettled: 100_000,
    delayMs: 7 * 86_400_000,
  }),
})

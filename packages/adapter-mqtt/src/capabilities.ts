import type { Capabilities } from '@posthorn/core/adapter'

/** The most that MQTT gives: version 5. */
export const best: Capabilities = Object.freeze({
  settlement: 'prefix',
  retention: 'queue',
  positions: 'none',
  attempts: 'none',
  delay: 'native',
  replay: 'none',
  forward: 'none',
  unroutable: 'reported',
  headers: 'native',
  limits: Object.freeze({
    messageBytes: 4 * 1024 * 1024,
    batch: 500,
    batches: 4,
    holdMs: null,
    unsettled: 65_535,
    delayMs: 365 * 86_400_000,
  }),
})

/** What is around a body and its headers in a packet: topic, attributes, our own properties. */
const around = 4096

/** What this server gives: version 3.1.1 has no properties and no reasons, and every server has a largest packet. */
export function capabilitiesOf(version: 4 | 5, maximumPacketSize: number): Capabilities {
  const messageBytes = Math.min(best.limits.messageBytes, Math.max(1024, maximumPacketSize - around))
  const limits = Object.freeze({ ...best.limits, messageBytes })
  return Object.freeze({ ...best, ...(version === 5 ? {} : { headers: 'envelope' as const, unroutable: 'silent' as const }), limits })
}

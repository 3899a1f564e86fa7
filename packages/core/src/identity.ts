import type { Delivery, Received } from './contract.ts'
import { digestOf } from './forward-id.ts'

/**
 * Names a message among all of a consumer: the same id on another topic or from another source is another message. Ids and
 * sources from outside may hold anything and be of any size: no two messages can be made to meet, and the name stays short.
 */
export function identityOf(topic: string, delivery: Delivery, content: Received | null, id: string): string {
  return deliveryOf(messageOf(topic, content?.attributes['source'], id), delivery, content)
}

function messageOf(topic: string, source: string | undefined, id: string): string {
  const length = source?.length ?? -1
  return length + id.length > longestName ? digestOf([topic, source ?? null, id]) : `${topic}\n${length}\n${source ?? ''}\n${id}`
}

// Ids are remembered by the thousand.
const longestName = 1024

// A copy in the retry place is work of its own: that its original, or an earlier copy, was finished says nothing about it.
// No topic begins with a plus.
function deliveryOf(identity: string, delivery: Delivery, content: Received | null): string {
  if (!delivery.parked) return identity
  const { transport } = content ?? {}
  const copy = `${transport?.['ph-copy'] ?? transport?.['ph-attempt'] ?? ''} ${transport?.['ph-hop'] ?? ''}`
  return `+${copy.length > longestName ? digestOf([copy]) : copy}\n${identity}`
}

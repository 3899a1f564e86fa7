import type { Capabilities, Outgoing } from './contract.ts'
import { laneTransport } from './delay-lanes.ts'
import { outgoing, outgoingCopy } from './outgoing.ts'
import type { Router } from './route.ts'
import type { SendEntry } from './send-lane.ts'

/**
 * The adapter's form of an entry that leaves now. Made once and kept for its repeats, but for what counts from now: what is
 * left of a delay, and the hop of a delay lane.
 */
export function formOf(capabilities: Capabilities, router: Router, entry: SendEntry, wall: number): Outgoing {
  const { request, lane, step, content } = entry
  entry.partition ??= lane.partition ?? router.spread(lane.place)
  if (entry.outgoing !== null) {
    // Made for this send alone, and not with the adapter yet where its partition is still open.
    if (entry.outgoing.partition !== entry.partition) (entry.outgoing as { partition: number | null }).partition = entry.partition
    return entry.outgoing
  }
  const { due, slot } = request
  const to = { place: lane.place, partition: entry.partition, delayMs: 0, slot }
  if (step !== null) return outgoingCopy(capabilities, content, laneTransport(content.transport, due > 0 ? due : wall, wall, step), to)
  if (due > wall && capabilities.delay === 'native') return outgoing(capabilities, content, { ...to, delayMs: Math.ceil(due - wall) })
  entry.outgoing = outgoing(capabilities, content, to)
  return entry.outgoing
}

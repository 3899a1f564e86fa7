import type { BrokerContext } from './context.ts'
import type { Outgoing, Place } from './contract.ts'
import { delaySteps, laneFor, laneTransport } from './delay-lanes.ts'
import { outgoing, outgoingCopy } from './outgoing.ts'
import type { Prepared } from './prepare.ts'

/**
 * A prepared message as an output of an atomic settlement, which bypasses the send engine: in the form of this adapter's
 * wire, and, where the server has no delay, in the delay lane for what is left of its wait.
 */
export function outputOf(context: Pick<BrokerContext, 'capabilities' | 'clock'>, topic: string, prepared: Prepared): Outgoing {
  const { capabilities, clock } = context
  const { content, partition, due } = prepared
  const now = clock.now()
  const place: Place = { topic, role: 'main', group: null }
  if (due <= now) return outgoing(capabilities, content, { place, partition, delayMs: 0, slot: null })
  if (capabilities.delay === 'native')
    return outgoing(capabilities, content, { place, partition, delayMs: Math.ceil(due - now), slot: null })
  const lane = laneFor(due - now)
  const to = { place: { topic, role: 'delay' as const, group: null }, partition: lane, delayMs: 0, slot: null }
  return outgoingCopy(capabilities, content, laneTransport(content.transport, due, now, delaySteps[lane] ?? 0), to)
}

import type { Catalog, SendRequest } from './context.ts'
import type { Place } from './contract.ts'
import { delaySteps, laneFor } from './delay-lanes.ts'
import { MessagingError } from './errors.ts'
import { partitionOf } from './murmur2.ts'

/** Where a message goes and, with `step`, how long the delay lane there holds it. */
export interface Route {
  readonly place: Place
  /** null: the adapter spreads. */
  readonly partition: number | null
  /** Of a lane, in milliseconds; null: no lane, the message goes where it belongs. */
  readonly step: number | null
}

/** Decides where messages go. */
export interface Router {
  /** Does it take a way through the delay lanes? */
  delayed(request: SendRequest, now: number): boolean
  /** The partition at the request's own place. @throws MessagingError INTERNAL for a key whose topic was never declared */
  partition(request: SendRequest): number | null
  /** The partition of a message without a key: the next one. Chosen once per message, so that a repeat stays where its first copy may be. */
  spread(place: Place): number | null
  /** The lane for what is left of the request's delay. */
  lane(request: SendRequest, now: number): Route
}

/**
 * Routes by the server's own partition count: keys by murmur2, dead letters to their one partition, delays through the
 * lanes where the server has no delay of its own. Retries always wait in lanes there, were it for no time at all: what
 * the group's retry place holds is read from lanes.
 */
export function createRouter(catalog: Catalog, delay: 'native' | 'none'): Router {
  const delayPlaces = new Map<string, Place>()
  const turns = new Map<string, number>()
  return {
    delayed(request, now) {
      if (delay === 'native') return false
      return request.place.role === 'retry' || request.place.role === 'delay' || (request.place.role === 'main' && request.due > now)
    },
    partition(request) {
      if (request.partition !== null) return request.partition
      const { place, content } = request
      if (place.role === 'dead') return 0
      if (content.key === null) return null
      const state = catalog.state(place.topic)
      if (state === undefined) {
        throw new MessagingError('INTERNAL', `${request.attempted}: the partitions of "${place.topic}" are not known`, {
          outcome: 'failed',
          messageId: content.id,
        })
      }
      return partitionOf(content.key, state.partitions)
    },
    spread(place) {
      const partitions = place.role === 'main' ? (catalog.state(place.topic)?.partitions ?? 1) : 1
      if (partitions === 1) return null
      const turn = ((turns.get(place.topic) ?? -1) + 1) % partitions
      turns.set(place.topic, turn)
      return turn
    },
    lane(request, now) {
      const lane = laneFor(request.due - now)
      const step = delaySteps[lane] ?? 0
      if (request.place.role !== 'main') return { place: request.place, partition: lane, step }
      const { topic } = request.place
      const place: Place = delayPlaces.get(topic) ?? Object.freeze({ topic, role: 'delay', group: null })
      delayPlaces.set(topic, place)
      return { place, partition: lane, step }
    },
  }
}

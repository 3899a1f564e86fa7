import { brokerNamed } from '../compare/brokers.ts'
import { groupsOf, type Place } from '../compare/client.ts'

/** Bytes of a message of a fault run, and keys that there are. */
export const faultBytes = 100
export const faultLanes = 100

/** Where a fault run sends and receives. */
export function placeOf({ broker, url, topic, keyed }: { broker: string; url: string; topic: string; keyed: boolean }): Place {
  const { partitions } = brokerNamed(broker)
  return {
    url,
    topic,
    keyed,
    partitions: keyed ? partitions.keyed : partitions.unkeyed,
    groups: groupsOf(1),
    concurrency: 16,
    maxUnsettled: 1000,
  }
}

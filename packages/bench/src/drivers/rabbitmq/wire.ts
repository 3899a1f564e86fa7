import type { Channel, Options } from 'amqplib'
import type { Place } from '../../compare/client.ts'
import { newId, newTraceparent, shared, timeSeconds, timeText } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'

/** The queue of a group's partition; of a topic without keys there is one. */
export const queueOf = ({ topic, keyed }: Pick<Place, 'topic' | 'keyed'>, partition: number, group: string): string =>
  keyed ? `${topic}__${group}:${partition}` : `${topic}__${group}`

/** Quorum queues, one active consumer each where there is an order to keep: what Posthorn declares. */
export async function declareQueues(channel: Channel, place: Pick<Place, 'topic' | 'keyed' | 'groups'>, partitions: number): Promise<void> {
  const { topic, keyed } = place
  await channel.assertExchange(topic, keyed ? 'direct' : 'fanout', { durable: true })
  const order = keyed ? { 'x-single-active-consumer': true } : {}
  for (const group of place.groups) {
    for (let p = 0; p < partitions; p++) {
      const queue = queueOf(place, p, group)
      await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000, ...order } })
      await channel.bindQueue(queue, topic, keyed ? String(p) : '')
    }
  }
}

/** Property by property what Posthorn publishes with this message. */
export function optionsOf(topic: string, work: Work, keyed: boolean): Options.Publish {
  const id = newId()
  const time = timeText()
  const headers: Record<string, string> = {
    cloudEvents_specversion: shared.specversion,
    cloudEvents_id: id,
    cloudEvents_source: shared.source,
    cloudEvents_type: topic,
    cloudEvents_time: time,
    traceparent: newTraceparent(),
  }
  if (keyed) headers.cloudEvents_partitionkey = work.user
  return {
    persistent: true,
    mandatory: true,
    messageId: id,
    type: topic,
    contentType: shared.datacontenttype,
    timestamp: timeSeconds(),
    headers,
  }
}

/** The bytes of a message. */
export const bodyOf = (work: Work): Buffer => Buffer.from(JSON.stringify(work))

/** The value in these bytes. */
export const workIn = (content: Buffer): Work => JSON.parse(content.toString()) as Work

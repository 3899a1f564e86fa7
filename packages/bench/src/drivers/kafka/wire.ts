import { Kafka, logLevel, Partitioners, type ProducerConfig } from 'kafkajs'
import { newId, newTraceparent, partitionOf, shared, timeText } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'

/** A client for the hosts of a URL, patient as a server that is busy needs it. */
export const clientOf = (url: string): Kafka =>
  new Kafka({ brokers: new URL(url.replace(/^kafka:/, 'http:')).host.split(','), logLevel: logLevel.NOTHING, requestTimeout: 30_000 })

/** Silences a warning of the client that is about something else. */
export const producing: ProducerConfig = { createPartitioner: Partitioners.DefaultPartitioner, allowAutoTopicCreation: false }

/** A message as kafkajs takes it. */
export interface Message {
  readonly partition: number
  readonly key: string | null
  readonly value: string
  readonly headers: Record<string, string>
}

/** What Posthorn stores for this message, header by header. */
export function messageOf(topic: string, work: Work, keyed: boolean, partition: number): Message {
  return {
    partition,
    key: keyed ? work.user : null,
    value: JSON.stringify(work),
    headers: {
      ce_specversion: shared.specversion,
      ce_source: shared.source,
      ce_type: topic,
      'content-type': shared.datacontenttype,
      ce_id: newId(),
      ce_time: timeText(),
      ...(keyed ? { ce_partitionkey: work.user } : {}),
      traceparent: newTraceparent(),
    },
  }
}

/** Where each message goes: by its key, or in turn. */
export function spreader(keyed: boolean, partitions: number): (work: Work) => number {
  let turn = 0
  return (work) => (keyed ? partitionOf(work.user, partitions) : turn++ % partitions)
}

/** The value of a record. */
export const workIn = (value: Buffer | null): Work => JSON.parse(String(value)) as Work

// The way in: `kafka(options)` for people, `adapter(url, options)` for `connect`.

import type {} from '@posthorn/core'
import type { Adapter } from '@posthorn/core/adapter'
import { check, secrets } from '@posthorn/core/adapter'
import type { Kafka } from 'kafkajs'
import { capabilities } from './capabilities.ts'
import { explain } from './explain.ts'
import type { KafkaConsumerOptions, KafkaOptions, KafkaTopicOptions } from './options.ts'
import { settingsOf } from './options.ts'
import { openSession } from './session.ts'

export type { KafkaConsumerOptions, KafkaMechanism, KafkaOptions, KafkaTls, KafkaTopicOptions } from './options.ts'

declare module '@posthorn/core' {
  interface Adapters {
    kafka: {
      connect: KafkaOptions
      topic: KafkaTopicOptions
      consumer: KafkaConsumerOptions
      client: Kafka
    }
  }
}

/**
 * Apache Kafka, 2.5 to 4.x: partitions handed over inside the rejoin, positions in one piece, dead letters in a compacted topic,
 * forwarding in transactions. Opens nothing before `connect`.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for options or a URL that are wrong
 */
export function kafka(options?: KafkaOptions): Adapter {
  const settings = settingsOf(options)
  return Object.freeze({
    name: 'kafka',
    best: capabilities,
    open: (context, signal) => openSession(settings, context, signal),
    explain,
  } satisfies Adapter)
}

/**
 * What `connect` calls for `kafka:`.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for options or a URL that are wrong
 */
export function adapter(url: string, options?: unknown): Adapter {
  secrets.rememberUrl(url)
  if (typeof options === 'object' && options !== null && ('url' in options || 'brokers' in options))
    throw check.invalid('cannot make the Kafka adapter', 'the servers are given twice: leave "url" and "brokers" out of the options')
  return kafka({ ...(options as KafkaOptions | undefined), url })
}

// The way in: `rabbitmq(options)` for people, `adapter(url, options)` for `connect`.

import type {} from '@posthorn/core'
import type { Adapter } from '@posthorn/core/adapter'
import { check, secrets } from '@posthorn/core/adapter'
import type { ChannelModel } from 'amqplib'
import { capabilities } from './capabilities.ts'
import { explain } from './explain.ts'
import type { RabbitmqConsumerOptions, RabbitmqOptions, RabbitmqTopicOptions } from './options.ts'
import { settingsOf } from './options.ts'
import { openSession } from './session.ts'

export type { RabbitmqConsumerOptions, RabbitmqOptions, RabbitmqTls, RabbitmqTopicOptions } from './options.ts'

/** What `broker.native('rabbitmq')` gives: amqplib's connections, null while they are away. They change at each reconnect. */
export interface RabbitmqClient {
  readonly consuming: ChannelModel | null
  readonly publishing: ChannelModel | null
}

declare module '@posthorn/core' {
  interface Adapters {
    rabbitmq: {
      connect: RabbitmqOptions
      topic: RabbitmqTopicOptions
      consumer: RabbitmqConsumerOptions
      client: RabbitmqClient
    }
  }
}

/**
 * RabbitMQ, 3.10 to 4.x: quorum queues, persistent confirmed messages, one consumer per partition. Opens nothing before `connect`;
 * each `connect` has two connections, because an alarm of the server stops a whole connection that publishes.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for options or a URL that are wrong
 */
export function rabbitmq(options?: RabbitmqOptions): Adapter {
  const settings = settingsOf(options)
  return Object.freeze({
    name: 'rabbitmq',
    best: capabilities,
    open: (context, signal) => openSession(settings, context, signal),
    explain,
  } satisfies Adapter)
}

/**
 * What `connect` calls for `amqp:` and `amqps:`.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for options or a URL that are wrong
 */
export function adapter(url: string, options?: unknown): Adapter {
  secrets.rememberUrl(url)
  if (typeof options === 'object' && options !== null && 'url' in options)
    throw check.invalid('cannot make the RabbitMQ adapter', 'the URL is given twice: leave "url" out of the options')
  return rabbitmq({ ...(options as RabbitmqOptions | undefined), url })
}

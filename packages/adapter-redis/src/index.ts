// The way in: `redis(options)` for people, `adapter(url, options)` for `connect`.

import type {} from '@posthorn/core'
import { type Adapter, check } from '@posthorn/core/adapter'
import type { Redis } from 'ioredis'
import { best } from './capabilities.ts'
import { explain } from './explain.ts'
import type { RedisConsumerOptions, RedisOptions, RedisTopicOptions } from './options.ts'
import { settingsOf } from './options.ts'
import { openSession } from './session.ts'

export type { RedisConsumerOptions, RedisOptions, RedisSentinels, RedisTls, RedisTopicOptions } from './options.ts'

declare module '@posthorn/core' {
  interface Adapters {
    redis: { connect: RedisOptions; topic: RedisTopicOptions; consumer: RedisConsumerOptions; client: Redis }
  }
}

/**
 * Redis Streams, on Redis 7.0 and newer or Valkey: `connect(redis({ url }))`. Opens nothing before it is connected.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for options that are wrong
 */
export function redis(options: RedisOptions = {}): Adapter {
  const settings = settingsOf(options)
  return {
    name: 'redis',
    best,
    open: (context, signal) => openSession(settings, context, signal),
    explain,
  }
}

/** What `connect` calls for `redis://` and `rediss://`. @throws MessagingError `INVALID_ARGUMENT` */
export function adapter(url: string, options?: RedisOptions): Adapter {
  if (options?.url !== undefined) throw check.invalid('cannot use Redis', 'the URL is given already: leave "url" out of the options')
  return redis({ ...options, url })
}

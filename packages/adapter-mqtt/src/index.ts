// The way in: `mqtt(options)` for people, `adapter(url, options)` for `connect`.

import type {} from '@posthorn/core'
import { type Adapter, check } from '@posthorn/core/adapter'
import type { MqttClient } from 'mqtt'
import { best } from './capabilities.ts'
import { explain } from './explain.ts'
import type { MqttConsumerOptions, MqttOptions, MqttTopicOptions } from './options.ts'
import { settingsOf } from './options.ts'
import { openSession } from './session.ts'

export type { MqttConsumerOptions, MqttOptions, MqttTls, MqttTopicOptions } from './options.ts'

declare module '@posthorn/core' {
  interface Adapters {
    mqtt: { connect: MqttOptions; topic: MqttTopicOptions; consumer: MqttConsumerOptions; client: MqttClient }
  }
}

/**
 * MQTT, on any server that conforms to version 5 or 3.1.1: `connect(mqtt({ url }))`. Opens nothing before it is connected.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for options that are wrong
 */
export function mqtt(options: MqttOptions = {}): Adapter {
  const settings = settingsOf(options)
  return {
    name: 'mqtt',
    best,
    open: (context, signal) => openSession(settings, context, signal),
    explain,
  }
}

/** What `connect` calls for `mqtt://` and `mqtts://`. @throws MessagingError `INVALID_ARGUMENT` */
export function adapter(url: string, options?: MqttOptions): Adapter {
  if (options?.url !== undefined) throw check.invalid('cannot use MQTT', 'the URL is given already: leave "url" out of the options')
  return mqtt({ ...options, url })
}

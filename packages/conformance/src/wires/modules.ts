import type { AmqpWireOptions } from './amqp.ts'
import type { MqttWireOptions } from './mqtt.ts'
import type { RedisWireOptions } from './redis.ts'
import type { WireModule } from './wire.ts'

const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const builtIn = (name: string, options: unknown): WireModule => ({
  module: new URL(`./${name}.${ending}`, import.meta.url).href,
  options,
})

/** How the fault proxy reads Redis. Name the adapter's scripts, or it takes none of them for an operation. */
export function redisWire(options: RedisWireOptions = {}): WireModule {
  return builtIn('redis', options)
}

/** How the fault proxy reads AMQP 0-9-1. */
export function amqpWire(options: AmqpWireOptions = {}): WireModule {
  return builtIn('amqp', options)
}

/** How the fault proxy reads Kafka. */
export function kafkaWire(): WireModule {
  return builtIn('kafka', {})
}

/** How the fault proxy reads MQTT, 5 and 3.1.1. */
export function mqttWire(options: MqttWireOptions = {}): WireModule {
  return builtIn('mqtt', options)
}

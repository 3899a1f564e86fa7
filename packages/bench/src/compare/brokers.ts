import { kafka } from '../drivers/kafka/index.ts'
import { mqtt } from '../drivers/mqtt/index.ts'
import { rabbitmq } from '../drivers/rabbitmq/index.ts'
import { redis } from '../drivers/redis/index.ts'
import type { ComparedBroker } from './client.ts'

/** Every real broker that can be named on the command line. */
export const comparedBrokers: readonly ComparedBroker[] = [redis, rabbitmq, kafka, mqtt]

/** The broker of this name. */
export function brokerNamed(name: string): ComparedBroker {
  const found = comparedBrokers.find((broker) => broker.name === name)
  if (found === undefined) throw new Error(`there is no broker "${name}"`)
  return found
}

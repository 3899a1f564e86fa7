// What is asked for by name: brokers, producers, the scope of the message. The typed names are functions, because a constant
// would be narrowed to a bare symbol, and the container would no longer know what it gives.

import type { Broker, Producer, SentBy, Topic } from '@posthorn/core'
import type { ServiceIdentifier } from 'inversify'

/** The broker that is meant where none is named. */
export const defaultBroker = 'default'

/**
 * What a connected broker is injected by: the one of `brokerModule({ name })`. It can be resolved once `start` has connected it.
 *
 * @param name @default the broker of `brokerModule()` without a name
 */
export function brokerOf(name: string = defaultBroker): ServiceIdentifier<Broker> {
  return Symbol.for(`posthorn broker ${name}`)
}

/** What a producer of this topic is injected by, on the broker of this name. `producerModule` binds it. */
export function producerOf<T extends Topic>(topic: T, broker: string = defaultBroker): ServiceIdentifier<Producer<SentBy<T>>> {
  return Symbol.for(`posthorn producer of ${topic.name}${broker === defaultBroker ? '' : ` on ${broker}`}`)
}

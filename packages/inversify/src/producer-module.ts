import type { ProducerOptions, Topic } from '@posthorn/core'
import { check } from '@posthorn/core/adapter'
import { ContainerModule } from 'inversify'
import { brokerOf, defaultBroker, producerOf } from './identifiers.ts'

/** Where the producers of a module send to, and how. */
export interface ProducerModuleOptions extends ProducerOptions {
  /** The name of a broker module. @default the one without a name */
  readonly broker?: string | undefined
}

/**
 * Binds a producer of each topic as `producerOf(topic)`. A producer that another module has bound already is left as it is, so that
 * every part of an application can name what it sends.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 * @example
 * import { topic, unchecked } from '@posthorn/core'
 * import { Container } from 'inversify'
 * import { brokerModule, producerModule, producerOf, start } from '@posthorn/inversify'
 *
 * const orderPlaced = topic('orders.placed', { schema: unchecked<{ orderId: string }>(), groups: ['email'] })
 * const container = new Container()
 * container.load(brokerModule({ target: 'memory:' }), producerModule(orderPlaced))
 * await start(container)
 * await container.get(producerOf(orderPlaced)).send({ orderId: '17' })
 */
export function producerModule(topics: Topic | readonly Topic[], options?: ProducerModuleOptions): ContainerModule {
  const { broker = defaultBroker, ...producing } = options ?? {}
  const problem = check.text(broker)
  if (problem !== undefined) throw check.invalid('cannot make a producer module', `"broker" must be ${problem}`)
  return new ContainerModule(({ bind, isBound }) => {
    for (const topic of [topics].flat()) {
      const id = producerOf(topic, broker)
      if (!isBound(id)) bind(id).toResolvedValue((connected) => connected.producer(topic, producing), [brokerOf(broker)])
    }
  })
}

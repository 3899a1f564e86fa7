// Posthorn in an InversifyJS container, without decorators.

export { type BrokerModuleOptions, brokerModule } from './broker-module.ts'
export { type HandlerModuleOptions, handlerModule, type InjectionsOf, type MessageHandler } from './handler-module.ts'
export { brokerOf, producerOf } from './identifiers.ts'
export { type MessageScope, messageScope } from './message-scope.ts'
export { type ProducerModuleOptions, producerModule } from './producer-module.ts'
export { type CloseOptions, type Running, start, stop } from './start.ts'

export type { Broker, Health, Lag, Status } from './broker.ts'
export type { Codec } from './codec.ts'
export type { ConnectOptions } from './connect.ts'
export { connect } from './connect.ts'
export type {
  BatchHandler,
  BatchOptions,
  ConsumeOptions,
  Consumer,
  Handler,
  Pulled,
  Puller,
  PullOptions,
  ReceiveOptions,
  RetryPolicy,
} from './consumer.ts'
export type { DeadLetter, DeadLetterChoice, DeadLetters } from './dead-letters.ts'
export type { Decision } from './decision.ts'
export { deadLetter, drop, postpone, retry } from './decision.ts'
export type { ErrorCode, MessagingError, Receipt, SendOutcome } from './errors.ts'
export { isMessagingError } from './errors.ts'
export type { Log, LogEntry } from './log.ts'
export type { Message, MessageOf } from './message.ts'
export type { HandleContext, Middleware, SendContext } from './middleware.ts'
export type { Adapters, Native } from './native.ts'
export type { OnceKey, OnceStore } from './once.ts'
export { inMemoryOnce } from './once-store.ts'
export type { Producer, ProducerOptions, SendOptions } from './producer.ts'
export type { StandardSchemaV1 } from './standard-schema.ts'
export type { Target } from './target.ts'
export type { TelemetryMessage } from './telemetry.ts'
export type { SentBy, Topic, TopicOptions, ValueOf } from './topic.ts'
export { topic, unchecked } from './topic.ts'

import type { ConsumeOptions, Decision, MessageOf, Topic } from '@posthorn/core'
import { check } from '@posthorn/core/adapter'
import { type Bind, ContainerModule, type MapToResolvedValueInjectOptions, type ServiceIdentifier } from 'inversify'
import { defaultBroker } from './identifiers.ts'

/** A class (or any object) that handles the messages of these topics: one is made for each message. */
export interface MessageHandler<T extends Topic = Topic, Tx = undefined> {
  /** As a handler of `broker.consume`: returning is done, a throw is retried and then a dead letter; decisions may be returned or thrown. */
  handle(message: MessageOf<T>, tx: Tx): Promise<Decision | void> | Decision | void
}

/** Which group a handler works for, on which broker, and everything that `broker.consume` can be told. */
export interface HandlerModuleOptions<Tx = undefined> extends ConsumeOptions<Tx> {
  /** The name of a broker module. @default the one without a name */
  readonly broker?: string | undefined
}

/** The identifiers of what a class's constructor takes, one for each parameter. */
export type InjectionsOf<C extends new (...parameters: never[]) => unknown> = MapToResolvedValueInjectOptions<ConstructorParameters<C>>

/** One consumer to be. */
export interface HandlerEntry {
  readonly topics: readonly Topic[]
  readonly options: ConsumeOptions<unknown>
  readonly broker: string
  readonly handler: AnyHandler
}

/** All handlers of a container. */
export const handlerEntries: ServiceIdentifier<HandlerEntry> = Symbol.for('posthorn handlers')

/**
 * Binds a handler class to topics and a group. `start` consumes; each message gets an object of its own, whose constructor is given what
 * `inject` names. Without `inject` the handler is an identifier that is bound elsewhere, in the scope that is said there.
 *
 * @throws MessagingError `INVALID_ARGUMENT`; what is wrong with the consume options is said by `start`
 * @example
 * import { type Message, topic, unchecked } from '@posthorn/core'
 * import { Container } from 'inversify'
 * import { brokerModule, handlerModule, start } from '@posthorn/inversify'
 *
 * class Mailer {
 *   send(to: string): void {}
 * }
 * const orderPlaced = topic('orders.placed', { schema: unchecked<{ userId: string }>(), groups: ['email'] })
 * class OrderMail {
 *   readonly #mailer: Mailer
 *   constructor(mailer: Mailer) {
 *     this.#mailer = mailer
 *   }
 *   handle({ value }: Message<{ userId: string }>): void {
 *     this.#mailer.send(value.userId)
 *   }
 * }
 * const container = new Container()
 * container.bind(Mailer).toSelf().inSingletonScope()
 * container.load(brokerModule({ target: 'memory:' }), handlerModule(orderPlaced, { group: 'email' }, OrderMail, [Mailer]))
 * await start(container)
 */
export function handlerModule<
  const T extends Topic,
  C extends new (
    ...parameters: never[]
  ) => MessageHandler<T, Tx>,
  Tx = undefined,
>(topics: T | readonly T[], options: HandlerModuleOptions<Tx>, handler: C, inject: InjectionsOf<C>): ContainerModule
/** The same with a handler that is bound elsewhere. */
export function handlerModule<const T extends Topic, Tx = undefined>(
  topics: T | readonly T[],
  options: HandlerModuleOptions<Tx>,
  handler: ServiceIdentifier<MessageHandler<NoInfer<T>, Tx>>,
): ContainerModule
export function handlerModule(
  topics: Topic<never> | readonly Topic<never>[],
  options: Omit<HandlerModuleOptions, 'once'>,
  handler: unknown,
  inject?: unknown,
): ContainerModule {
  const attempted = 'cannot make a handler module'
  if (check.object(options) !== undefined) throw check.invalid(attempted, 'the options must be an object that names the group, as { group: "email" }')
  const { broker = defaultBroker, ...consuming } = options
  if (check.text(broker) !== undefined) throw check.invalid(attempted, '"broker" must be the name of a broker module')
  if (inject !== undefined && (typeof handler !== 'function' || !Array.isArray(inject)))
    throw check.invalid(attempted, 'with a list of what to inject, the handler must be a class')
  if (!['function', 'symbol', 'string'].includes(typeof handler))
    throw check.invalid(attempted, 'the handler must be a class, or an identifier that is bound elsewhere')
  return new ContainerModule(({ bind }) => {
    const id = inject === undefined ? (handler as AnyHandler) : bindClass(bind, handler as AnyClass, inject as Injections)
    bind(handlerEntries).toConstantValue({ topics: [topics].flat(), options: consuming as ConsumeOptions<unknown>, broker, handler: id })
  })
}

type AnyHandler = ServiceIdentifier<MessageHandler<never, never>>
type AnyClass = new (...parameters: readonly unknown[]) => MessageHandler<never, never>
type Injections = MapToResolvedValueInjectOptions<unknown[]>

// Under a name of its own: the same class may handle several topics, or for several groups.
function bindClass(bind: Bind, handler: AnyClass, inject: Injections): AnyHandler {
  const id: AnyHandler = Symbol(handler.name)
  bind(id)
    .toResolvedValue((...parameters: unknown[]) => new handler(...parameters), inject)
    .inRequestScope()
  return id
}

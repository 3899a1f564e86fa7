import type { Delivery, Received } from './contract.ts'
import type { ForwardOptions, Message } from './message.ts'
import type { Topic, TopicDefinition } from './topic.ts'
import { traceOf } from './trace.ts'

/** Queues one output of a handler; throws INVALID_ARGUMENT where forwarding is not possible. */
export type Forwarder = (message: IncomingMessage, topic: Topic<never>, value: unknown, options: ForwardOptions | undefined) => void

/** One attempt's view of a delivery. Each attempt gets a new one, decoded anew: what a handler changes, the next does not see. */
export class IncomingMessage implements Message {
  readonly topic: string
  readonly value: unknown
  readonly id: string
  readonly group: string
  readonly attempt: number
  readonly #definition: TopicDefinition
  readonly #content: Received
  readonly #delivery: Delivery
  readonly #forwarder: Forwarder
  #headers: Readonly<Record<string, string>> | undefined
  #controller: AbortController | undefined
  #aborted: { readonly reason: unknown } | undefined
  /** Outputs that the handler queued, prepared; sent when it succeeds. */
  outputs: unknown[] | undefined
  /** The handler ended: what it forwards from now on would go nowhere. */
  ended = false

  constructor(
    definition: TopicDefinition,
    group: string,
    id: string,
    value: unknown,
    attempt: number,
    content: Received,
    delivery: Delivery,
    forwarder: Forwarder,
  ) {
    this.topic = definition.name
    this.value = value
    this.id = id
    this.group = group
    this.attempt = attempt
    this.#definition = definition
    this.#content = content
    this.#delivery = delivery
    this.#forwarder = forwarder
  }

  get key(): string | undefined {
    return this.#content.key ?? undefined
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= visibleHeaders(this.#content)
    return this.#headers
  }

  get type(): string {
    const { type } = this.#definition
    return this.#content.attributes['type'] ?? (typeof type === 'string' ? type : this.topic)
  }

  get source(): string | undefined {
    return this.#content.attributes['source']
  }

  get time(): Date | undefined {
    return this.#content.time === null ? undefined : new Date(this.#content.time)
  }

  get position(): string | undefined {
    return this.#content.transport?.['ph-position'] ?? this.#delivery.position() ?? undefined
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason)
    }
    return this.#controller.signal
  }

  /** Tells the handler to give up. */
  abort(reason: unknown): void {
    this.#aborted ??= { reason }
    this.#controller?.abort(reason)
  }

  forward(topic: Topic<never>, value: unknown, options?: ForwardOptions): void {
    this.#forwarder(this, topic, value, options)
  }

  /** What came in, for the engines. */
  content(): Received {
    return this.#content
  }

  toJSON(): object {
    const { topic, id, key, value, attempt, group } = this
    return { topic, id, key, value, attempt, group }
  }
}

function visibleHeaders(content: Received): Readonly<Record<string, string>> {
  const headers: Record<string, string> = Object.create(null)
  if (content.headers !== null) for (const name of Object.keys(content.headers)) headers[name] = content.headers[name] as string
  return Object.freeze(Object.assign(headers, traceOf(content.transport)))
}

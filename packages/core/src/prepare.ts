import { isThenable, show } from './check.ts'
import type { BrokerContext } from './context.ts'
import type { Content, Outgoing, Place } from './contract.ts'
import { issuesText } from './decode.ts'
import { MessagingError, textOf } from './errors.ts'
import { checkHeaders } from './headers.ts'
import type { ForwardOptions } from './message.ts'
import { partitionOf } from './murmur2.ts'
import { mustReadBack, readBack } from './read-back.ts'
import { type CheckedOptions, checkKey, checkSendOptions } from './send-options.ts'
import type { StandardSchemaV1 } from './standard-schema.ts'
import { isUnchecked, type TopicDefinition } from './topic.ts'
import { nextTrace, traceOf } from './trace.ts'

type Texts = Readonly<Record<string, string>>

/** What is the same for all messages of one topic from one broker object. */
export interface SendPlan {
  readonly context: Omit<BrokerContext, 'sender'>
  readonly topic: TopicDefinition
  readonly place: Place
  /** For error texts. */
  readonly attempted: string
  /** CloudEvents attributes by type: one frozen object each, so that adapters encode them once. */
  readonly attributes: Map<string, Texts>
}

/** A message but for its id, its headers and its trace. */
export interface Draft {
  readonly key: string | null
  readonly body: Uint8Array | null
  readonly attributes: Texts
}

// A type that is computed may take any number of values; so many are remembered.
const mostTypes = 1000
const mostTypeLength = 255
const control = /[\u0000-\u001f\u007f]/

/** Makes what the messages of one topic have in common. */
export function planFor(context: Omit<BrokerContext, 'sender'>, topic: TopicDefinition): SendPlan {
  const place: Place = Object.freeze({ topic: topic.name, role: 'main', group: null })
  return { context, topic, place, attempted: `cannot send to "${topic.name}"`, attributes: new Map() }
}

/**
 * Checks the value as it was given, takes key and type from what the schema made of it, and encodes it as it was given.
 * A promise only where the schema or the codec answers with one; whatever is wrong throws (or rejects) for this message only.
 *
 * @throws MessagingError INVALID_MESSAGE, TOO_LARGE
 */
export function draftOf(plan: SendPlan, value: unknown, options: CheckedOptions, id: string | undefined): Draft | Promise<Draft> {
  const { topic } = plan
  if (isUnchecked(topic.schema)) return encoded(plan, value, value, options, id)
  let result: StandardSchemaV1.Result<unknown> | Promise<StandardSchemaV1.Result<unknown>>
  try {
    result = (topic.schema as StandardSchemaV1)['~standard'].validate(value)
  } catch (error) {
    throw invalidMessage(plan, id, `its schema threw: ${textOf(error)}`, { cause: error })
  }
  if (!isThenable(result)) return encoded(plan, checked(plan, result, id), value, options, id)
  // Encoded now: what the caller does to the value while its schema thinks must not travel.
  const early = attempt(() => bodyOf(plan, value, id))
  if ('value' in early && early.value instanceof Promise) early.value.catch(() => undefined)
  return Promise.resolve(result).then(
    (answer) => {
      const validated = checked(plan, answer, id)
      if ('error' in early) throw early.error
      return finished(plan, validated, early.value, options, id)
    },
    (error: unknown) => {
      throw invalidMessage(plan, id, `its schema threw: ${textOf(error)}`, { cause: error })
    },
  )
}

function checked(plan: SendPlan, result: StandardSchemaV1.Result<unknown>, id: string | undefined): unknown {
  if (result.issues === undefined) return result.value
  throw invalidMessage(plan, id, `its schema refuses the value. ${issuesText(result.issues)}`, { issues: result.issues })
}

function encoded(
  plan: SendPlan,
  validated: unknown,
  value: unknown,
  options: CheckedOptions,
  id: string | undefined,
): Draft | Promise<Draft> {
  return finished(plan, validated, bodyOf(plan, value, id), options, id)
}

function finished(
  plan: SendPlan,
  validated: unknown,
  body: Uint8Array | null | Promise<Uint8Array | null>,
  options: CheckedOptions,
  id: string | undefined,
): Draft | Promise<Draft> {
  const key = keyOf(plan, validated, options, id)
  const attributes = attributesOf(plan, validated, id)
  if (body instanceof Promise) return body.then((bytes) => sized(plan, { key, body: bytes, attributes }, id))
  return sized(plan, { key, body, attributes }, id)
}

function bodyOf(plan: SendPlan, value: unknown, id: string | undefined): Uint8Array | null | Promise<Uint8Array | null> {
  if (value === null) return null
  let body: Uint8Array | Promise<Uint8Array>
  try {
    body = plan.topic.codec.encode(value)
  } catch (error) {
    throw unencodable(plan, id, error)
  }
  if (body instanceof Uint8Array) return body
  if (!isThenable(body)) throw unencodable(plan, id, `its codec gave ${show(body)} instead of bytes`)
  return Promise.resolve(body).then(
    (bytes: unknown) => {
      if (bytes instanceof Uint8Array) return bytes
      throw unencodable(plan, id, `its codec gave ${show(bytes)} instead of bytes`)
    },
    (error: unknown) => {
      throw unencodable(plan, id, error)
    },
  )
}

function keyOf(plan: SendPlan, validated: unknown, options: CheckedOptions, id: string | undefined): string | null {
  if (options.key !== undefined) return options.key
  const { key } = plan.topic
  if (key === undefined) return null
  let found: unknown
  try {
    found = key(validated)
  } catch (error) {
    throw invalidMessage(plan, id, `the topic's key cannot be taken from this value: ${textOf(error)}`, { cause: error })
  }
  if (typeof found !== 'string') {
    throw invalidMessage(
      plan,
      id,
      `the topic's key must give a text for every value, not ${show(found)}. let the schema refuse values without a key`,
    )
  }
  checkKey(plan.attempted, found)
  return found
}

function attributesOf(plan: SendPlan, validated: unknown, id: string | undefined): Texts {
  const { type } = plan.topic
  let name: unknown = type
  if (typeof type === 'function') {
    try {
      name = type(validated)
    } catch (error) {
      throw invalidMessage(plan, id, `the topic's type cannot be taken from this value: ${textOf(error)}`, { cause: error })
    }
  }
  const known = typeof name === 'string' ? plan.attributes.get(name) : undefined
  if (known !== undefined) return known
  if (typeof name !== 'string' || name === '' || name.length > mostTypeLength || control.test(name)) {
    throw invalidMessage(plan, id, `the topic's type must give a text of 1 to ${mostTypeLength} characters, not ${show(name)}`)
  }
  const made = Object.freeze({ specversion: '1.0', source: plan.context.name, type: name, datacontenttype: plan.topic.codec.contentType })
  if (plan.attributes.size >= mostTypes) plan.attributes.clear()
  plan.attributes.set(name, made)
  return made
}

function sized(plan: SendPlan, draft: Draft, id: string | undefined): Draft | Promise<Draft> {
  const { body } = draft
  const bytes = body?.length ?? 0
  if (bytes > plan.topic.maxBytes) {
    throw new MessagingError(
      'TOO_LARGE',
      `${plan.attempted}: the body has ${bytes} bytes; the topic allows ${plan.topic.maxBytes} (maxBytes). it was not sent`,
      {
        outcome: 'failed',
        messageId: id,
      },
    )
  }
  if (!mustReadBack(plan.topic, plan.context.readBackAlways === true)) return draft
  const read = readBack(plan, body, id)
  return read === undefined ? draft : read.then(() => draft)
}

/**
 * The whole message. `headers` are checked here: middleware may have added some. A valid trace among them is this hop's and
 * moves to the transport headers; else one is continued from `parent` or begun.
 *
 * @throws MessagingError INVALID_ARGUMENT, TOO_LARGE
 */
export function contentOf(
  plan: SendPlan,
  draft: Draft,
  id: string,
  headers: unknown,
  options: CheckedOptions,
  parent?: Texts | null,
): Content {
  const { context } = plan
  const own = headers === undefined ? null : checkHeaders(plan.attempted, headers)
  const hop = own === null ? null : traceOf(own)
  const transport = hop?.traceparent === undefined ? { ...nextTrace(parent, context.random), ...hop } : hop
  return sizeChecked(plan, {
    id,
    key: draft.key,
    body: draft.body,
    time: context.clock.now(),
    expiresAt: options.expiresAt,
    attributes: draft.attributes,
    headers: own === null ? null : withoutTrace(own),
    transport,
  })
}

/** The same for a message without options, which most are, in the adapter's form at once. */
export function plainOutgoingOf(plan: SendPlan, draft: Draft, id: string, partition: number | null): Outgoing {
  const { context } = plan
  const { body } = draft
  if (body !== null && body.length > context.capabilities.limits.messageBytes) throw tooLarge(plan, id, body.length)
  return {
    id,
    key: draft.key,
    body,
    time: context.clock.now(),
    expiresAt: null,
    attributes: draft.attributes,
    headers: null,
    transport: nextTrace(null, context.random),
    place: plan.place,
    partition,
    delayMs: 0,
    slot: null,
  }
}

function sizeChecked(plan: SendPlan, content: Content): Content {
  const { messageBytes } = plan.context.capabilities.limits
  let bytes = content.body?.length ?? 0
  if (content.headers !== null) for (const name in content.headers) bytes += name.length + Buffer.byteLength(content.headers[name] ?? '')
  if (bytes <= messageBytes) return content
  throw tooLarge(plan, content.id, bytes)
}

function tooLarge(plan: SendPlan, id: string, bytes: number): MessagingError {
  const { adapter, capabilities } = plan.context
  return new MessagingError(
    'TOO_LARGE',
    `${plan.attempted}: it has ${bytes} bytes with its headers; ${adapter.name} takes at most ${capabilities.limits.messageBytes}. it was not sent. send a reference to the data instead`,
    { outcome: 'failed', messageId: id },
  )
}

function withoutTrace(headers: Texts): Texts | null {
  if (headers.traceparent === undefined && headers.tracestate === undefined && headers.baggage === undefined) {
    for (const _ in headers) return headers
    return null
  }
  const rest = Object.create(null) as Record<string, string>
  let any = false
  for (const name of Object.keys(headers)) {
    if (name === 'traceparent' || name === 'tracestate' || name === 'baggage') continue
    rest[name] = headers[name] ?? ''
    any = true
  }
  return any ? Object.freeze(rest) : null
}

/** A message that a handler forwards: everything but its id, which is made when the handler has succeeded. */
export interface Prepared {
  readonly content: Content
  readonly partition: number | null
  readonly due: number
}
/** What a forwarded message continues. */
export interface Parent {
  readonly id: string
  readonly headers: Texts
  readonly correlationId?: string | undefined
}

const plans = new WeakMap<object, WeakMap<TopicDefinition, SendPlan>>()

function rememberedPlan(context: BrokerContext, topic: TopicDefinition): SendPlan {
  const ofContext = plans.get(context) ?? new WeakMap<TopicDefinition, SendPlan>()
  plans.set(context, ofContext)
  const plan = ofContext.get(topic) ?? planFor(context, topic)
  ofContext.set(topic, plan)
  return plan
}

/**
 * Prepares a message for `message.forward`: checked, encoded, its trace continued from `parent`, whose id becomes its
 * `causationid`; declares the topic if nobody did. Throws or rejects where `send` would reject.
 */
export function prepare(
  context: BrokerContext,
  topic: TopicDefinition,
  value: unknown,
  options: ForwardOptions | undefined,
  parent?: Parent,
): Prepared | Promise<Prepared> {
  const made = rememberedPlan(context, topic)
  const given = checkSendOptions(made.attempted, topic, options, 'forward', context.clock.now(), context.capabilities.limits.delayMs)
  const draft = draftOf(made, value, given, undefined)
  const whole = (ready: Draft): Prepared | Promise<Prepared> => {
    const content = contentOf(made, { ...ready, attributes: caused(ready.attributes, parent) }, '', given.headers, given, parent?.headers)
    if (context.catalog.state(topic.name) !== undefined) return routed(content)
    return context.catalog.ensure(topic, made.attempted, { finish: true }).then(() => routed(content))
  }
  const routed = (content: Content): Prepared => {
    const partitions = context.catalog.state(topic.name)?.partitions ?? 1
    return { content, partition: content.key === null ? null : partitionOf(content.key, partitions), due: given.due }
  }
  return draft instanceof Promise ? draft.then(whole) : whole(draft)
}

function caused(attributes: Texts, parent: Parent | undefined): Texts {
  if (parent === undefined) return attributes
  const all: Record<string, string> = { ...attributes, causationid: parent.id }
  if (parent.correlationId !== undefined) all.correlationid = parent.correlationId
  return Object.freeze(all)
}

/** An error about the message itself: nothing of it left. */
export function invalidMessage(
  plan: SendPlan,
  id: string | undefined,
  text: string,
  detail: { readonly issues?: readonly StandardSchemaV1.Issue[] | undefined; readonly cause?: unknown } = {},
): MessagingError {
  return new MessagingError('INVALID_MESSAGE', `${plan.attempted}: ${text}. it was not sent`, {
    ...detail,
    outcome: 'failed',
    messageId: id,
  })
}

function unencodable(plan: SendPlan, id: string | undefined, error: unknown): MessagingError {
  return invalidMessage(plan, id, `the value cannot be encoded as ${plan.topic.codec.contentType}: ${textOf(error)}`, {
    cause: typeof error === 'string' ? undefined : error,
  })
}

function attempt<T>(run: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: run() }
  } catch (error) {
    return { error }
  }
}

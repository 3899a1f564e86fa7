import {
  boolean,
  checkOptions,
  date,
  either,
  fn,
  invalid,
  listOf,
  milliseconds,
  number,
  object,
  oneOf,
  type Rule,
  show,
  signal,
  whole,
} from './check.ts'
import type { BatchOptions, ConsumeOptions, PullOptions, RetryPolicy } from './consumer.ts'
import type { Capabilities, Start } from './contract.ts'
import { MessagingError } from './errors.ts'
import type { Middleware } from './middleware.ts'
import { checkGroupName } from './names.ts'
import type { OnceStore } from './once.ts'
import { definitionOf, type TopicDefinition } from './topic.ts'

/** What a consumer was asked for, checked and with its defaults. */
export interface ReceivePlan {
  readonly mode: 'one' | 'batch' | 'pull'
  /** `cannot consume "orders.placed" as group "email"`, for error texts. */
  readonly attempted: string
  readonly topics: readonly TopicDefinition[]
  readonly group: string
  readonly broadcast: boolean
  readonly start: Start
  readonly startGiven: boolean
  readonly onInvalid: 'dead-letter' | 'drop' | 'stop'
  readonly attempts: number
  readonly firstDelayMs: number
  readonly factor: number
  readonly maxDelayMs: number
  readonly maxUnsettled: number
  readonly maxDeliveries: number | undefined
  readonly signal: AbortSignal | undefined
  readonly native: Readonly<Record<string, unknown>>
  readonly concurrency: number
  readonly handlerTimeoutMs: number | undefined
  readonly middleware: readonly Middleware[]
  readonly unordered: boolean
  readonly settleFirst: boolean
  readonly once: OnceStore<unknown> | undefined
  /** Topics that atomic forwards may go to; undefined: forwards are confirmed before the settlement. */
  readonly atomicTo: ReadonlySet<string> | undefined
  readonly rate: { readonly max: number; readonly perMs: number } | undefined
  readonly max: number
  readonly waitMs: number
  readonly settleWithinMs: number
}

type AllOptions = ConsumeOptions<never> & BatchOptions & PullOptions

const retryRules: { readonly [K in keyof Required<RetryPolicy>]: Rule } = {
  attempts: whole(1, 1_000_000),
  firstDelayMs: milliseconds,
  factor: number(1),
  maxDelayMs: milliseconds,
}
const onceStore: Rule = (v) =>
  object(v) === undefined && typeof (v as { once?: unknown }).once === 'function' ? undefined : 'a store with a method "once"'
const rateLimit: Rule = (v) => {
  const { max, perMs } = (object(v) === undefined ? v : {}) as { max?: unknown; perMs?: unknown }
  return whole(1)(max) === undefined && whole(1)(perMs) === undefined ? undefined : '{ max, perMs } of whole numbers from 1'
}
const atomicForward: Rule = (v) => {
  const { atomic, to } = (object(v) === undefined ? v : {}) as { atomic?: unknown; to?: unknown }
  return atomic === true && Array.isArray(to) && to.length > 0 ? undefined : '{ atomic: true, to: [topics] }'
}
const anything: Rule = () => undefined
const receiveRules = {
  group: anything,
  broadcast: boolean,
  startFrom: either(oneOf('earliest', 'latest'), date),
  onInvalid: oneOf('dead-letter', 'drop', 'stop'),
  retry: either(oneOf(false), object),
  maxUnsettled: whole(1),
  maxDeliveries: whole(1),
  signal,
  native: object,
} as const
const handleRules = { ...receiveRules, concurrency: whole(1, 100_000), handlerTimeoutMs: whole(1), middleware: listOf(fn) } as const
const rulesOf = {
  one: {
    ...handleRules,
    ordering: oneOf('key', 'none'),
    settle: oneOf('after', 'before'),
    once: onceStore,
    forward: atomicForward,
    rate: rateLimit,
  },
  batch: { ...handleRules, max: whole(1, 100_000), waitMs: milliseconds },
  pull: { ...receiveRules, settleWithinMs: whole(1) },
} as const

/**
 * Checks everything that can be checked without the server.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function receivePlan(mode: ReceivePlan['mode'], topics: unknown, options: unknown): ReceivePlan {
  const verb = mode === 'pull' ? 'pull' : 'consume'
  const list = Array.isArray(topics) ? topics : [topics]
  if (list.length === 0) throw invalid(`cannot ${verb}`, 'the list of topics is empty')
  const definitions = list.map((each) => definitionOf(`cannot ${verb}`, each))
  const names = definitions.map((each) => each.name)
  const where = names.map((name) => `"${name}"`).join(', ')
  if (new Set(names).size < names.length) throw invalid(`cannot ${verb} ${where}`, 'a topic is named twice')
  if (typeof options !== 'object' || options === null)
    throw invalid(`cannot ${verb} ${where}`, `the options must be an object with "group", not ${show(options)}`)
  const given = checkOptions<AllOptions>(`cannot ${verb} ${where}`, options as AllOptions, rulesOf[mode] as never)
  checkGroupName(`cannot ${verb} ${where}`, given.group)
  const attempted = `cannot ${verb} ${where} as group "${given.group}"`
  const policy = given.retry === false ? { attempts: 1 } : checkOptions<RetryPolicy>(`${attempted}: "retry"`, given.retry, retryRules)
  const settleFirst = given.settle === 'before'
  const plan: ReceivePlan = {
    mode,
    attempted,
    topics: definitions,
    group: given.group,
    broadcast: given.broadcast ?? false,
    start: given.startFrom instanceof Date ? { at: given.startFrom.getTime() } : (given.startFrom ?? 'earliest'),
    startGiven: given.startFrom !== undefined,
    onInvalid: given.onInvalid ?? 'dead-letter',
    attempts: policy.attempts ?? (settleFirst ? 1 : 5),
    firstDelayMs: policy.firstDelayMs ?? 200,
    factor: policy.factor ?? 2,
    maxDelayMs: policy.maxDelayMs ?? 30_000,
    maxUnsettled: given.maxUnsettled ?? 256,
    maxDeliveries: given.maxDeliveries,
    signal: given.signal,
    native: (given.native ?? {}) as Readonly<Record<string, unknown>>,
    concurrency: given.concurrency ?? 16,
    handlerTimeoutMs: given.handlerTimeoutMs,
    middleware: given.middleware === undefined ? [] : [...given.middleware],
    unordered: given.ordering === 'none',
    settleFirst,
    once: given.once as OnceStore<unknown> | undefined,
    atomicTo:
      given.forward === undefined
        ? undefined
        : new Set(given.forward.to.map((each) => definitionOf(`${attempted}: "forward.to"`, each).name)),
    rate: given.rate === undefined ? undefined : { ...given.rate },
    max: given.max ?? 100,
    waitMs: given.waitMs ?? 50,
    settleWithinMs: given.settleWithinMs ?? 300_000,
  }
  if (given.ordering === 'key') {
    const keyless = definitions.find((each) => each.key === undefined)
    if (keyless !== undefined)
      throw invalid(attempted, `ordering 'key' needs a key, and "${keyless.name}" has none. give the topic a key, or leave "ordering" out`)
  }
  refusePairs(plan)
  return plan
}

function refusePairs(plan: ReceivePlan): void {
  const refuse = (one: string, other: string, why: string): never => {
    throw invalid(plan.attempted, `${one} and ${other} cannot go together: ${why}`)
  }
  if (plan.broadcast) {
    const why = 'a broadcast remembers nothing between connections'
    if (plan.once !== undefined) refuse('broadcast', 'once', why)
    if (plan.startGiven) refuse('broadcast', 'startFrom', why)
    if (plan.settleFirst) refuse('broadcast', `settle: 'before'`, why)
    if (plan.atomicTo !== undefined) refuse('broadcast', 'atomic forward', why)
  }
  if (plan.settleFirst) {
    const why = 'what is settled first is gone when the handler fails'
    if (plan.once !== undefined) refuse(`settle: 'before'`, 'once', why)
    if (plan.attempts > 1) refuse(`settle: 'before'`, `retry.attempts ${plan.attempts}`, why)
    if (plan.atomicTo !== undefined) refuse(`settle: 'before'`, 'forward', why)
  }
  if (plan.atomicTo !== undefined && plan.once !== undefined)
    refuse('atomic forward', 'once', 'the outputs are confirmed inside one transaction or the other')
  if (plan.mode === 'batch' && plan.maxUnsettled < plan.max) {
    throw invalid(
      plan.attempted,
      `"maxUnsettled" ${plan.maxUnsettled} is below "max" ${plan.max}, so a batch could never fill. raise the one or lower the other`,
    )
  }
}

/**
 * Refuses what the connected server cannot give, before anything is made there.
 *
 * @throws MessagingError `UNSUPPORTED` naming the capability and what to do, `INVALID_ARGUMENT` above a limit
 */
export function refuseUnsupported(plan: ReceivePlan, capabilities: Capabilities, adapter: string): void {
  const unsupported = (demand: string, capability: string, remedy: string): never => {
    throw new MessagingError(
      'UNSUPPORTED',
      `${plan.attempted}: ${demand} needs the capability "${capability}", which ${adapter} does not have here. ${remedy}`,
      {
        outcome: 'none',
      },
    )
  }
  if (plan.maxDeliveries !== undefined && capabilities.attempts === 'none') unsupported('"maxDeliveries"', 'attempts', 'leave it out')
  if (typeof plan.start === 'object' && capabilities.replay === 'none')
    unsupported('"startFrom" with a Date', 'replay', `use 'earliest' or 'latest'`)
  if (plan.atomicTo !== undefined && capabilities.forward === 'none') {
    unsupported('"forward: { atomic: true }"', 'forward', 'leave it out: outputs are then confirmed before the message is settled')
  }
  const { limits } = capabilities
  if (plan.maxUnsettled > limits.unsettled)
    throw invalid(
      plan.attempted,
      `"maxUnsettled" ${plan.maxUnsettled} is above the limit of ${limits.unsettled} (limits.unsettled) of ${adapter}`,
    )
  if (limits.holdMs !== null && plan.handlerTimeoutMs !== undefined && plan.handlerTimeoutMs > limits.holdMs) {
    throw invalid(
      plan.attempted,
      `"handlerTimeoutMs" ${plan.handlerTimeoutMs} is above the ${limits.holdMs} ms (limits.holdMs) that ${adapter} lets a message be held`,
    )
  }
}

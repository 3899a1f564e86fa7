import { type Attempt, createAttempt } from './attempt.ts'
import { createBatchAttempt } from './batch-attempt.ts'
import { busyHandlers } from './busy-handlers.ts'
import { fn, invalid, show } from './check.ts'
import { type Conclusions, createConclusions } from './conclude.ts'
import type { BatchHandler, Handler, Puller } from './consumer.ts'
import { type ConsumerHandle, type ConsumerHost, createConsumer } from './consumer-handle.ts'
import type { Consumption, Dispatch } from './consumption.ts'
import type { BrokerContext } from './context.ts'
import { dispatchBatches, dispatchSingly } from './dispatch.ts'
import { MessagingError } from './errors.ts'
import { finishedMemory } from './finished.ts'
import { joinTopic, type Membership } from './membership.ts'
import type { Message } from './message.ts'
import { nearest } from './nearest.ts'
import { dispatchPulls, type PullDispatch } from './pull.ts'
import { type ReceivePlan, receivePlan, refuseUnsupported } from './receive-plan.ts'
import { timeLimits } from './time-limits.ts'
import type { TopicDefinition } from './topic.ts'

const startWithinMs = 30_000
const drainMs = 10_000

/** Starts a consumer that calls `handler` for each message. Resolves when subscribed, rejects if refused. */
export async function startConsumer(
  context: BrokerContext,
  host: ConsumerHost,
  topics: unknown,
  options: unknown,
  handler: unknown,
): Promise<ConsumerHandle> {
  const plan = receivePlan('one', topics, options)
  if (fn(handler) !== undefined) throw invalid(plan.attempted, `the handler must be a function, not ${show(handler)}`)
  const counts = { running: 0, handled: 0, failed: 0, deadLettered: 0 }
  const dispatch = dispatchSingly(
    context.clock,
    plan,
    counts,
    (): Attempt => createAttempt(parts.consumption, parts.conclusions, handler as Handler<Message, never>),
  )
  const parts = assemble(context, host, plan, counts, dispatch)
  return start(context, host, parts)
}

/** Starts a consumer that calls `handler` with batches. */
export async function startBatchConsumer(
  context: BrokerContext,
  host: ConsumerHost,
  topics: unknown,
  options: unknown,
  handler: unknown,
): Promise<ConsumerHandle> {
  const plan = receivePlan('batch', topics, options)
  if (fn(handler) !== undefined) throw invalid(plan.attempted, `the handler must be a function, not ${show(handler)}`)
  const counts = { running: 0, handled: 0, failed: 0, deadLettered: 0 }
  let run: ReturnType<typeof createBatchAttempt> | undefined
  const dispatch = dispatchBatches(context.clock, plan, counts, (batch, freed) => {
    run ??= createBatchAttempt(parts.consumption, parts.conclusions, handler as BatchHandler<Message>)
    run(batch, freed)
  })
  const parts = assemble(context, host, plan, counts, dispatch)
  return start(context, host, parts)
}

/** Starts a consumer whose messages are asked for. */
export async function startPuller(
  context: BrokerContext,
  host: ConsumerHost,
  topics: unknown,
  options: unknown,
): Promise<ConsumerHandle & { readonly consumer: Puller<Message> }> {
  const plan = receivePlan('pull', topics, options)
  const counts = { running: 0, handled: 0, failed: 0, deadLettered: 0 }
  const dispatch: PullDispatch = dispatchPulls(
    () => parts.consumption,
    () => parts.conclusions,
  )
  const parts = assemble(context, host, plan, counts, dispatch)
  const handle = await start(context, host, parts)
  return Object.assign(handle, { consumer: Object.assign(handle.consumer, { receive: dispatch.receive }) })
}

interface Parts {
  readonly plan: ReceivePlan
  readonly consumption: Consumption
  readonly conclusions: Conclusions
  readonly handle: ConsumerHandle
  readonly memberships: Membership[]
}

function assemble(context: BrokerContext, host: ConsumerHost, plan: ReceivePlan, counts: Consumption['counts'], dispatch: Dispatch): Parts {
  const memberships: Membership[] = []
  const limits = timeLimits(context.clock)
  const handle = createConsumer({ context, host, plan, counts, dispatch, limits, memberships })
  const consumption: Consumption = {
    context,
    plan,
    finished: finishedMemory(context.clock),
    busy: busyHandlers(),
    counts,
    dispatch,
    limits,
    fail: handle.fail,
  }
  return { plan, consumption, conclusions: createConclusions(consumption), handle, memberships }
}

async function start(context: BrokerContext, host: ConsumerHost, parts: Parts): Promise<ConsumerHandle> {
  const { plan, handle, consumption, conclusions, memberships } = parts
  const { clock } = context
  const deadline = clock.monotonic() + startWithinMs
  const given = new AbortController()
  const stop = (): void => given.abort()
  plan.signal?.addEventListener('abort', stop, { once: true })
  context.closing.addEventListener('abort', stop, { once: true })
  if (plan.signal?.aborted === true || context.closing.aborted) stop()
  const releases: (() => void)[] = []
  try {
    if (given.signal.aborted) throw stopped(context, plan)
    refuseUnsupported(plan, context.capabilities, context.adapter.name)
    for (const topic of plan.topics) await declareGroup(context, plan, topic, deadline, given.signal)
    for (const topic of plan.topics) {
      memberships.push(await joinTopic(consumption, conclusions, topic, { drainMs, deadline, signal: given.signal }))
      if (context.capabilities.delay === 'none' && !plan.broadcast) releases.push(host.forward(topic))
      if (handle.failure !== null) throw handle.failure
    }
    if (given.signal.aborted) throw stopped(context, plan)
  } catch (error) {
    for (const release of releases) release()
    await handle.abandon()
    throw given.signal.aborted ? stopped(context, plan) : context.wrap(error, plan.attempted)
  } finally {
    plan.signal?.removeEventListener('abort', stop)
    context.closing.removeEventListener('abort', stop)
  }
  handle.started(releases)
  warnOfWindow(context, plan)
  return handle
}

/** What a redelivery takes beside the waits between attempts: a death noticed, a hand-over, a restart; in milliseconds. */
const takeoverAllowance = 60_000

function warnOfWindow({ telemetry }: BrokerContext, plan: ReceivePlan): void {
  const windowMs = plan.once?.windowMs
  if (windowMs === undefined) return
  let horizon = takeoverAllowance
  for (let failures = 1; failures < Math.min(plan.attempts, 1000); failures++)
    horizon += Math.min(plan.maxDelayMs, plan.firstDelayMs * plan.factor ** (failures - 1))
  if (windowMs >= horizon) return
  telemetry.emit('notice', {
    topic: plan.topics[0]?.name,
    group: plan.group,
    reason: 'once-window',
    delayMs: windowMs,
    note:
      `the "once" store of group "${plan.group}" recognises repeats for ${windowMs} ms, but a message may come again ` +
      `${Math.round(horizon)} ms later with these retries. give it a longer window`,
  })
}

function stopped(context: BrokerContext, plan: ReceivePlan): MessagingError {
  return context.closing.aborted
    ? new MessagingError('CLOSED', `${plan.attempted}: the broker is closed`)
    : new MessagingError('CANCELLED', `${plan.attempted}: the start was given up by its signal`)
}

async function declareGroup(
  context: BrokerContext,
  plan: ReceivePlan,
  topic: TopicDefinition,
  deadline: number,
  signal: AbortSignal,
): Promise<void> {
  const { catalog, telemetry } = context
  if (plan.broadcast) {
    await catalog.ensure(topic, plan.attempted, { signal, deadline })
    return
  }
  if (topic.groups.length > 0 && !catalog.knows(topic, plan.group)) {
    const meant = nearest(plan.group, topic.groups)
    throw invalid(
      `cannot consume "${topic.name}" as group "${plan.group}"`,
      `the topic names the groups ${topic.groups.join(', ')}.${meant === undefined ? '' : ` did you mean "${meant}"?`} a new group is declared in the topic, or with broker.declare(topic, { groups: ['${plan.group}'] })`,
    )
  }
  const state = await catalog.ensure(topic, plan.attempted, { groups: [{ name: plan.group, start: plan.start }], signal, deadline })
  if (!state.created.includes(plan.group)) {
    if (plan.startGiven) {
      telemetry.emit('notice', {
        topic: topic.name,
        group: plan.group,
        reason: 'start-too-late',
        note: `group "${plan.group}" of "${topic.name}" exists already, so "startFrom" changes nothing: it goes on from its position`,
      })
    }
    return
  }
  if (context.capabilities.retention !== 'log' || plan.start === 'latest') return
  const { backlog } = await context.session.inspect(topic.name, plan.group, signal)
  if (backlog !== null && backlog > 0) {
    telemetry.emit('notice', {
      topic: topic.name,
      group: plan.group,
      reason: 'backlog',
      count: backlog,
      note: `the new group "${plan.group}" of "${topic.name}" starts with ${backlog} stored messages. startFrom: 'latest' would skip them`,
    })
  }
}

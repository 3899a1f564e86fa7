import { boolean, checkOptions, milliseconds, whole } from './check.ts'
import type { BrokerContext, SendRequest } from './context.ts'
import type { Content, Outgoing } from './contract.ts'
import { MessagingError, type Receipt } from './errors.ts'
import { createIntake, type Waiting } from './intake.ts'
import { runMiddleware } from './middleware-chain.ts'
import { partitionOf } from './murmur2.ts'
import { contentOf, type Draft, draftOf, plainOutgoingOf, planFor } from './prepare.ts'
import type { Producer, ProducerOptions } from './producer.ts'
import { createRoutable, nowhere } from './routable.ts'
import { sendBatch } from './send-batch.ts'
import { type CheckedOptions, checkSendOptions, noOptions } from './send-options.ts'
import { createTally, type TallySpan } from './tally.ts'
import type { TopicDefinition } from './topic.ts'

export { type Parent, type Prepared, prepare } from './prepare.ts'

interface ProducerRequest extends SendRequest {
  readonly span: TallySpan
}

/** What `sendBatch` asks of its producer: one send within a deadline, and word when there is room for more. */
export interface SingleSends {
  readonly attempted: string
  readonly clock: BrokerContext['clock']
  readonly timeoutMs: number
  readonly full: boolean
  one(value: unknown, options: unknown, deadline: number, signal: AbortSignal | undefined): Promise<Receipt>
  /** Runs it each time one ended, until it answers false. The first to wait is served first. */
  whenRoom(feed: () => boolean): void
}

/**
 * Makes the producer of one topic.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for a bad option
 */
export function createProducer(context: BrokerContext, topic: TopicDefinition, options: ProducerOptions): Producer<unknown> {
  const given = checkOptions<ProducerOptions>(`cannot make a producer of "${topic.name}"`, options, {
    retryUnknown: boolean,
    timeoutMs: (value) => milliseconds(value) ?? whole(1)(value),
    maxBuffered: whole(1),
  })
  const { retryUnknown = true, timeoutMs = 30_000, maxBuffered = 10_000 } = given
  const { catalog, clock, sender, middleware, telemetry } = context
  const { delayMs: longestDelayMs } = context.capabilities.limits
  const plan = planFor(context, topic)
  const { attempted, place } = plan
  const routable = createRoutable(plan, timeoutMs)
  const tally = createTally()
  const feeds: (() => boolean)[] = []
  let feeding = false
  const intake = createIntake({ clock, attempted, enlist: (feeder) => sender.enlist(feeder), ended })
  const direct = middleware.length === 0
  const native = context.capabilities.headers === 'native'

  function send(value: unknown, sendOptions?: unknown): Promise<Receipt> {
    if (context.closing.aborted) return Promise.reject(closedError(attempted))
    if (tally.open >= maxBuffered) return Promise.reject(fullError(attempted, maxBuffered))
    return one(value, sendOptions, 'send', clock.monotonic() + timeoutMs, undefined)
  }

  // In one go where nothing is asynchronous and nothing waits before it; else through the intake, which keeps the order.
  function one(
    value: unknown,
    raw: unknown,
    set: 'send' | 'batch',
    deadline: number,
    batchSignal: AbortSignal | undefined,
  ): Promise<Receipt> {
    let checked: CheckedOptions
    let id: string
    let draft: Draft | Promise<Draft>
    try {
      checked = raw === undefined ? noOptions : checkSendOptions(attempted, topic, raw, set, clock.now(), longestDelayMs)
      id = checked.id ?? context.newId()
      draft = draftOf(plan, value, checked, id)
      const signal = joined(checked.signal, batchSignal)
      if (direct && routable.now && intake.empty && !(draft instanceof Promise)) {
        if (checked === noOptions && native) {
          const { key } = draft
          const partition = key === null ? null : partitionOf(key, catalog.state(topic.name)?.partitions ?? 1)
          const out = plainOutgoingOf(plan, draft, id, partition)
          return sender.send(requestOf(out, out, 0, deadline, signal, tally.begin()))
        }
        const content = contentOf(plan, draft, id, checked.headers, checked)
        return sender.send(requestOf(content, undefined, checked.due, deadline, signal, tally.begin()))
      }
      return later(value, id, draft, checked, deadline, signal)
    } catch (error) {
      return Promise.reject(context.wrap(error, attempted, { outcome: 'failed' }))
    }
  }

  function requestOf(
    content: Content,
    outgoing: Outgoing | undefined,
    due: number,
    deadline: number,
    signal: AbortSignal | undefined,
    span: TallySpan,
  ): ProducerRequest {
    const partition = outgoing === undefined ? null : outgoing.partition
    return {
      place,
      partition,
      content,
      outgoing,
      due,
      slot: null,
      deadline,
      retryUnknown,
      signal,
      allowed: undefined,
      attempted,
      copy: false,
      onEnd,
      span,
    }
  }

  function later(
    value: unknown,
    id: string,
    draft: Draft | Promise<Draft>,
    checked: CheckedOptions,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        request: { deadline },
        id,
        span: tally.begin(),
        signal,
        resolve,
        reject,
        leave: null,
        giveUp: null,
        stage: 'preparing',
        over: false,
        offAbort: null,
      }
      intake.enter(waiting)
      carry(waiting, value, draft, checked).then(
        (receipt) => intake.end(waiting, { receipt }),
        (error: unknown) =>
          intake.end(waiting, {
            error: context.wrap(error, attempted, waiting.stage === 'preparing' ? { outcome: 'failed', messageId: id } : { messageId: id }),
          }),
      )
    })
  }

  async function carry(waiting: Waiting, value: unknown, drafting: Draft | Promise<Draft>, checked: CheckedOptions): Promise<Receipt> {
    const { id } = waiting
    const draft = drafting instanceof Promise ? await drafting : drafting
    const handOver = async (headers: unknown): Promise<Receipt> => {
      const content = contentOf(plan, draft, id, headers, checked)
      if (!routable.now && (await routable.check(waiting.request.deadline)) === 'nowhere') return unrouted(id, undefined)
      return new Promise<Receipt>((resolve, reject) => {
        intake.ready(
          waiting,
          () => {
            sender
              .send(requestOf(content, undefined, checked.due, waiting.request.deadline, waiting.signal, waiting.span))
              .then(resolve, reject)
          },
          reject,
        )
      })
    }
    if (direct) return handOver(checked.headers)
    return runMiddleware(
      middleware,
      { attempted, topic: topic.name, id, key: draft.key ?? undefined, value, headers: checked.headers },
      handOver,
      () => intake.finishing(waiting),
    )
  }

  // The server would drop it: rejected with what to do, or, where the topic says so, let go and counted.
  function unrouted(id: string, cause: unknown): Receipt {
    if (topic.unrouted === 'reject') throw nowhere(plan, id, cause)
    if (telemetry.wants('dropped'))
      telemetry.emit('dropped', { topic: topic.name, id, reason: 'unrouted', note: `"${topic.name}" has no group` })
    return { id, position: null }
  }

  function onEnd(request: SendRequest, error: MessagingError | undefined): Receipt | MessagingError | undefined {
    ended((request as ProducerRequest).span)
    if (error === undefined || error.code !== 'NOT_FOUND') return undefined
    routable.forget()
    if (context.capabilities.retention !== 'queue' || error.outcome !== 'failed') return undefined
    try {
      return unrouted(request.content.id, error.cause)
    } catch (refused) {
      return refused as MessagingError
    }
  }

  function ended(span: TallySpan): void {
    tally.end(span)
    if (feeding) return
    feeding = true
    while (feeds.length > 0 && tally.open < maxBuffered) if (feeds[0]?.() === false) feeds.shift()
    feeding = false
  }

  const singles: SingleSends = {
    attempted,
    clock,
    timeoutMs,
    get full() {
      return tally.open >= maxBuffered || feeds.length > 0
    },
    one: (value, raw, deadline, signal) => one(value, raw, 'batch', deadline, signal),
    whenRoom: (feed) => feeds.push(feed),
  }

  return Object.freeze({
    send,
    sendBatch(messages: unknown, batchOptions?: unknown): Promise<readonly Receipt[]> {
      if (context.closing.aborted) return Promise.reject(closedError(attempted))
      return sendBatch(singles, messages, batchOptions)
    },
    flush: () => tally.flush(),
  })
}

function joined(one: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined {
  return one === undefined || other === undefined ? (one ?? other) : AbortSignal.any([one, other])
}

function closedError(attempted: string): MessagingError {
  return new MessagingError('CLOSED', `${attempted}: the broker is closed. it was not stored`, { retryable: false, outcome: 'failed' })
}

function fullError(attempted: string, maxBuffered: number): MessagingError {
  return new MessagingError(
    'UNAVAILABLE',
    `${attempted}: ${maxBuffered} messages wait for their outcome already (maxBuffered). it was not stored. await the sends, use sendBatch, or raise maxBuffered`,
    { retryable: true, outcome: 'failed' },
  )
}

import { aroundHandler } from './around-handler.ts'
import { isThenable } from './check.ts'
import type { Conclusions } from './conclude.ts'
import type { Handler } from './consumer.ts'
import type { Consumption } from './consumption.ts'
import { type Decided, decided } from './decision.ts'
import { decodeValue } from './decode.ts'
import type { Entry } from './entry.ts'
import { isMessagingError } from './errors.ts'
import { IncomingMessage } from './incoming-message.ts'
import type { Message } from './message.ts'
import type { HandleContext } from './middleware.ts'
import { createOutputs } from './outputs.ts'

/** After its time a handler has this long to react to its signal, in milliseconds. */
const graceMs = 5_000

/** Runs one attempt of one entry; `freed` is called once its handler no longer counts as running. */
export type Attempt = (entry: Entry, freed: () => void) => void

export function createAttempt(consumption: Consumption, conclusions: Conclusions, handler: Handler<Message, never>): Attempt {
  const { context, plan } = consumption
  const { clock, telemetry } = context
  const outputs = createOutputs(consumption)
  const { once, handlerTimeoutMs } = plan
  const call = plan.middleware.length + context.middleware.length === 0 ? handler : around

  return (entry, freed) => {
    const { runner } = entry
    runner.started(entry)
    let value: unknown
    try {
      if (isExpired(entry)) {
        freed()
        return conclusions.expired(entry)
      }
      value = decodeValue(runner.topic, entry.content as NonNullable<Entry['content']>)
    } catch (error) {
      return unreadable(entry, freed, error)
    }
    if (!isThenable(value)) return invoke(entry, freed, value)
    Promise.resolve(value).then(
      (ready) => {
        // Validation took its time: what held before it may not hold any more.
        if (!stillOurs(entry)) return abandoned(entry, freed)
        invoke(entry, freed, ready)
      },
      (error) => unreadable(entry, freed, error),
    )
  }

  function isExpired(entry: Entry): boolean {
    const expiresAt = entry.content?.expiresAt ?? null
    return expiresAt !== null && clock.now() >= expiresAt
  }

  function stillOurs(entry: Entry): boolean {
    return entry.state === 'running' && entry.runner.alive() && !entry.runner.leaving
  }

  function abandoned(entry: Entry, freed: () => void): void {
    freed()
    if (entry.state === 'gone') consumption.busy.ended(entry, false)
    else entry.runner.makeReady(entry)
  }

  function unreadable(entry: Entry, freed: () => void, error: unknown): void {
    freed()
    if (entry.state === 'gone') return consumption.busy.ended(entry, false)
    if (isMessagingError(error, 'UNDECODABLE')) conclusions.refused(entry, { reason: 'undecodable', error: error.message })
    else if (isMessagingError(error, 'INVALID_MESSAGE')) conclusions.refused(entry, { reason: 'invalid', error: error.message })
    // A schema or codec that breaks is user code that failed, not a bad message.
    else conclusions.failed(entry, error)
  }

  function invoke(entry: Entry, freed: () => void, value: unknown): void {
    const { runner } = entry
    const content = entry.content as NonNullable<Entry['content']>
    const message = new IncomingMessage(
      runner.topic,
      plan.group,
      entry.id,
      value,
      entry.failures + 1,
      content,
      entry.delivery,
      outputs.queue,
    )
    entry.message = message
    if (telemetry.wants('start')) {
      telemetry.emit('start', {
        topic: runner.topic.name,
        group: plan.group,
        partition: runner.assignment.partition,
        id: entry.id,
        key: content.key ?? undefined,
        attempt: entry.failures + 1,
      })
    }
    let result: unknown
    try {
      result = once === undefined ? call(message, undefined as never) : runOnce(entry, message)
      // Of foreign thenables a promise is made: their own may throw, or call back twice.
      if (isThenable(result)) result = Promise.resolve(result)
    } catch (error) {
      return ended(entry, message, freed, undefined, error, true)
    }
    if (!(result instanceof Promise)) return ended(entry, message, freed, result, undefined, false)
    if (handlerTimeoutMs !== undefined) return limited(entry, message, freed, result, handlerTimeoutMs)
    result.then(
      (returned) => ended(entry, message, freed, returned, undefined, false),
      (error) => ended(entry, message, freed, undefined, error, true),
    )
  }

  // The handler's time: the signal first, then grace, then a failed attempt whose late result is ignored.
  function limited(entry: Entry, message: IncomingMessage, freed: () => void, result: Promise<unknown>, limitMs: number): void {
    let open = true
    let cancel = consumption.limits.start(limitMs, () => {
      message.abort(new Error(`the handler ran longer than handlerTimeoutMs (${limitMs} ms)`))
      cancel = consumption.limits.start(graceMs, () => {
        open = false
        const over = new Error(`the handler ran longer than ${limitMs} ms (handlerTimeoutMs), and ${graceMs} ms of grace`)
        telemetry.emit('timed-out', {
          topic: entry.runner.topic.name,
          group: plan.group,
          id: entry.id,
          attempt: entry.failures + 1,
          note: over.message,
        })
        entry.overdue = Promise.resolve(result).then(
          () => undefined,
          () => undefined,
        )
        ended(entry, message, freed, undefined, over, true)
      })
    })
    const finish = (returned: unknown, error: unknown, threw: boolean): void => {
      cancel()
      if (open) ended(entry, message, freed, returned, error, threw)
    }
    result.then(
      (returned) => finish(returned, undefined, false),
      (error) => finish(undefined, error, true),
    )
  }

  function ended(entry: Entry, message: IncomingMessage, freed: () => void, returned: unknown, error: unknown, threw: boolean): void {
    message.ended = true
    const decision = threw ? decided(error) : returned === repeat ? undefined : decided(returned)
    const succeeded = !threw && decision === undefined
    if (entry.state === 'gone') {
      // Taken away meanwhile. If all was done, a copy that comes back here is only to be settled.
      const complete = succeeded && message.outputs === undefined
      if (complete) consumption.finished.add(entry.identity)
      freed()
      if (entry.overdue === null || entry.lane === null) consumption.busy.ended(entry, complete)
      else void entry.overdue.then(() => consumption.busy.ended(entry, false))
      return
    }
    entry.state = 'concluding'
    if (decision !== undefined) conclusions.decided(entry, decision)
    else if (threw) conclusions.failed(entry, error)
    else if (returned === repeat) conclusions.repeated(entry)
    else if (message.outputs === undefined || once !== undefined) conclusions.done(entry)
    else outputs.conclude(entry, message, conclusions)
    freed()
  }

  async function runOnce(entry: Entry, message: IncomingMessage): Promise<unknown> {
    let decision: Decided | undefined
    const key = { group: plan.group, topic: entry.runner.topic.name, source: message.source, id: entry.id }
    try {
      const verdict = await (once as NonNullable<typeof once>).once(key, async (tx) => {
        let returned: unknown
        // A store that runs its transaction again begins anew: what a run before queued went back with it.
        message.outputs = undefined
        try {
          returned = await call(message, tx as never)
        } catch (error) {
          decision = decided(error)
          throw error
        }
        decision = decided(returned)
        // Only what is done, or let go for good, leaves a record: everything else has to be able to run again.
        if (decision !== undefined && decision['~decision'] !== 'drop')
          throw new Error('the handler decided otherwise: nothing is recorded')
        if (decision === undefined && message.outputs !== undefined) await outputs.send(entry, message)
      })
      return verdict === 'repeat' ? repeat : decision
    } catch (error) {
      if (decision !== undefined) return decision
      throw error
    }
  }

  // All middleware, the broker's first, around the handler; a decision that was thrown is a decision.
  async function around(message: Message, tx: never): Promise<Decided | undefined> {
    const chain = [...context.middleware, ...plan.middleware]
    const handling: HandleContext = { kind: 'handle', topic: message.topic, group: plan.group, messages: [message], decision: undefined }
    await aroundHandler(chain, handling, async () => {
      try {
        handling.decision = decided(await handler(message, tx))
      } catch (error) {
        const decision = decided(error)
        if (decision === undefined) throw error
        handling.decision = decision
      }
    })
    return handling.decision === undefined ? undefined : decided(handling.decision)
  }
}

const repeat: unique symbol = Symbol('repeat')

import { aroundHandler } from './around-handler.ts'
import type { Conclusions } from './conclude.ts'
import type { BatchHandler } from './consumer.ts'
import type { Consumption } from './consumption.ts'
import { type Decided, type Decision, decided } from './decision.ts'
import { decodeValue } from './decode.ts'
import type { Entry } from './entry.ts'
import { isMessagingError } from './errors.ts'
import { IncomingMessage } from './incoming-message.ts'
import type { Message } from './message.ts'
import type { HandleContext } from './middleware.ts'
import { createOutputs } from './outputs.ts'

const graceMs = 5_000

/** Runs a batch through its handler: one decision per message; a throw counts one attempt for all, and each comes again alone. */
export function createBatchAttempt(
  consumption: Consumption,
  conclusions: Conclusions,
  handler: BatchHandler<Message>,
): (batch: readonly Entry[], freed: () => void) => void {
  const { context, plan } = consumption
  const { clock, telemetry } = context
  const outputs = createOutputs(consumption)

  return (batch, freed) => {
    for (const entry of batch) entry.runner.started(entry)
    void run(batch).then(freed, freed)
  }

  async function run(batch: readonly Entry[]): Promise<void> {
    const read = await Promise.all(batch.map(readOne))
    const ready = read.filter((each) => each !== null)
    if (ready.length === 0) return
    const messages = ready.map(({ entry, value }) => {
      const content = entry.content as NonNullable<Entry['content']>
      const message = new IncomingMessage(
        entry.runner.topic,
        plan.group,
        entry.id,
        value,
        entry.failures + 1,
        content,
        entry.delivery,
        outputs.queue,
      )
      entry.message = message
      telemetry.emit('start', {
        topic: message.topic,
        group: plan.group,
        partition: entry.runner.assignment.partition,
        id: entry.id,
        key: message.key,
        attempt: message.attempt,
      })
      return message
    })
    const entries = ready.map((each) => each.entry)
    try {
      const decisions = await limited(handle(messages), entries, messages)
      entries.forEach((entry, index) => {
        const message = messages[index] as IncomingMessage
        message.ended = true
        const decision = decided(decisions?.[index])
        if (gone(entry, decision === undefined && message.outputs === undefined)) return
        entry.state = 'concluding'
        if (decision !== undefined) conclusions.decided(entry, decision)
        else if (message.outputs === undefined) conclusions.done(entry)
        else outputs.conclude(entry, message, conclusions)
      })
    } catch (error) {
      const decision = decided(error)
      entries.forEach((entry, index) => {
        ;(messages[index] as IncomingMessage).ended = true
        if (gone(entry, false)) return
        entry.state = 'concluding'
        entry.alone = true
        if (decision !== undefined) conclusions.decided(entry, decision)
        else conclusions.failed(entry, error)
      })
    }
  }

  async function readOne(entry: Entry): Promise<{ readonly entry: Entry; readonly value: unknown } | null> {
    try {
      const expiresAt = entry.content?.expiresAt ?? null
      if (expiresAt !== null && clock.now() >= expiresAt) {
        conclusions.expired(entry)
        return null
      }
      const value = await decodeValue(entry.runner.topic, entry.content as NonNullable<Entry['content']>)
      if (entry.state !== 'gone' && entry.runner.alive() && !entry.runner.leaving) return { entry, value }
      if (!gone(entry, false)) entry.runner.makeReady(entry)
    } catch (error) {
      if (gone(entry, false)) return null
      if (isMessagingError(error, 'UNDECODABLE')) conclusions.refused(entry, { reason: 'undecodable', error: error.message })
      else if (isMessagingError(error, 'INVALID_MESSAGE')) conclusions.refused(entry, { reason: 'invalid', error: error.message })
      else conclusions.failed(entry, error)
    }
    return null
  }

  function gone(entry: Entry, finished: boolean): boolean {
    if (entry.state !== 'gone') return false
    if (finished) consumption.finished.add(entry.identity)
    if (entry.overdue === null || entry.lane === null) consumption.busy.ended(entry, finished)
    else void entry.overdue.then(() => consumption.busy.ended(entry, false))
    return true
  }

  async function handle(messages: readonly Message[]): Promise<readonly (Decision | void)[] | void> {
    let decisions: readonly (Decision | void)[] | undefined
    const chain = [...context.middleware, ...plan.middleware]
    const call = async (): Promise<void> => {
      const returned: unknown = await handler(messages)
      if (returned === undefined) return
      if (!Array.isArray(returned) || returned.length !== messages.length) {
        throw new TypeError(`a batch handler returns nothing, or one decision per message: ${messages.length} were given`)
      }
      decisions = returned
    }
    if (chain.length === 0) await call()
    else {
      const handling: HandleContext = {
        kind: 'handle',
        topic: (messages[0] as Message).topic,
        group: plan.group,
        messages,
        decision: undefined,
      }
      await aroundHandler(chain, handling, call)
      // A decision that middleware made is for the whole batch.
      if (handling.decision !== undefined) decisions = messages.map(() => handling.decision as Decided)
    }
    return decisions
  }

  function limited<T>(work: Promise<T>, entries: readonly Entry[], messages: readonly IncomingMessage[]): Promise<T> {
    const limitMs = plan.handlerTimeoutMs
    if (limitMs === undefined) return work
    return new Promise<T>((resolve, reject) => {
      let cancel = consumption.limits.start(limitMs, () => {
        for (const message of messages) message.abort(new Error(`the handler ran longer than handlerTimeoutMs (${limitMs} ms)`))
        cancel = consumption.limits.start(graceMs, () => {
          const overdue = work.then(
            () => undefined,
            () => undefined,
          )
          for (const entry of entries) entry.overdue = overdue
          reject(new Error(`the batch handler ran longer than ${limitMs} ms (handlerTimeoutMs), and ${graceMs} ms of grace`))
        })
      })
      work.then(
        (value) => {
          cancel()
          resolve(value)
        },
        (error) => {
          cancel()
          reject(error)
        },
      )
    })
  }
}

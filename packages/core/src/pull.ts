import { checkOptions, invalid, milliseconds, signal as signalRule, whole } from './check.ts'
import type { Conclusions } from './conclude.ts'
import type { Pulled, PullResult } from './consumer.ts'
import type { Consumption, Dispatch, ReadyQueue } from './consumption.ts'
import { type Decision, decided } from './decision.ts'
import { decodeValue } from './decode.ts'
import type { Entry } from './entry.ts'
import { isMessagingError, MessagingError } from './errors.ts'
import { IncomingMessage } from './incoming-message.ts'
import type { Message } from './message.ts'
import { createOutputs } from './outputs.ts'

export interface ReceiveCall {
  readonly max?: number | undefined
  readonly waitMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}
/** Hands entries out when they are asked for. */
export interface PullDispatch extends Dispatch {
  receive(options?: ReceiveCall): Promise<readonly Pulled<Message>[]>
}

export function dispatchPulls(consumption: () => Consumption, conclusions: () => Conclusions): PullDispatch {
  interface Waiting {
    readonly max: number
    readonly answer: () => void
  }
  const queues: ReadyQueue[] = []
  const callers: Waiting[] = []
  let paused = false
  let stopped = false

  const ready = (): number => {
    if (paused || stopped) return 0
    let count = 0
    for (const queue of queues) count += queue.ready()
    return count
  }

  function kick(): void {
    if (stopped) {
      for (const caller of callers.splice(0)) caller.answer()
      return
    }
    const first = callers[0]
    if (first !== undefined && ready() >= first.max) first.answer()
  }

  function take(max: number): Entry[] {
    const entries: Entry[] = []
    if (paused || stopped) return entries
    while (entries.length < max && queues.length > 0) {
      const queue = queues[0] as ReadyQueue
      if (queue.ready() === 0) queues.shift()
      else entries.push(queue.take())
    }
    return entries
  }

  function closedError(): MessagingError {
    return new MessagingError('CLOSED', `${consumption().plan.attempted}: this puller is closed`)
  }

  async function receive(options?: ReceiveCall): Promise<readonly Pulled<Message>[]> {
    const { plan, context } = consumption()
    const given = checkOptions<ReceiveCall>(`${plan.attempted}: receive()`, options, {
      max: whole(1, 100_000),
      waitMs: milliseconds,
      signal: signalRule,
    })
    const max = Math.min(given.max ?? 1, plan.maxUnsettled)
    if (stopped) throw closedError()
    if (given.signal?.aborted) throw cancelled(plan.attempted)
    const deadline = context.clock.monotonic() + (given.waitMs ?? 5_000)
    for (;;) {
      if (ready() < max && context.clock.monotonic() < deadline) await waitFor(max, deadline, given.signal)
      if (stopped) throw closedError()
      if (given.signal?.aborted) throw cancelled(plan.attempted)
      const messages = (await Promise.all(take(max).map((entry) => handOut(entry)))).filter((each) => each !== null)
      if (messages.length > 0 || context.clock.monotonic() >= deadline) return messages
    }
  }

  function waitFor(max: number, deadline: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = consumption().context
    return new Promise((resolve) => {
      const caller: Waiting = {
        max,
        answer() {
          const at = callers.indexOf(caller)
          if (at >= 0) callers.splice(at, 1)
          cancel()
          signal?.removeEventListener('abort', caller.answer)
          resolve()
        },
      }
      const cancel = clock.timer(Math.max(0, deadline - clock.monotonic()), caller.answer)
      signal?.addEventListener('abort', caller.answer, { once: true })
      callers.push(caller)
    })
  }

  // Nobody was handed it: whoever waits for its end in a newer assignment goes on.
  function lost(entry: Entry): boolean {
    if (entry.state !== 'gone') return false
    consumption().busy.ended(entry, false)
    return true
  }

  async function handOut(entry: Entry): Promise<Pulled<Message> | null> {
    const { context, plan, counts } = consumption()
    const { clock, telemetry } = context
    entry.runner.started(entry)
    let value: unknown
    try {
      const expiresAt = entry.content?.expiresAt ?? null
      if (expiresAt !== null && clock.now() >= expiresAt) {
        conclusions().expired(entry)
        return null
      }
      value = await decodeValue(entry.runner.topic, entry.content as NonNullable<Entry['content']>)
    } catch (error) {
      if (lost(entry)) return null
      if (isMessagingError(error, 'UNDECODABLE')) conclusions().refused(entry, { reason: 'undecodable', error: error.message })
      else if (isMessagingError(error, 'INVALID_MESSAGE')) conclusions().refused(entry, { reason: 'invalid', error: error.message })
      else conclusions().failed(entry, error)
      return null
    }
    if (lost(entry)) return null
    // Decoding took its time: what held before it may not hold any more.
    if (entry.runner.leaving || !entry.runner.alive()) {
      entry.runner.makeReady(entry)
      return null
    }
    const outputs = createOutputs(consumption())
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
    counts.running++
    telemetry.emit('start', {
      topic: message.topic,
      group: plan.group,
      partition: entry.runner.assignment.partition,
      id: entry.id,
      key: message.key,
      attempt: message.attempt,
    })
    let open = true
    // Only the first answer counts; one that comes after the message was taken away settles nothing.
    const close = (finished: boolean): boolean => {
      if (!open) return false
      open = false
      counts.running--
      message.ended = true
      cancel()
      if (entry.state !== 'gone') return true
      if (finished) consumption().finished.add(entry.identity)
      consumption().busy.ended(entry, finished)
      return false
    }
    const cancel = consumption().limits.start(plan.settleWithinMs, () => {
      if (!close(false)) return
      message.abort(new Error('it was not settled in time'))
      entry.state = 'concluding'
      telemetry.emit('timed-out', { topic: message.topic, group: plan.group, id: entry.id, attempt: message.attempt })
      conclusions().failed(entry, new Error(`not settled within ${plan.settleWithinMs} ms (settleWithinMs)`))
    })
    // Its outputs come first. If they fail the attempt did, and the message is handed out again.
    const settleWithOutputs = (): Promise<PullResult> =>
      new Promise((resolve) => {
        const answer = entry.runner.answerOf(entry)
        const all = conclusions()
        outputs.conclude(entry, message, {
          ...all,
          done(finished) {
            all.done(finished)
            void answer.then(resolve)
          },
          failed(tried, error) {
            all.failed(tried, error)
            resolve('unknown')
          },
        })
        void entry.runner.ended.then(() => resolve('unknown'))
      })
    const settleWith = async (decision: Decision | undefined): Promise<PullResult> => {
      if (!close(decision === undefined && message.outputs === undefined)) return 'stale'
      entry.state = 'concluding'
      const made = decided(decision)
      if (made === undefined && message.outputs !== undefined) return settleWithOutputs()
      const answer = entry.runner.answerOf(entry)
      if (made === undefined) conclusions().done(entry)
      else conclusions().decided(entry, made)
      // A failed attempt is recorded here; its settlement comes after the next ones.
      if (made !== undefined && made['~decision'] !== 'drop' && made['~decision'] !== 'dead-letter') return 'done'
      return answer
    }
    return Object.assign(message, {
      done: () => settleWith(undefined),
      settle: (decision: Decision) => {
        if (decided(decision) === undefined) {
          return Promise.reject(invalid(`${plan.attempted}: settle()`, 'a decision is needed: retry(), postpone(), deadLetter() or drop()'))
        }
        return settleWith(decision)
      },
    })
  }

  return {
    receive,
    kick,
    offer(queue) {
      if (!queues.includes(queue)) queues.push(queue)
      kick()
    },
    pause() {
      paused = true
    },
    resume() {
      paused = false
      kick()
    },
    stop() {
      stopped = true
      kick()
    },
    get paused() {
      return paused
    },
  }
}

function cancelled(attempted: string): MessagingError {
  return new MessagingError('CANCELLED', `${attempted}: the signal of this receive() was aborted`)
}

import { backoff } from './backoff.ts'
import type { Consumption } from './consumption.ts'
import type { Content } from './contract.ts'
import { slotOf, toDeadLetter } from './dead-letter-entry.ts'
import type { Decided } from './decision.ts'
import type { Entry } from './entry.ts'
import { isMessagingError, MessagingError, textOf } from './errors.ts'
import type { Refusal } from './examine.ts'

/** Waits longer than this do not stay in memory where the message may be parked. */
const longWaitMs = 30_000
const sendWithinMs = 30_000

/** What follows when a handler ended: every path leads to a settlement, another attempt, or leaves the message unsettled. */
export interface Conclusions {
  done(entry: Entry): void
  /** The handler failed, or said `retry`. */
  failed(entry: Entry, error: unknown, decision?: Decided): void
  decided(entry: Entry, decision: Decided): void
  /** It was parked for as long as the server holds a message, which was not long enough: it waits on, and counts no attempt. */
  early(entry: Entry, ms: number, then: () => void): void
  /** It cannot be handled at all: by `onInvalid`, at once. */
  refused(entry: Entry, refusal: Refusal): void
  expired(entry: Entry): void
  /** It was handled before: `once` said so. */
  repeated(entry: Entry): void
}

export function createConclusions(consumption: Consumption): Conclusions {
  const { context, plan, counts } = consumption
  const { clock, telemetry, random, sender } = context

  const about = (entry: Entry): { topic: string; group: string; partition: number | null; id: string; attempt: number } => ({
    topic: entry.runner.topic.name,
    group: plan.group,
    partition: entry.runner.assignment.partition,
    id: entry.id,
    attempt: entry.failures + 1,
  })

  function done(entry: Entry): void {
    counts.handled++
    if (telemetry.wants('done')) telemetry.emit('done', about(entry))
    entry.runner.finish(entry)
  }

  function drop(entry: Entry, reason: string, note: string): void {
    telemetry.emit('dropped', { ...about(entry), reason, note })
    entry.runner.finish(entry)
  }

  function countFailure(entry: Entry, error: unknown): void {
    const now = clock.now()
    if (entry.failures === 0) entry.firstFailedAt = now
    entry.lastFailedAt = now
    entry.lastError = textOf(error)
    const attempt = entry.failures + 1
    entry.failures++
    counts.failed++
    telemetry.emit('failed', {
      ...about(entry),
      attempt,
      reason: 'failed',
      note: entry.lastError,
      error: isMessagingError(error) ? error : undefined,
    })
  }

  function failed(entry: Entry, error: unknown, decision?: Decided): void {
    const afterMs = decision?.['~decision'] === 'retry' ? decision.afterMs : undefined
    countFailure(entry, error)
    if (plan.settleFirst) return drop(entry, 'failed', 'its handler failed, and it was settled before')
    if (entry.failures >= plan.attempts) {
      const reason = decision?.['~decision'] === 'retry' && decision.reason !== undefined ? decision.reason : 'failed'
      return deadLetter(entry, reason, entry.lastError)
    }
    again(entry, afterMs ?? backoff(plan, entry.failures, random))
  }

  // Another attempt after `ms`: in memory without a slot; where order does not matter, long or many waits are parked at the server.
  function again(entry: Entry, ms: number): void {
    const { runner } = entry
    if (telemetry.wants('waiting')) telemetry.emit('waiting', { ...about(entry), delayMs: ms })
    const parkable = runner.topic.key === undefined || plan.unordered
    const crowded = runner.waiting * 2 >= plan.maxUnsettled
    if (parkable && !plan.broadcast && !plan.settleFirst && (ms > longWaitMs || crowded)) park(entry, ms, () => restart(entry))
    else runner.waitFor(entry, ms, () => restart(entry))
  }

  function restart(entry: Entry): void {
    const { overdue } = entry
    // On a keyed topic the old handler has to end first; without a key the next attempt may run beside it.
    if (overdue === null || entry.lane === null) return entry.runner.makeReady(entry)
    entry.state = 'concluding'
    void overdue.then(() => {
      entry.overdue = null
      if (entry.state !== 'gone') entry.runner.makeReady(entry)
    })
  }

  // `instead` goes on in memory, after the same wait, if it cannot be parked.
  function park(entry: Entry, ms: number, instead: () => void): void {
    entry.state = 'concluding'
    const content = entry.content as Content
    const dueAt = clock.now() + ms
    // Lanes hold as long as is asked for. A server that delays by itself does not: then the rest is waited for when it comes.
    const { delay, limits } = context.capabilities
    const due = delay === 'none' ? dueAt : Math.min(dueAt, clock.now() + limits.delayMs)
    const transport: Record<string, string> = { ...content.transport, 'ph-attempt': String(entry.failures + 1), 'ph-copy': context.newId() }
    if (entry.firstFailedAt > 0) transport['ph-first'] = String(entry.firstFailedAt)
    const position = entry.delivery.position()
    if (position !== null && transport['ph-position'] === undefined) transport['ph-position'] = position
    delete transport['ph-due']
    delete transport['ph-hop']
    if (due < dueAt) transport['ph-due'] = String(Math.ceil(dueAt))
    const since = clock.monotonic()
    sender
      .send({
        place: { topic: entry.runner.topic.name, role: 'retry', group: plan.group },
        partition: null,
        content: { ...content, id: entry.id, transport },
        due,
        slot: null,
        deadline: since + sendWithinMs,
        retryUnknown: true,
        copy: true,
        allowed: () => entry.runner.alive(),
        attempted: `cannot park a message of "${entry.runner.topic.name}" for its next attempt`,
      })
      .then(
        () => {
          telemetry.emit('parked', { ...about(entry), delayMs: ms })
          entry.runner.finish(entry)
        },
        (error) => {
          // Not stored, or not known to be: it waits in memory instead, and a second copy has the same id.
          telemetry.emit('send-failed', { ...about(entry), error: context.wrap(error, 'cannot park a message'), note: textOf(error) })
          if (entry.state !== 'gone') entry.runner.waitFor(entry, Math.max(0, ms - (clock.monotonic() - since)), instead)
        },
      )
  }

  function deadLetter(entry: Entry, reason: string, error: string | undefined, tries = 0, withoutBody = false): void {
    entry.state = 'concluding'
    const { runner } = entry
    const now = clock.now()
    const undecodable = entry.delivery.content
    const source = 'undecodable' in undecodable ? undecodable : (entry.content ?? undecodable)
    const content = toDeadLetter(source, {
      id: entry.id,
      reason,
      attempts: Math.max(entry.failures, reason === 'failed' ? 1 : entry.failures),
      error,
      firstFailedAt: entry.firstFailedAt || now,
      lastFailedAt: entry.lastFailedAt || now,
      topic: runner.topic.name,
      group: plan.group,
      position: entry.content?.transport?.['ph-position'] ?? entry.delivery.position(),
      withoutBody,
    })
    sender
      .send({
        place: { topic: runner.topic.name, role: 'dead', group: plan.group },
        partition: 0,
        content,
        due: 0,
        slot: slotOf(content.attributes.source, entry.id),
        deadline: clock.monotonic() + sendWithinMs,
        retryUnknown: true,
        copy: true,
        allowed: () => runner.alive(),
        attempted: `cannot write a dead letter of "${runner.topic.name}" for group "${plan.group}"`,
      })
      .then(
        () => {
          counts.deadLettered++
          telemetry.emit('dead-lettered', { ...about(entry), attempt: entry.failures, reason, note: error })
          runner.finish(entry)
        },
        (problem) => {
          if (entry.state === 'gone') return
          const failure = context.wrap(problem, `cannot write a dead letter of "${runner.topic.name}" for group "${plan.group}"`)
          // Without a position nobody could find it again: then it stays where it is, unsettled.
          if (failure.code === 'TOO_LARGE' && !withoutBody && content.transport?.['ph-position'] !== undefined) {
            const why = `${error === undefined ? '' : `${error}. `}its body is too large for a copy; it lies at its position as long as the server keeps it`
            return deadLetter(entry, reason, why, tries, true)
          }
          telemetry.emit('dead-letter-failed', {
            ...about(entry),
            reason,
            error: failure,
            note: `${failure.message}. the message stays unsettled; the next try follows`,
          })
          if (plan.settleFirst) return drop(entry, reason, 'it was settled before, and its dead letter could not be written')
          const ms = backoff({ firstDelayMs: 500, factor: 2, maxDelayMs: 30_000 }, tries + 1, () => 0.5 + random() / 2)
          runner.waitFor(entry, ms, () => deadLetter(entry, reason, error, tries + 1))
        },
      )
  }

  return {
    done,
    failed,
    decided(entry, decision) {
      const kind = decision['~decision']
      if (kind === 'retry') failed(entry, decision.reason ?? 'the handler decided to retry', decision)
      else if (kind === 'drop') drop(entry, decision.reason, 'its handler let it go')
      else if (kind === 'dead-letter') {
        countFailure(entry, decision.reason)
        deadLetter(entry, decision.reason, undefined)
      } else {
        telemetry.emit('postponed', { ...about(entry), delayMs: decision.afterMs })
        if (plan.settleFirst) drop(entry, 'postponed', 'it was settled before, so it cannot come again')
        else again(entry, decision.afterMs)
      }
    },
    early(entry, ms, then) {
      if (ms > longWaitMs) park(entry, ms, then)
      else entry.runner.waitFor(entry, ms, then)
    },
    refused(entry, refusal) {
      telemetry.emit('invalid', { ...about(entry), reason: refusal.reason, note: refusal.error })
      if (refusal.reason === 'crash-loop' || refusal.reason === 'no-id' || plan.onInvalid === 'dead-letter')
        deadLetter(entry, refusal.reason, refusal.error)
      else if (plan.onInvalid === 'drop') drop(entry, refusal.reason, refusal.error)
      else {
        entry.runner.leave(entry)
        consumption.fail(stopError(consumption, entry, refusal))
      }
    },
    expired(entry) {
      telemetry.emit('expired', { ...about(entry), reason: 'expired' })
      entry.runner.finish(entry)
    },
    repeated(entry) {
      telemetry.emit('repeat', about(entry))
      entry.runner.finish(entry)
    },
  }
}

function stopError(consumption: Consumption, entry: Entry, refusal: Refusal): MessagingError {
  return new MessagingError(
    refusal.reason === 'undecodable' ? 'UNDECODABLE' : 'INVALID_MESSAGE',
    `${consumption.plan.attempted} any longer: message ${entry.id} is ${refusal.reason} (${refusal.error}). it stays unsettled, and the consumer stops because onInvalid is 'stop'`,
  )
}

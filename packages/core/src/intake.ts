import type { Feeder } from './context.ts'
import type { Clock } from './contract.ts'
import { createSweep } from './deadline-sweep.ts'
import { MessagingError, type Receipt } from './errors.ts'
import { onAbort } from './on-abort.ts'
import type { TallySpan } from './tally.ts'

/** A send that cannot be handed to the engine at once: something about it is asynchronous, or others before it are. */
export interface Waiting {
  readonly request: { readonly deadline: number }
  readonly id: string
  readonly span: TallySpan
  readonly signal: AbortSignal | undefined
  readonly resolve: (receipt: Receipt) => void
  readonly reject: (error: unknown) => void
  /** What hands it over, once it is complete. */
  leave: (() => void) | null
  /** Told of an end that comes before it could leave, so that what runs around it goes on. */
  giveUp: ((error: unknown) => void) | null
  /** While it is `sending` the engine looks after its end; `finishing`: the engine is done, what runs around it is not. */
  stage: 'preparing' | 'sending' | 'finishing'
  over: boolean
  /** Takes it off its signal. */
  offAbort: (() => void) | null
}

/** Keeps sends in the order of their calls while they are being prepared, each within its own deadline and signal. */
export interface Intake {
  readonly empty: boolean
  /** Takes its place behind those before it. */
  enter(waiting: Waiting): void
  /** It is complete: it leaves when everything before it has left or ended. */
  ready(waiting: Waiting, leave: () => void, giveUp: (error: unknown) => void): void
  /** The engine has its outcome; what runs around it has until the deadline. */
  finishing(waiting: Waiting): void
  /** It ends, with an outcome. Once: what comes later is ignored. */
  end(waiting: Waiting, outcome: { readonly receipt: Receipt } | { readonly error: unknown }): void
}

export interface IntakeSetup {
  readonly clock: Clock
  readonly attempted: string
  enlist(feeder: Feeder): () => void
  /** The engine counts what was handed to it; this is for what was not. */
  ended(span: TallySpan): void
}

export function createIntake(setup: IntakeSetup): Intake {
  const { clock, attempted } = setup
  const all = new Set<Waiting>()
  // The order of the calls. A Set, so that one leaves from the middle without a search.
  const queue = new Set<Waiting>()
  let delist: (() => void) | null = null
  let idle: (() => void)[] = []

  const sweep = createSweep<Waiting>(clock, { count: () => all.size, entries: () => [...all] }, (waiting) => {
    if (waiting.stage === 'sending') return
    const text =
      waiting.stage === 'preparing' ? 'its time was up before it could leave' : 'its time was up while a middleware was still running'
    end(waiting, { error: failure(waiting, 'TIMED_OUT', text, true) })
  })
  const feeder: Feeder = {
    // Until the last has ended, what runs around it included: who asked again at once for ever would let nothing go on.
    flush: () => (all.size === 0 ? Promise.resolve() : new Promise((resolve) => void idle.push(resolve))),
    end() {
      for (const waiting of [...all]) end(waiting, { error: failure(waiting, 'CLOSED', 'the broker was closed first', false) })
    },
  }

  function failure(waiting: Waiting, code: 'TIMED_OUT' | 'CLOSED' | 'CANCELLED', text: string, retryable: boolean): MessagingError {
    const left = waiting.stage !== 'preparing'
    const outcome = left ? 'unknown' : 'failed'
    const next = left ? 'it may be stored' : 'it was not stored'
    return new MessagingError(code, `${attempted}: ${text}. ${next}`, { retryable, outcome, messageId: waiting.id })
  }

  function end(waiting: Waiting, outcome: { readonly receipt: Receipt } | { readonly error: unknown }): void {
    if (waiting.over) return
    waiting.over = true
    waiting.leave = null
    if ('error' in outcome) waiting.giveUp?.(outcome.error)
    all.delete(waiting)
    queue.delete(waiting)
    waiting.offAbort?.()
    if (waiting.stage === 'preparing') setup.ended(waiting.span)
    if ('receipt' in outcome) waiting.resolve(outcome.receipt)
    else waiting.reject(outcome.error)
    drain()
    if (all.size === 0) {
      sweep.stop()
      delist?.()
      delist = null
      for (const wake of idle) wake()
      idle = []
    }
  }

  function drain(): void {
    for (const waiting of queue) {
      const { leave } = waiting
      if (leave === null) return
      queue.delete(waiting)
      waiting.leave = null
      waiting.giveUp = null
      waiting.stage = 'sending'
      leave()
    }
  }

  return {
    get empty() {
      return queue.size === 0
    },
    enter(waiting) {
      all.add(waiting)
      queue.add(waiting)
      delist ??= setup.enlist(feeder)
      sweep.watch(waiting.request.deadline)
      const { signal } = waiting
      if (signal === undefined) return
      const giveUp = (): void => {
        if (waiting.stage !== 'sending') end(waiting, { error: failure(waiting, 'CANCELLED', 'its signal was aborted', false) })
      }
      if (signal.aborted) giveUp()
      else waiting.offAbort = onAbort(signal, giveUp)
    },
    ready(waiting, leave, giveUp) {
      if (waiting.over) return giveUp(failure(waiting, 'CANCELLED', 'it ended before it could leave', false))
      waiting.leave = leave
      waiting.giveUp = giveUp
      drain()
    },
    finishing(waiting) {
      if (waiting.over) return
      waiting.stage = 'finishing'
      sweep.watch(waiting.request.deadline)
    },
    end,
  }
}

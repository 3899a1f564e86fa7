import { activeEntries } from './active-entries.ts'
import type { PullResult } from './consumer.ts'
import type { AssignmentRunner, Consumption } from './consumption.ts'
import type { Assignment, Delivery, SettleResult } from './contract.ts'
import { createEntry, type Entry } from './entry.ts'
import { type Examined, examine, type Refusal } from './examine.ts'
import { keyTurns } from './key-turns.ts'
import { watchProof } from './proof-watch.ts'
import { readyList } from './ready-list.ts'
import { createRepeats } from './repeats.ts'
import { passLane, workLane } from './retry-lane.ts'
import { settleFirst } from './settle-first.ts'
import { createSettlement } from './settlement.ts'
import type { TopicDefinition } from './topic.ts'
import { within } from './within.ts'

export interface RunnerHooks {
  readonly topic: TopicDefinition
  readonly drainMs: number
  /** What could not be read goes here instead of to a handler. */
  refuse(entry: Entry, refusal: Refusal): void
  /** It came before its time: it is parked again, or waits so long here before `then`. */
  early(entry: Entry, ms: number, then: () => void): void
}

interface Admitted extends Pick<Examined, 'refusal' | 'dueAt'> {
  readonly entry: Entry
}

const settlesInFlight = 10_000

/** Begins to work on an assignment. */
export function runAssignment(consumption: Consumption, assignment: Assignment, hooks: RunnerHooks): AssignmentRunner {
  const { context, plan, dispatch, finished, busy } = consumption
  const { clock, telemetry } = context
  const { topic } = hooks
  const window = plan.settleFirst ? Math.min(plan.maxUnsettled, plan.concurrency) : plan.maxUnsettled
  const queue = readyList<Entry>()
  const active = activeEntries()
  const answers = new Map<Entry, (result: PullResult) => void>()
  let held = 0
  let looked = 0
  let waiting = 0
  let over = false
  let leaving = false
  let releasing = false
  let wakeRead: (() => void) | null = null
  let quiet: (() => void) | null = null
  let handing: Promise<void> | null = null
  let handOverUntil = Number.POSITIVE_INFINITY
  let end: () => void = () => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  const about = { topic: topic.name, group: plan.group, partition: assignment.partition }
  const repeats = createRepeats(consumption, about)
  const { finishedBefore } = repeats
  const turns = keyTurns({ clock, busy, over: () => over, finishedBefore, settleAgain, ready: enqueue, released: makeReady })

  const settlement = createSettlement({
    clock,
    assignment,
    mode: context.capabilities.settlement,
    atomic: plan.atomicTo !== undefined,
    answered,
    sent: () => wake(),
  })

  function answered(entries: readonly Entry[], result: SettleResult): void {
    held -= entries.length
    for (const entry of answers.size > 0 ? entries : []) {
      answers.get(entry)?.(result === 'settled' ? 'done' : result)
      answers.delete(entry)
    }
    if (result === 'settled') {
      if (finished.size > 0) for (const entry of entries) finished.delete(entry.identity)
      if (telemetry.wants('settled')) telemetry.emit('settled', { ...about, count: entries.length, ids: entries.map((each) => each.id) })
    } else if (!plan.settleFirst) repeats.unsettled(entries, result)
    turns.answered(entries, result)
    wake()
  }

  function alive(): boolean {
    return !over && !assignment.lost.aborted && clock.monotonic() < assignment.aliveUntil
  }

  const proof = watchProof(clock, {
    alive,
    stalled: () =>
      telemetry.emit('stalled', { ...about, note: 'the last proof of ownership is too old: nothing starts until there is a new one' }),
    resumed: () => dispatch.offer(runner),
  })

  const ahead = plan.settleFirst
    ? settleFirst<Admitted>({
        settlement,
        telemetry,
        about,
        over: () => over,
        admit,
        place(all) {
          held += all.length
          for (const each of all) place(each)
        },
      })
    : null

  function wake(): void {
    const resume = wakeRead
    wakeRead = null
    resume?.()
  }

  const room = (): number => (settlement.inFlight > settlesInFlight ? 0 : window - (held - settlement.inFlight))

  const lane = {
    pass: (entry: Entry) => passLane(context, topic, plan.group, runner, entry),
    finishedBefore,
    settleAgain,
    offer,
  }

  async function readLoop(): Promise<void> {
    while (!over && !leaving) {
      const max = room()
      if (max <= 0 || dispatch.paused) {
        await new Promise<void>((resolve) => {
          wakeRead = resolve
        })
        continue
      }
      const deliveries = await assignment.read(max)
      // What comes after the end is not ours; what comes while leaving stays unsettled and is released.
      if (deliveries.length === 0 || over || leaving) return
      if (assignment.role === 'retry' && context.capabilities.delay === 'none') await workLane(runner, admitted(deliveries), lane)
      else if (ahead !== null) await ahead.take(deliveries)
      else for (const delivery of deliveries) place(admit(delivery))
      if (queue.size > 0) dispatch.offer(runner)
    }
  }

  function* admitted(deliveries: readonly Delivery[]): Iterable<Admitted> {
    for (const delivery of deliveries) yield admit(delivery)
  }

  function offer(admitted: Admitted): void {
    active.delete(admitted.entry)
    place(admitted)
    if (queue.size > 0) dispatch.offer(runner)
  }

  function admit(delivery: Delivery): Admitted {
    const seen = examine(context, topic, plan, delivery)
    const entry = createEntry(runner, delivery, seen.content, seen.id, seen.lane)
    entry.failures = seen.failures
    entry.firstFailedAt = seen.firstFailedAt
    settlement.admit(entry)
    held++
    return { entry, refusal: seen.refusal, dueAt: seen.dueAt }
  }

  function place(each: Admitted): void {
    const { entry, refusal } = each
    if (finishedBefore(entry)) return settleAgain(entry)
    if (refusal !== null) {
      active.add(entry)
      ahead?.started(entry)
      entry.state = 'concluding'
      return hooks.refuse(entry, refusal)
    }
    const dueInMs = Math.ceil(each.dueAt - clock.now())
    if (dueInMs <= 0) return turns.enter(entry)
    active.add(entry)
    hooks.early(entry, dueInMs, () => offer(each))
  }

  // It finished here before, and only its settlement did not arrive: run nothing, settle the copy.
  function settleAgain(entry: Entry): void {
    entry.state = 'finished'
    ahead?.started(entry)
    telemetry.emit('finished-again', { ...about, id: entry.id })
    if (plan.settleFirst) held--
    else settlement.finish(entry)
  }

  function enqueue(entry: Entry): void {
    entry.state = 'ready'
    queue.push(entry)
  }

  function makeReady(entry: Entry): void {
    if (over) return
    if (finishedBefore(entry)) return passOver(entry)
    if (leaving) return inactive(entry)
    active.delete(entry)
    enqueue(entry)
    dispatch.offer(runner)
  }

  function passOver(entry: Entry): void {
    settleAgain(entry)
    turns.open(entry)
    inactive(entry)
  }

  // A copy may have finished elsewhere in this process while this one waited for a free slot.
  function look(): void {
    looked = finished.added
    for (const entry of queue.sift((each) => !finishedBefore(each))) passOver(entry)
  }

  function inactive(entry: Entry): void {
    active.delete(entry)
    if (active.size === 0) quiet?.()
  }

  // Ends everything at once: tokens are worthless, results of handlers that still run are ignored.
  function stop(reason: string): void {
    if (over) return
    over = true
    for (const entry of active) abandon(entry, reason)
    active.clear()
    const left = settlement.stop()
    ahead?.stop()
    if (!plan.settleFirst) repeats.unsettled(left.unanswered, 'unknown')
    repeats.behind(left.behind)
    proof.stop()
    for (const resolve of answers.values()) resolve('unknown')
    answers.clear()
    turns.clear()
    queue.clear()
    held = 0
    waiting = 0
    quiet?.()
    wake()
    end()
  }

  function abandon(entry: Entry, reason: string): void {
    entry.cancelTimer?.()
    entry.cancelTimer = null
    if (entry.state === 'running') busy.add(entry)
    busy.outlived(entry)
    entry.state = 'gone'
    entry.message?.abort(new Error(reason))
  }

  async function handOverNow(): Promise<void> {
    leaving = true
    for (const entry of [...active]) {
      if (entry.state !== 'waiting') continue
      entry.cancelTimer?.()
      entry.cancelTimer = null
      busy.outlived(entry)
      inactive(entry)
    }
    wake()
    // A close may have less time than the hand-over that it finds running: then the wait begins again with the new deadline.
    for (let until = handOverUntil + 1; active.size > 0 && !over && handOverUntil < until; ) {
      until = handOverUntil
      await before(
        until,
        new Promise<void>((resolve) => {
          quiet = resolve
        }),
      )
    }
    quiet = null
    const deadline = handOverUntil
    if (!over && active.size > 0) {
      const ids = [...active].map((each) => each.id)
      telemetry.emit('abandoned', {
        ...about,
        ids,
        count: ids.length,
        note: 'still running at the deadline: left unsettled, to be delivered again',
      })
      for (const entry of active) abandon(entry, 'the time to finish is over')
      active.clear()
    }
    if (!over) await before(Math.max(deadline, clock.monotonic() + 250), settlement.flush())
    if (!over) {
      // The adapter ends the assignment with its release: that is no loss.
      releasing = true
      await before(Math.max(deadline, clock.monotonic() + 400), assignment.release())
      telemetry.emit('released', about)
      stop('the assignment was handed over')
    }
  }

  const before = (deadline: number, work: Promise<void>): Promise<boolean> => within(clock, deadline, Promise.race([work, ended]))

  const runner: AssignmentRunner = {
    topic,
    assignment,
    ended,
    alive,
    wake,
    makeReady,
    get over() {
      return over
    },
    get leaving() {
      return leaving
    },
    get unsettled() {
      return held
    },
    get waiting() {
      return waiting
    },
    ready() {
      if (over || leaving || queue.size === 0) return 0
      if (!alive()) {
        proof.stalled()
        return 0
      }
      if (finished.added !== looked) look()
      return queue.size
    },
    take: () => queue.take(),
    started(entry) {
      ahead?.started(entry)
      entry.state = 'running'
      active.add(entry)
    },
    waitFor(entry, ms, run) {
      if (over) return
      if (leaving) return inactive(entry)
      entry.state = 'waiting'
      active.add(entry)
      waiting++
      const cancel = clock.timer(ms, () => {
        waiting--
        entry.cancelTimer = null
        if (!over && !leaving) run()
      })
      entry.cancelTimer = () => {
        waiting--
        cancel()
      }
    },
    finish(entry) {
      if (over || entry.state === 'gone') {
        if (entry.outputs === null) finished.add(entry.identity)
        return
      }
      entry.state = 'finished'
      entry.message = null
      busy.outlived(entry)
      if (plan.settleFirst) {
        held--
        wake()
      } else settlement.finish(entry)
      // Where each is settled by itself, an answer that fails would have this one run again after those behind it.
      if (entry.outputs !== null && context.capabilities.settlement === 'each') turns.hold(entry)
      else turns.open(entry)
      inactive(entry)
    },
    answerOf(entry) {
      if (context.capabilities.settlement === 'prefix') return Promise.resolve('done')
      return new Promise((resolve) => answers.set(entry, resolve))
    },
    leave(entry) {
      inactive(entry)
    },
    handOver(deadline) {
      if (deadline < handOverUntil) {
        handOverUntil = deadline
        quiet?.()
      }
      handing ??= handOverNow()
      return handing
    },
  }

  const onLeaving = (): void => {
    if (over) return
    telemetry.emit('leaving', about)
    void runner.handOver(clock.monotonic() + hooks.drainMs)
  }
  const onLost = (): void => {
    if (!over && !releasing) telemetry.emit('lost', about)
    stop('the message was taken away: its partition is owned elsewhere, or the link is lost')
  }
  assignment.leaving.addEventListener('abort', onLeaving, { once: true })
  assignment.lost.addEventListener('abort', onLost, { once: true })
  void ended.then(() => {
    assignment.leaving.removeEventListener('abort', onLeaving)
    assignment.lost.removeEventListener('abort', onLost)
  })
  telemetry.emit('assigned', about)
  if (assignment.lost.aborted) onLost()
  else {
    if (assignment.leaving.aborted) onLeaving()
    readLoop().catch((error) => consumption.fail(context.wrap(error, plan.attempted)))
  }
  return runner
}

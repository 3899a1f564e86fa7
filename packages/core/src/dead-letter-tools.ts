import { anyText, boolean, checkOptions, fn, invalid, listOf, number, show, signal as signalRule, whole } from './check.ts'
import type { BrokerContext } from './context.ts'
import type { Delivery, Page, Place } from './contract.ts'
import { type DeadEntry, fromDeadLetter } from './dead-letter-entry.ts'
import type { DeadLetter, DeadLetterChoice, DeadLetters, ListOptions, PurgeOptions, ReplayOptions } from './dead-letters.ts'
import { MessagingError, textOf } from './errors.ts'
import { graceAfter } from './grace.ts'
import { patiently } from './patiently.ts'
import type { TopicDefinition } from './topic.ts'

const pageSize = 100
/** One step at the server (a page, a removal) may take this long with its repeats, in milliseconds. */
const stepWithinMs = 30_000
/** After its signal what is on its way gets this long to end, copies first and then their removal, in milliseconds. */
const [copiesMs, removalMs] = [400, 800]

interface Found extends DeadEntry {
  readonly delivery: Delivery
}
type Chosen = (letter: DeadLetter) => boolean

/** Makes the dead-letter tools of one group. What they act on is these arguments; what an entry says of its origin is only shown. */
export function createDeadLetters(context: BrokerContext, topic: TopicDefinition, group: string): DeadLetters {
  const { session, sender, clock, telemetry, catalog, capabilities } = context
  const dead: Place = Object.freeze({ topic: topic.name, role: 'dead', group })
  const retry: Place = Object.freeze({ topic: topic.name, role: 'retry', group })
  const named = `the dead letters of "${topic.name}" for group "${group}"`

  const step = <T>(attempted: string, signal: AbortSignal | undefined, run: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    patiently(context, { attempted, withinMs: stepWithinMs, signal }, run)

  function browse(attempted: string, after: string | null, signal: AbortSignal | undefined): Promise<Page> {
    return step(attempted, signal, (inner) => session.browse(dead, after, pageSize, inner))
  }

  async function* pages(attempted: string, signal: AbortSignal | undefined): AsyncGenerator<readonly Found[]> {
    await catalog.ensure(topic, attempted, { signal })
    for (let after: string | null = null; ; ) {
      const page: Page = await browse(attempted, after, signal)
      yield page.entries.map((delivery) => ({ ...fromDeadLetter(capabilities, topic, group, delivery), delivery }))
      if (page.next === null) return
      after = page.next
    }
  }

  // New entries may arrive while these are worked off, of messages that fail again among them: only what is there now counts.
  async function countOf(attempted: string, signal: AbortSignal | undefined): Promise<number> {
    let count = 0
    await catalog.ensure(topic, attempted, { signal })
    for (let after: string | null = null; ; ) {
      const page: Page = await browse(attempted, after, signal)
      count += page.entries.length
      if (page.next === null) return count
      after = page.next
    }
  }

  async function* list(attempted: string, options: ListOptions): AsyncGenerator<DeadLetter> {
    const { where, limit = Number.POSITIVE_INFINITY, signal } = options
    const chosen = where === undefined ? () => true : guarded(attempted, where)
    let given = 0
    if (limit === 0) return
    for await (const page of pages(attempted, signal)) {
      for (const { letter } of page) {
        if (!chosen(letter)) continue
        yield letter
        if (++given >= limit) return
      }
    }
  }

  // Chosen entries among the first `count`, each slot once, a page at a time.
  async function* choose(
    attempted: string,
    chosen: Chosen,
    count: number,
    most: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<readonly Found[]> {
    const taken = new Set<string>()
    let seen = 0
    if (most <= 0 || count === 0) return
    for await (const page of pages(attempted, signal)) {
      const found: Found[] = []
      for (const entry of page) {
        if (++seen > count || taken.size >= most) break
        if (taken.has(entry.slot) || !chosen(entry.letter)) continue
        taken.add(entry.slot)
        found.push(entry)
      }
      if (found.length > 0) yield found
      if (seen >= count || taken.size >= most) return
    }
  }

  // A signal stops between two portions, and inside one only if the server does not answer: otherwise how many were moved is known, and
  // none is moved by half.
  function unlessGivenUp(attempted: string, signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw new MessagingError('CANCELLED', `${attempted}: its signal was aborted`)
  }

  async function remove(attempted: string, entries: readonly Found[], signal: AbortSignal): Promise<void> {
    if (entries.length === 0) return
    await step(attempted, signal, async (inner) => {
      const result = await session.remove(
        dead,
        entries.map((entry) => entry.delivery),
        inner,
      )
      // `stale`: somebody removed some of them first, which is as good. An unknown removal is done again.
      if (result === 'unknown')
        throw new MessagingError('UNAVAILABLE', `${attempted}: the server did not confirm a removal`, { retryable: true })
    })
  }

  async function handBack(attempted: string, entry: Found, signal: AbortSignal): Promise<void> {
    await sender.send({
      place: retry,
      partition: null,
      // Told apart from earlier copies, which a consumer may still remember as finished.
      content: { ...entry.original, transport: { ...entry.original.transport, 'ph-copy': context.newId() } },
      due: 0,
      slot: null,
      deadline: clock.monotonic() + stepWithinMs,
      retryUnknown: true,
      signal,
      attempted,
      copy: true,
    })
    if (telemetry.wants('replayed'))
      telemetry.emit('replayed', { topic: topic.name, group, id: entry.letter.id, key: entry.letter.key, reason: entry.letter.reason })
  }

  async function replay(
    attempted: string,
    chosen: Chosen,
    options: ReplayOptions,
  ): Promise<{ readonly replayed: number; readonly left: number }> {
    const { ratePerSecond, limit = Number.POSITIVE_INFINITY, signal, onProgress } = options
    const count = await countOf(attempted, signal)
    const chunk = ratePerSecond === undefined ? pageSize : Math.min(pageSize, Math.max(1, Math.floor(ratePerSecond / 10)))
    const startedAt = clock.monotonic()
    let replayed = 0
    const [copies, removals] = [graceAfter(clock, signal, copiesMs), graceAfter(clock, signal, removalMs)]
    try {
      for await (const chosenPage of choose(attempted, chosen, count, limit, signal)) {
        const page = chosenPage.filter((entry) => !entry.bodyless)
        for (let from = 0; from < page.length; from += chunk) {
          if (ratePerSecond !== undefined) await until(attempted, startedAt + (replayed * 1000) / ratePerSecond, signal)
          unlessGivenUp(attempted, signal)
          const entries = page.slice(from, from + chunk)
          const results = await Promise.allSettled(entries.map((entry) => handBack(attempted, entry, copies.signal)))
          const stored = entries.filter((_, index) => results[index]?.status === 'fulfilled')
          // Removed only now that the copies are confirmed: a crash in between leaves an extra copy, never a gap.
          await remove(attempted, stored, removals.signal)
          for (const _ of stored) {
            replayed++
            onProgress?.(replayed)
          }
          const failed = results.find((result) => result.status === 'rejected')
          if (failed !== undefined) throw context.wrap(failed.reason, attempted)
        }
      }
      return { replayed, left: Math.max(0, count - replayed) }
    } finally {
      for (const grace of [copies, removals]) grace.end()
    }
  }

  async function purge(attempted: string, chosen: Chosen, options: PurgeOptions): Promise<{ readonly purged: number }> {
    const { signal, onProgress } = options
    const count = await countOf(attempted, signal)
    let purged = 0
    const removals = graceAfter(clock, signal, removalMs)
    try {
      for await (const page of choose(attempted, chosen, count, Number.POSITIVE_INFINITY, signal)) {
        unlessGivenUp(attempted, signal)
        await remove(attempted, page, removals.signal)
        purged += page.length
        onProgress?.(purged)
      }
      return { purged }
    } finally {
      removals.end()
    }
  }

  async function until(attempted: string, at: number, signal: AbortSignal | undefined): Promise<void> {
    const wait = at - clock.monotonic()
    if (wait <= 0) return
    let cancel = (): void => undefined
    try {
      await patiently(
        context,
        { attempted, withinMs: wait + stepWithinMs, signal },
        () =>
          new Promise<void>((resolve) => {
            cancel = clock.timer(wait, resolve)
          }),
      )
    } finally {
      cancel()
    }
  }

  return Object.freeze({
    list(options?: ListOptions): AsyncIterable<DeadLetter> {
      const attempted = `cannot list ${named}`
      const given = checkOptions<ListOptions>(attempted, options, { where: fn, limit: whole(0), signal: signalRule })
      return { [Symbol.asyncIterator]: () => list(attempted, given) }
    },
    async replay(choice: DeadLetterChoice, options?: ReplayOptions) {
      const attempted = `cannot replay ${named}`
      const chosen = choiceOf(attempted, choice)
      const given = checkOptions<ReplayOptions>(attempted, options, {
        ratePerSecond: positive,
        limit: whole(0),
        signal: signalRule,
        onProgress: fn,
      })
      return replay(attempted, chosen, given)
    },
    async purge(choice: DeadLetterChoice, options?: PurgeOptions) {
      const attempted = `cannot purge ${named}`
      const chosen = choiceOf(attempted, choice)
      const given = checkOptions<PurgeOptions>(attempted, options, { signal: signalRule, onProgress: fn })
      return purge(attempted, chosen, given)
    },
  })
}

const positive = (value: unknown): string | undefined => (number(0)(value) === undefined && value !== 0 ? undefined : 'a number above 0')

// Everything is chosen only by saying so.
function choiceOf(attempted: string, choice: unknown): Chosen {
  const next = 'say which: { all: true }, { ids: […] } or { where: (letter) => … }'
  if (typeof choice !== 'object' || choice === null || Array.isArray(choice)) throw invalid(attempted, `nothing is chosen. ${next}`)
  const given = checkOptions<{ readonly all?: boolean; readonly ids?: readonly string[]; readonly where?: Chosen }>(attempted, choice, {
    all: boolean,
    ids: listOf(anyText),
    where: fn,
  })
  const { all, ids, where } = given
  if (Object.keys(given).length !== 1)
    throw invalid(
      attempted,
      `${Object.keys(given).length === 0 ? 'nothing is chosen' : `${Object.keys(given).join(' and ')} are given together`}. ${next}`,
    )
  if (where !== undefined) return guarded(attempted, where)
  if (ids !== undefined) {
    const wanted = new Set(ids)
    return (letter) => wanted.has(letter.id)
  }
  if (all !== true) throw invalid(attempted, `"all" must be true, not ${show(all)}. ${next}`)
  return () => true
}

function guarded(attempted: string, where: Chosen): Chosen {
  return (letter) => {
    try {
      return where(letter)
    } catch (error) {
      throw new MessagingError('INVALID_ARGUMENT', `${attempted}: "where" threw: ${textOf(error)}`, { cause: error })
    }
  }
}

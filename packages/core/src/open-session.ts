import type { Adapter, AdapterEvent, Clock, EventDetail, Session } from './contract.ts'
import { fromFault, MessagingError, textOf } from './errors.ts'
import { explained } from './explained.ts'

export interface Opening {
  readonly adapter: Adapter
  readonly clock: Clock
  readonly random: () => number
  readonly name: string
  newId(): string
  /** `cannot connect to "redis://localhost"`, for error texts. */
  readonly attempted: string
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  event(name: AdapterEvent, detail: EventDetail): void
}

/** The state of the link as the adapter reports it; the last report is kept until somebody listens. */
export interface Link {
  listen(hear: (status: LinkStatus, error: unknown) => void): void
}
export type LinkStatus = 'connected' | 'recovering' | 'failed'

const firstWaitMs = 500
const longestWaitMs = 2_000

/**
 * Opens a session, trying again while the server is not reachable, at most twice a second. Whatever an attempt opened after
 * we gave up on it is closed.
 *
 * @throws MessagingError `UNAVAILABLE` after the time, `CANCELLED` by the signal, else what the adapter says
 */
export async function openSession(opening: Opening): Promise<{ readonly session: Session; readonly link: Link }> {
  const { clock, attempted, signal } = opening
  if (signal?.aborted === true) throw cancelled(attempted)
  const deadline = clock.monotonic() + opening.timeoutMs
  let last: unknown
  for (let wait = firstWaitMs; ; wait = Math.min(longestWaitMs, wait * 2)) {
    const result = await attempt(opening, deadline)
    if ('session' in result) return result
    if (result.over === 'signal') throw cancelled(attempted)
    if (result.over === 'time') throw late(opening, last)
    last = result.error
    const failure = fromFault(explained(opening.adapter, last), last, attempted)
    if (failure.code !== 'UNAVAILABLE' || !failure.retryable) throw failure
    const pauseMs = wait * (1 + opening.random() / 2)
    const rest = deadline - clock.monotonic()
    await pause(clock, Math.min(pauseMs, Math.max(0, rest)), signal)
    if (signal?.aborted) throw cancelled(attempted)
    if (rest <= pauseMs) throw late(opening, last)
  }
}

type Attempt =
  | { readonly session: Session; readonly link: Link }
  | { readonly over: 'time' }
  | { readonly over: 'signal' }
  | { readonly over: 'error'; readonly error: unknown }

function attempt(opening: Opening, deadline: number): Promise<Attempt> {
  const { adapter, clock, signal } = opening
  const giveUp = new AbortController()
  const link = createLink()
  let current = true
  return new Promise((resolve) => {
    const end = (result: Attempt): void => {
      cancel()
      signal?.removeEventListener('abort', onSignal)
      if (!('session' in result)) {
        current = false
        giveUp.abort()
      }
      resolve(result)
    }
    const onSignal = (): void => end({ over: 'signal' })
    const cancel = clock.timer(Math.max(0, deadline - clock.monotonic()), () => end({ over: 'time' }))
    signal?.addEventListener('abort', onSignal, { once: true })
    const context = Object.freeze({
      clock,
      random: opening.random,
      instance: opening.newId(),
      name: opening.name,
      report: (status: LinkStatus, error?: unknown): void => {
        if (current) link.report(status, error)
      },
      event: (name: AdapterEvent, detail: EventDetail): void => {
        if (current) opening.event(name, detail)
      },
    })
    void openNow(adapter, context, giveUp.signal).then(
      (session) => {
        if (current) end({ session, link })
        else void closeQuietly(session)
      },
      (error: unknown) => {
        if (current) end({ over: 'error', error })
      },
    )
  })
}

// An adapter that throws instead of rejecting is treated alike.
async function openNow(adapter: Adapter, context: Parameters<Adapter['open']>[0], signal: AbortSignal): Promise<Session> {
  return adapter.open(context, signal)
}

async function closeQuietly(session: Session): Promise<void> {
  try {
    await session.close(AbortSignal.abort())
  } catch {
    // nobody is waiting for it any more
  }
}

function createLink(): Link & { report(status: LinkStatus, error: unknown): void } {
  let hear: ((status: LinkStatus, error: unknown) => void) | undefined
  let missed: { readonly status: LinkStatus; readonly error: unknown } | undefined
  return {
    report(status, error) {
      if (hear === undefined) missed = { status, error }
      else hear(status, error)
    },
    listen(listener) {
      hear = listener
      if (missed !== undefined) listener(missed.status, missed.error)
      missed = undefined
    },
  }
}

function pause(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const cancel = clock.timer(ms, end)
    signal?.addEventListener('abort', end, { once: true })
  })
}

function late(opening: Opening, last: unknown): MessagingError {
  const why = last === undefined ? 'the server did not answer' : textOf(last)
  return new MessagingError(
    'UNAVAILABLE',
    `${opening.attempted}: not reachable within ${opening.timeoutMs} ms. ${why}. is the server running there?`,
    {
      cause: last,
    },
  )
}

function cancelled(attempted: string): MessagingError {
  return new MessagingError('CANCELLED', `${attempted}: the signal was aborted`)
}

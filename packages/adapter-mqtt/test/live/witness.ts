// Everything that an application can see of a broker object, kept so that a test can look for a secret in it.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import type { LogEntry, MessagingError, Status, TelemetryMessage } from '@posthorn/core'
import { isMessagingError } from '@posthorn/core'
import { expect } from 'vitest'

/** A password that every URL must encode, and that nothing may show, in neither form. */
export const canary: string = 'Canary:7/ä?#%@x'

const names = [
  'sent',
  'send-failed',
  'send-unknown',
  'send-repeated',
  'start',
  'done',
  'failed',
  'dead-letter-failed',
  'settled',
  'settle-unknown',
  'settle-stale',
  'assigned',
  'leaving',
  'released',
  'lost',
  'consumer-started',
  'consumer-recovering',
  'consumer-failed',
  'consumer-closed',
  'stalled',
  'adapter',
  'status',
  'notice',
] as const satisfies readonly TelemetryMessage['event'][]

/** What was seen, and what to give to `connect`. */
export interface Witness {
  /** Options of `connect`: every log entry, every status. */
  readonly options: { readonly log: (entry: LogEntry) => void; readonly onStatus: (status: Status, error?: MessagingError) => void }
  readonly events: readonly TelemetryMessage[]
  readonly statuses: readonly Status[]
  /** Waits for a rejection, keeps it, and returns the error. */
  refusal(attempt: Promise<unknown>): Promise<MessagingError>
  /** Fails if the canary is anywhere in what was seen. Stops listening. */
  sawNoSecret(): void
}

/** Starts to look. */
export function witness(): Witness {
  const entries: LogEntry[] = []
  const events: TelemetryMessage[] = []
  const statuses: Status[] = []
  const errors: unknown[] = []
  const hear = (event: unknown): void => void events.push(event as TelemetryMessage)
  for (const name of names) subscribe(`posthorn:${name}`, hear)
  return {
    options: {
      log: (entry) => void entries.push(entry),
      onStatus(status, error) {
        statuses.push(status)
        if (error !== undefined) errors.push(error)
      },
    },
    events,
    statuses,
    async refusal(attempt) {
      try {
        await attempt
      } catch (error) {
        errors.push(error)
        expect(isMessagingError(error), String(error)).toBe(true)
        return error as MessagingError
      }
      throw new Error('it was not refused')
    },
    sawNoSecret() {
      for (const name of names) unsubscribe(`posthorn:${name}`, hear)
      for (const [what, seen] of Object.entries({ entries, events, errors })) {
        const shown = seen.map(shownOf).join('\n')
        for (const secret of [canary, encodeURIComponent(canary), encodeURIComponent(canary).slice(0, 20)]) {
          const at = shown.indexOf(secret)
          const around = shown.slice(Math.max(0, at - 150), at + 150).replaceAll(secret, '<secret>')
          expect(at, `the password is shown in the ${what}: ${around}`).toBe(-1)
        }
      }
    },
  }
}

/** All that a logger could print of a thing: fields that are hidden, causes, stacks. */
function shownOf(thing: unknown): string {
  const parts = [inspect(thing, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null })]
  for (let error = thing; error instanceof Error; error = error.cause) parts.push(error.message, error.stack ?? '')
  return parts.join('\n')
}

/** Waits for a condition, and says what it was when it does not come. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

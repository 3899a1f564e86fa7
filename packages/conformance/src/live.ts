// What the tests of an adapter on a real server share, beside the suite: orders with numbers to count, waiting for a condition, a
// witness that keeps all an application can see, so that a test can look for a secret in it; a session below core, and a way to the server.

import { inspect } from 'node:util'
import {
  type Broker,
  isMessagingError,
  type LogEntry,
  type MessagingError,
  type Status,
  type TelemetryMessage,
  type Topic,
  topic,
  unchecked,
} from '@posthorn/core'
import { listen } from './channels.ts'

export { type Passing, type Relay, relay } from './live-relay.ts'
export {
  assignment,
  content,
  idsOf,
  join,
  type Membership,
  message,
  never,
  type Opened,
  openSession,
  plan,
  source,
  take,
} from './live-session.ts'
export { until, whereFound, within } from './live-until.ts'

/** A password that every URL must encode, and that nothing may show, in neither form. */
export const canary: string = 'Canary:7/ä?#%@x'

/** An order with a number to count. */
export interface NumberedOrder {
  readonly n: number
  readonly text?: string
}

let made = 0

/** A topic of its own for one test, with the group `workers`. */
export const jobs = (name: string, maxBytes = 1_048_576): Topic<NumberedOrder, NumberedOrder> =>
  topic(`${name}-${++made}`, { schema: unchecked<NumberedOrder>(), groups: ['workers'], maxBytes })

/** Sends `count` orders at once, numbered from `first`. */
export async function sendAll(broker: Broker, to: Topic<NumberedOrder, NumberedOrder>, first: number, count: number): Promise<void> {
  const producer = broker.producer(to)
  await Promise.all(Array.from({ length: count }, (_, n) => producer.send({ n: first + n })))
}

/** Handles every order of the group `workers` and keeps the numbers, repeats included. */
export async function collect(broker: Broker, from: Topic<NumberedOrder, NumberedOrder>): Promise<number[]> {
  const numbers: number[] = []
  await broker.consume(from, { group: 'workers' }, ({ value }) => void numbers.push(value.n))
  return numbers
}

/** 0, 1, … `count` - 1. */
export const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

/** Each number once, in order. */
export const sorted = (numbers: readonly number[]): number[] => [...new Set(numbers)].sort((a, b) => a - b)

/** A promise that waits until it is opened. */
export interface Latch {
  readonly opened: Promise<void>
  open(): void
}

/** Closed until `open` is called. */
export function latch(): Latch {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

/** What was seen, and what to give to `connect`. */
export interface Witness {
  /** Options of `connect`: every log entry, every status. */
  readonly options: { readonly log: (entry: LogEntry) => void; readonly onStatus: (status: Status, error?: MessagingError) => void }
  readonly events: readonly TelemetryMessage[]
  readonly statuses: readonly Status[]
  /**
   * Waits for a rejection, keeps it, and returns the error.
   * @throws Error if it was not refused, or with anything but a MessagingError
   */
  refusal(attempt: Promise<unknown>): Promise<MessagingError>
  /**
   * Stops listening.
   * @throws Error if the canary is anywhere in what was seen
   */
  sawNoSecret(): void
}

/** Starts to look, at every broker object of the process. */
export function witness(): Witness {
  const entries: LogEntry[] = []
  const events: TelemetryMessage[] = []
  const statuses: Status[] = []
  const errors: unknown[] = []
  const stop = listen((_, event) => void events.push(event as unknown as TelemetryMessage))
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
        if (!isMessagingError(error)) throw error
        return error
      }
      throw new Error('it was not refused')
    },
    sawNoSecret() {
      stop()
      for (const [what, seen] of Object.entries({ entries, events, errors })) searchFor(canary, what, seen)
    },
  }
}

function searchFor(secret: string, what: string, seen: readonly unknown[]): void {
  const shown = seen.map(shownOf).join('\n')
  const encoded = encodeURIComponent(secret)
  for (const form of [secret, encoded, encoded.slice(0, 20)]) {
    const at = shown.indexOf(form)
    if (at === -1) continue
    const around = shown.slice(Math.max(0, at - 150), at + 150).replaceAll(form, '<secret>')
    throw new Error(`the password is shown in the ${what}: ${around}`)
  }
}

/** All that a logger could print of a thing: fields that are hidden, causes, stacks. */
function shownOf(thing: unknown): string {
  const parts = [inspect(thing, { depth: 12, showHidden: true, maxArrayLength: null, maxStringLength: null })]
  for (let error = thing; error instanceof Error; error = error.cause) parts.push(error.message, error.stack ?? '')
  return parts.join('\n')
}

// What clauses about traces look at: the trace headers of each start, and the parts of a `traceparent`.

import type { Decision, Message } from '@posthorn/core'
import type { Trial } from '../trial.ts'

type Texts = Readonly<Record<string, string>>
/** By message id: the headers of each start, in time. */
export type Seen = Map<string, Texts[]>

/** A handler that keeps the headers of every start, and then plays. */
export function traced<T>(
  t: Trial,
  play?: (message: Message<T>) => Decision | void | Promise<Decision | void>,
): { readonly seen: (message: Message<T>) => Promise<Decision | void>; readonly headers: Seen } {
  const headers: Seen = new Map()
  return {
    headers,
    async seen(message) {
      const all = headers.get(message.id) ?? []
      headers.set(message.id, all)
      all.push({ ...message.headers })
      t.note(`starts with the trace ${message.headers['traceparent']}`, message.id)
      return play?.(message)
    },
  }
}

const form = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** Is this a `traceparent` as the specification has it? */
export function isHop(text: string | undefined): text is string {
  return text !== undefined && form.test(text)
}

/** The trace of a `traceparent`, without its span. */
export function traceIdOf(text: string | undefined): string {
  return text?.split('-')[1] ?? ''
}

/** The first hop that was seen of a message. */
export function hopOf(seen: Seen, id: string | null): string | undefined {
  return seen.get(id ?? '')?.[0]?.['traceparent']
}

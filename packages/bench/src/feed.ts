import type { Producer } from '@posthorn/core'
import { turn } from './clock.ts'
import type { Work } from './messages.ts'

/** So many are sent in one turn of the event loop, by the bare loop too. */
export const chunk = 500
// So many are open at once, for brokers that take their time.
const mostOpen = 4000

/**
 * Sends messages 0 to `messages` - 1 as an application under load does: a few hundred per turn of the event loop, without
 * waiting for each. Rejects if one is not stored.
 */
export async function feed(producer: Producer<Work>, messages: number, make: (n: number) => Work): Promise<void> {
  let stored = 0
  let failure: { readonly error: unknown } | undefined
  const done = (): void => {
    stored++
  }
  const failed = (error: unknown): void => {
    failure ??= { error }
  }
  for (let next = 0; stored < messages && failure === undefined; await turn()) {
    for (const end = Math.min(messages, next + chunk, stored + mostOpen); next < end; next++) producer.send(make(next)).then(done, failed)
  }
  if (failure !== undefined) throw failure.error
}

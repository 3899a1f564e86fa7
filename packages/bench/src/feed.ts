import type { Producer } from '@posthorn/core'
import { turn } from './clock.ts'
import type { Work } from './messages.ts'

/** So many are sent in one turn of the event loop, by the bare loop too. */
export const chunk = 500
// So many are open at once, for brokers that take their time.
const mostOpen = 4000

/**
 * Sends messages 0 to `messages` - 1 as an application under load does: a few hundred per turn of the event loop, without
 * waiting for each. While there is no room for more it sleeps. Rejects if one is not stored.
 */
export async function feed(producer: Producer<Work>, messages: number, make: (n: number) => Work): Promise<void> {
  let stored = 0
  let failure: { readonly error: unknown } | undefined
  let enough = 0
  let wake: () => void = () => undefined
  const done = (): void => {
    if (++stored === enough) wake()
  }
  const failed = (error: unknown): void => {
    failure ??= { error }
    wake()
  }
  /** Until so many are stored, or one is refused. */
  const reach = (count: number): Promise<void> =>
    new Promise((resolve) => {
      enough = count
      wake = resolve
      if (stored >= count || failure !== undefined) resolve()
    })
  for (let next = 0; next < messages && failure === undefined; ) {
    for (const end = Math.min(messages, next + chunk); next < end; next++) producer.send(make(next)).then(done, failed)
    await turn()
    if (next + chunk - stored > mostOpen) await reach(next + chunk - mostOpen)
  }
  await reach(messages)
  if (failure !== undefined) throw failure.error
}

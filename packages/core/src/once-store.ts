import { checkOptions, whole } from './check.ts'
import { realClock } from './clock.ts'
import type { Clock } from './contract.ts'
import { digestOf } from './forward-id.ts'
import type { OnceKey, OnceStore } from './once.ts'

export interface InMemoryOnceOptions {
  /** How long repeats are recognised, in milliseconds. @default 3_600_000 */
  readonly windowMs?: number | undefined
  /** How many messages are remembered; the oldest are forgotten first. @default 100_000 */
  readonly max?: number | undefined
}

/**
 * A `OnceStore` in this process: repeats are recognised while it lives, and forgotten with it. For tests and for effects
 * that live in memory too; effects in a database need a store in that database, in the same transaction.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function inMemoryOnce(options?: InMemoryOnceOptions, clock: Clock = realClock): OnceStore<undefined> {
  const given = checkOptions<InMemoryOnceOptions>('cannot make an in-memory once store', options, { windowMs: whole(1), max: whole(1) })
  const windowMs = given.windowMs ?? 3_600_000
  const max = given.max ?? 100_000
  // By a hash in which no two messages meet: ids from outside may be of any size, and hold anything.
  const done = new Map<string, number>()
  const working = new Map<string, Promise<boolean>>()

  function forgetOld(): void {
    const now = clock.monotonic()
    for (const [key, until] of done) {
      if (until > now && done.size <= max) return
      done.delete(key)
    }
  }

  return {
    windowMs,
    async once(message: OnceKey, work: (tx: undefined) => Promise<void>): Promise<'done' | 'repeat'> {
      const key = digestOf([message.group, message.topic, message.source ?? null, message.id])
      for (let other = working.get(key); other !== undefined; other = working.get(key)) await other
      const until = done.get(key)
      if (until !== undefined && until > clock.monotonic()) return 'repeat'
      let end: (succeeded: boolean) => void = () => {}
      working.set(
        key,
        new Promise((resolve) => {
          end = resolve
        }),
      )
      try {
        await work(undefined)
        done.delete(key)
        done.set(key, clock.monotonic() + windowMs)
        forgetOld()
        return 'done'
      } finally {
        working.delete(key)
        end(true)
      }
    },
  }
}

import type { SendRequest } from '../../src/context.ts'
import type { Content, Place, PublishFailure } from '../../src/contract.ts'
import type { MessagingError, Receipt } from '../../src/errors.ts'
import { type Scripted, ScriptedError } from './scripted.ts'

const main: Place = { topic: 'orders', role: 'main', group: null }

/** A message. */
export function content(id: string, key: string | null = null, more: Partial<Content> = {}): Content {
  return {
    id,
    key,
    body: Buffer.from(id),
    time: 1,
    expiresAt: null,
    attributes: { source: 's', type: 't' },
    headers: null,
    transport: null,
    ...more,
  }
}
/** A request of the engine. */
export function request(world: Scripted, id: string, more: Partial<SendRequest> = {}): SendRequest {
  return {
    place: main,
    partition: null,
    content: content(id),
    due: 0,
    slot: null,
    deadline: world.clock.monotonic() + 30_000,
    retryUnknown: true,
    attempted: 'cannot send to "orders"',
    ...more,
  }
}
/** What became of a send. */
export function watched(promise: Promise<Receipt>): { receipt?: Receipt; error?: MessagingError; count: number } {
  const state: { receipt?: Receipt; error?: MessagingError; count: number } = { count: 0 }
  promise.then(
    (receipt) => {
      state.receipt = receipt
      state.count++
    },
    (error: MessagingError) => {
      state.error = error
      state.count++
    },
  )
  return state
}
/** An answer that leaves one message of a batch unknown. */
export const unknown = (index: number, text?: string): PublishFailure => ({
  index,
  outcome: 'unknown' as const,
  error: new ScriptedError({}, text),
})
/** The ids of each publish. */
export const ids = (world: Scripted): string[][] => world.published.map((one) => one.batch.map((each) => each.id))

// One answer that never comes on a connection that lives: a middleman or a server lost it, and with it the order of its channel.

import type { Clock } from '@posthorn/core/adapter'
import type { Wire } from './connections.ts'
import { fault } from './explain.ts'

/** An answer is missed after this long, in milliseconds, and then looked for every so often. */
const answerMs = 10_000
const lookMs = 500

/**
 * The answer to a question that was asked just now. Rejects with TIMED_OUT when it is missing after ten seconds although questions
 * that the connection asked later were answered; the channel is of no use then.
 */
export function answered<T>(wire: Wire, clock: Clock, answer: Promise<T>): Promise<T> {
  const askedAt = clock.monotonic()
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (wire.answeredAt > askedAt) reject(fault('TIMED_OUT', 'the server left a question unanswered, and answered later ones'))
      else cancel = clock.timer(lookMs, look)
    }
    let cancel = clock.timer(answerMs, look)
    answer.then(
      (value) => {
        cancel()
        resolve(value)
      },
      (error: unknown) => {
        cancel()
        reject(error)
      },
    )
  })
}

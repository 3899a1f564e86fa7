// The three services of the chain. Each consumes one topic and sends to the next with `forward`: the output leaves when the handler has
// succeeded and is stored before the input is settled. A crash in between repeats the output under the same id; nothing is lost.
import type { Broker, Consumer } from '@posthorn/core'
import { purchaseMade, type Rank, rankReached, totalChanged } from './topics.ts'

const retry = { firstDelayMs: 20, maxDelayMs: 200 }

/** Ranks and what they take, in cents, lowest first. */
export const ranks: readonly (readonly [rank: Rank, cents: number])[] = [
  ['bronze', 10_000],
  ['silver', 25_000],
  ['gold', 50_000],
]

/** `trouble` may throw, as a database does now and then. */
export async function startTotals(broker: Broker, trouble: (orderId: string) => void): Promise<Consumer> {
  // By customer, what each order cost: an order that comes again changes nothing. Yours would be a table.
  const spentBy = new Map<string, Map<string, number>>()
  return broker.consume(purchaseMade, { group: 'totals', retry }, (message) => {
    const { userId, orderId, cents } = message.value
    const spent = spentBy.get(userId) ?? new Map<string, number>()
    const before = sum([...spent].filter(([order]) => order !== orderId).map(([, cost]) => cost))
    message.forward(totalChanged, { userId, orderId, before, after: before + cents })
    // A throw after `forward`: this attempt failed, so its output is dropped; the next attempt makes its own.
    trouble(orderId)
    spentBy.set(userId, spent.set(orderId, cents))
  })
}

export async function startRanks(broker: Broker): Promise<Consumer> {
  return broker.consume(totalChanged, { group: 'ranks', retry }, (message) => {
    const { userId, before, after } = message.value
    // One input, no output or several: a large order may cross two lines at once.
    for (const [rank, line] of ranks) if (before < line && after >= line) message.forward(rankReached, { userId, rank, cents: after })
  })
}

export interface Letter {
  readonly userId: string
  readonly rank: Rank
}
export async function startLetters(broker: Broker, write: (letter: Letter, cents: number) => void): Promise<Consumer> {
  return broker.consume(rankReached, { group: 'letters', retry }, ({ value }) =>
    write({ userId: value.userId, rank: value.rank }, value.cents),
  )
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

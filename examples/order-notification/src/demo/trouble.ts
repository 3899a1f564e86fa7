// Which notifications get into trouble, decided from the input alone, so that the right figures are known before anything runs.
import type { Order } from '../topics.ts'

export interface Trouble {
  /** Refused once, then taken. */
  readonly once: ReadonlySet<string>
  /** Refused until the receiver is fixed. */
  readonly always: ReadonlySet<string>
}
export interface TroublePlan {
  readonly email: Trouble
  readonly push: Trouble
}

/** About 1 in 50 fails the first time and 1 in 500 always, with different orders for email and push. */
export function planTrouble(orders: readonly Order[]): TroublePlan {
  const every = (step: number, first: number) => new Set(orders.filter((_, i) => i % step === first).map(({ orderId }) => orderId))
  return {
    email: { once: every(50, 7), always: every(500, 19) },
    push: { once: every(50, 31), always: every(500, 43) },
  }
}

// The slow side: charges cards through a payment provider that takes so many calls a second and no more.
import { setTimeout as wait } from 'node:timers/promises'
import { type Broker, type Consumer, topic } from '@posthorn/core'
import { z } from 'zod'

export const purchase = z.object({ orderId: z.string(), userId: z.string(), price: z.number() })
export type Purchase = z.infer<typeof purchase>

/** In order per customer: a refund must not overtake its payment. Nobody has to be there to take it. */
export const paymentDue = topic('payments.due', { schema: purchase, key: ({ userId }) => userId, groups: ['payments'] })

/** Calls that the provider takes in a tenth of a second; more, and it blocks the account. */
export const perTenth = 20

/** `charge` is the call to the provider. */
export async function startPayments(broker: Broker, charge: (due: Purchase) => Promise<void>): Promise<Consumer> {
  return broker.consume(
    paymentDue,
    // `rate` is what the provider allows; `maxUnsettled` keeps the burst on the broker instead of in this process.
    { group: 'payments', concurrency: 8, rate: { max: perTenth, perMs: 100 }, maxUnsettled: 16 },
    ({ value }) => charge(value),
  )
}

/** A provider that needs 20 ms per call and writes down when each came in. */
export function createProvider() {
  const calls: { readonly due: Purchase; readonly at: number }[] = []
  return {
    calls,
    async charge(due: Purchase): Promise<void> {
      calls.push({ due, at: performance.now() })
      await wait(20)
    },
    /** The most calls that came in within one second. */
    peak: () => Math.max(0, ...calls.map(({ at }) => calls.filter((other) => other.at >= at && other.at < at + 1000).length)),
  }
}

// The chain: a purchase changes a customer's total, a total may make the customer a regular, and a regular gets a letter.
import { topic } from '@posthorn/core'
import { z } from 'zod'

const userId = z.string()
const cents = z.number().int().min(0)

export const purchaseMade = topic('purchases.made', {
  schema: z.object({ orderId: z.string(), userId, cents }),
  key: (purchase) => purchase.userId,
  groups: ['totals'],
})

/** What a customer has spent in all, before and after a purchase. */
export const totalChanged = topic('totals.changed', {
  schema: z.object({ userId, orderId: z.string(), before: cents, after: cents }),
  key: (total) => total.userId,
  groups: ['ranks'],
})

export const rank = z.enum(['bronze', 'silver', 'gold'])
export type Rank = z.infer<typeof rank>

export const rankReached = topic('ranks.reached', {
  schema: z.object({ userId, rank, cents }),
  key: (reached) => reached.userId,
  groups: ['letters'],
})

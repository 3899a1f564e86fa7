// What both services do: a mail for each order.
import { z } from 'zod'

export const order = z.object({
  orderId: z.string(),
  userId: z.string(),
  productName: z.string(),
  price: z.number(),
  placedAt: z.iso.date(),
})
export type Order = z.infer<typeof order>

/** Rejects when the mail server does. */
export type SendMail = (order: Order) => Promise<void>

/** A service as it was, on its broker's client. */
export interface OldShop {
  place(orders: readonly Order[]): Promise<void>
  /** Starts the mail service. What it answers stops it: it finishes what runs and takes nothing new. */
  startEmail(sendMail: SendMail): Promise<() => Promise<void>>
  close(): Promise<void>
}

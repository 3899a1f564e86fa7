// What the shop and the packers agree on: a parcel to pack, and a queue of them.
import { topic } from '@posthorn/core'
import { z } from 'zod'

export const parcel = z.object({ orderId: z.string(), userId: z.string(), items: z.number().int().min(1) })
export type Parcel = z.infer<typeof parcel>

/**
 * No key: any worker may take any task, in any order. Tasks wait here until a worker is free, also while there is none. Where a group
 * shares a topic by partitions (everywhere but on RabbitMQ), their number is how many workers can be busy at once.
 */
export const parcelToPack = topic('parcels.to-pack', { schema: parcel, groups: ['packers'], partitions: 16 })

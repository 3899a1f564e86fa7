import type { MessageOf } from '@posthorn/core'
import { handlerModule, type MessageHandler } from '@posthorn/inversify'
import { ContainerModule, type ServiceIdentifier } from 'inversify'
import type { AuditServiceConfig } from '../audit-service.ts'
import type { InventoryServiceConfig } from '../inventory-service.ts'
import { notificationSent, orderPlaced } from '../topics.ts'

/** Where the audit writes. */
export const auditId = Symbol('audit') as ServiceIdentifier<AuditServiceConfig>
/** Where sales are booked. */
export const inventoryId = Symbol('inventory') as ServiceIdentifier<InventoryServiceConfig>

/** Writes down what one message of either topic says. */
export class Audit implements MessageHandler<typeof orderPlaced | typeof notificationSent> {
  readonly #audit: AuditServiceConfig

  constructor(audit: AuditServiceConfig) {
    this.#audit = audit
  }

  async handle(message: MessageOf<typeof orderPlaced | typeof notificationSent>): Promise<void> {
    const { orderId, userId } = message.value
    if (message.topic === 'orders.placed') await this.#audit.write({ what: 'ordered', orderId, userId, amount: message.value.price })
    else await this.#audit.write({ what: `told by ${message.value.channel}`, orderId, userId })
  }
}

/** When each customer last bought something: one for all messages. */
export class LastPurchases {
  readonly #lastOf = new Map<string, number>()

  /** Is this one older than one that was seen already? */
  isLate(userId: string, date: number): boolean {
    const last = this.#lastOf.get(userId) ?? date
    this.#lastOf.set(userId, Math.max(last, date))
    return date < last
  }
}

/** Books one sale. */
export class Booking implements MessageHandler<typeof orderPlaced> {
  readonly #inventory: InventoryServiceConfig
  readonly #purchases: LastPurchases

  constructor(inventory: InventoryServiceConfig, purchases: LastPurchases) {
    this.#inventory = inventory
    this.#purchases = purchases
  }

  async handle({ value }: MessageOf<typeof orderPlaced>): Promise<void> {
    const { orderId, userId, productName, placedAt } = value
    await this.#inventory.book({ orderId, userId, productName, late: this.#purchases.isLate(userId, Date.parse(placedAt)) })
  }
}

export function auditModule(): ContainerModule {
  return handlerModule([orderPlaced, notificationSent], { group: 'audit' }, Audit, [auditId])
}

export function inventoryModule(): readonly ContainerModule[] {
  const memory = new ContainerModule(({ bind }) => {
    bind(LastPurchases).toSelf().inSingletonScope()
  })
  return [memory, handlerModule(orderPlaced, { group: 'inventory' }, Booking, [inventoryId, LastPurchases])]
}

// The services as plain functions, and the same with an InversifyJS container: one set of tests for both.
import { startAuditService } from '../src/audit-service.ts'
import { startEmailService } from '../src/email-service.ts'
import { startInventoryService } from '../src/inventory-service.ts'
import * as inversify from '../src/inversify/services.ts'
import { startOrderService } from '../src/order-service.ts'
import { startPushService } from '../src/push-service.ts'

const plain = { startAuditService, startEmailService, startInventoryService, startOrderService, startPushService }
export const variants: readonly (readonly [string, typeof plain])[] = [
  ['plain', plain],
  ['with InversifyJS', inversify],
]

// The same services with what they need put together by an InversifyJS container. Each function is what its namesake beside this
// folder is, so that the same tests judge both.
import type { Broker, Consumer } from '@posthorn/core'
import { brokerModule, producerModule, producerOf, start } from '@posthorn/inversify'
import { Container, type ContainerModule } from 'inversify'
import type { AuditServiceConfig } from '../audit-service.ts'
import type { EmailServiceConfig } from '../email-service.ts'
import type { InventoryServiceConfig } from '../inventory-service.ts'
import { type OrderService, type OrderServiceConfig, serveOrders } from '../order-service.ts'
import type { PushServiceConfig } from '../push-service.ts'
import { orderPlaced } from '../topics.ts'
import { auditId, auditModule, inventoryId, inventoryModule } from './books.ts'
import { emailModule, mailerId } from './order-mail.ts'
import { pushModule, pushReceiverId } from './order-push.ts'

export async function startOrderService(broker: Broker, config: OrderServiceConfig): Promise<OrderService> {
  const container = new Container()
  container.load(brokerModule({ broker }), producerModule(orderPlaced))
  await start(container)
  return serveOrders(container.get(producerOf(orderPlaced)), config)
}

export async function startEmailService(broker: Broker, { mailer, retry }: EmailServiceConfig): Promise<Consumer> {
  const container = new Container()
  container.bind(mailerId).toConstantValue(mailer)
  return onlyConsumer(container, broker, [emailModule(retry)])
}

export async function startPushService(broker: Broker, { url, fetch, retry }: PushServiceConfig): Promise<Consumer> {
  const container = new Container()
  container.bind(pushReceiverId).toConstantValue({ url, fetch })
  return onlyConsumer(container, broker, pushModule(retry))
}

export async function startAuditService(broker: Broker, config: AuditServiceConfig): Promise<Consumer> {
  const container = new Container()
  container.bind(auditId).toConstantValue(config)
  return onlyConsumer(container, broker, [auditModule()])
}

export async function startInventoryService(broker: Broker, config: InventoryServiceConfig): Promise<Consumer> {
  const container = new Container()
  container.bind(inventoryId).toConstantValue(config)
  return onlyConsumer(container, broker, inventoryModule())
}

async function onlyConsumer(container: Container, broker: Broker, modules: readonly ContainerModule[]): Promise<Consumer> {
  container.load(brokerModule({ broker }), ...modules)
  const { consumers } = await start(container)
  const [consumer] = consumers
  if (consumer === undefined) throw new Error('no module binds a handler')
  return consumer
}

// All five services in one process and one container; the broker is what the configuration says:
//   POSTHORN_BROKER=… npx tsx src/inversify/all-services.ts
import { fileURLToPath } from 'node:url'
import { brokerModule, producerModule, producerOf, type Running, start } from '@posthorn/inversify'
import { Container } from 'inversify'
import { terminalMailer, terminalPush } from '../notification-service.ts'
import { type OrderService, serveOrders } from '../order-service.ts'
import { orderPlaced } from '../topics.ts'
import { auditId, auditModule, inventoryId, inventoryModule } from './books.ts'
import { emailModule, mailerId } from './order-mail.ts'
import { pushModule, pushReceiverId } from './order-push.ts'

export interface AllServices {
  readonly running: Running
  readonly orders: OrderService
}

export async function startAllServices(port: number, write: (line: string) => void): Promise<AllServices> {
  const container = new Container()
  container.bind(mailerId).toConstantValue(terminalMailer(write))
  container.bind(pushReceiverId).toConstantValue(terminalPush(write))
  container.bind(auditId).toConstantValue({ write: (entry) => write(`audit ${JSON.stringify(entry)}`) })
  container.bind(inventoryId).toConstantValue({ book: ({ orderId, productName }) => write(`stock ${orderId}: ${productName}`) })
  container.load(brokerModule(), producerModule(orderPlaced), emailModule(), ...pushModule(), auditModule(), ...inventoryModule())
  const running = await start(container)
  return { running, orders: await serveOrders(container.get(producerOf(orderPlaced)), { port }) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { running, orders } = await startAllServices(Number(process.env.PORT ?? 3000), console.log)
  // No new orders, then what is being handled, then the broker.
  const end = () => orders.close().then(() => running.close())
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
  console.log(`all services: POST ${orders.url}`)
}

// Takes orders over HTTP and sends each as a message. On its own:
//   POSTHORN_BROKER=… PORT=3000 npx tsx src/order-service.ts
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Broker, connect, isMessagingError } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { order, orderPlaced } from './topics.ts'

export interface OrderServiceConfig {
  /** 0 takes any free port. */
  readonly port: number
}
export interface OrderService {
  readonly url: string
  close(): Promise<void>
}

export async function startOrderService(broker: Broker, config: OrderServiceConfig): Promise<OrderService> {
  const orders = broker.producer(orderPlaced)

  async function placeOrder(request: IncomingMessage): Promise<[status: number, body: object]> {
    const checked = order.safeParse(await readJson(request))
    if (!checked.success) {
      const reasons = checked.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
      return [400, { error: 'this order was refused', reasons }]
    }
    try {
      // The order's own id as the message id: a customer who repeats a request after a 503 does not make a second message.
      await orders.send(checked.data, { id: checked.data.orderId })
      return [201, { orderId: checked.data.orderId }]
    } catch (error) {
      const unknown = isMessagingError(error) && error.outcome === 'unknown'
      return [503, { error: `the order ${unknown ? 'may not be' : 'was not'} stored; send it again with the same orderId` }]
    }
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url !== '/orders') return reply(response, 404, { error: 'there is only POST /orders' })
    if (request.method !== 'POST') return reply(response, 405, { error: 'there is only POST /orders' })
    reply(response, ...(await placeOrder(request)))
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => reply(response, 500, { error: String(error) }))
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(config.port, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`,
    close: () => new Promise((resolve) => server.close(() => resolve()).closeIdleConnections()),
  }
}

const maxBody = 65_536
/** The body, or undefined if it is no JSON or too long; then the schema refuses it. */
async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) if (text.length <= maxBody) text += chunk
  try {
    return text.length <= maxBody ? JSON.parse(text) : undefined
  } catch {
    return undefined
  }
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: 'order-service' })
  const service = await startOrderService(broker, { port: Number(process.env.PORT ?? 3000) })
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => service.close().then(() => broker.close()))
  console.log(`order service: POST ${service.url}`)
}

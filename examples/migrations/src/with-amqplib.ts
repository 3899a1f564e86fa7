// The shop before: plain amqplib, with names of its own for exchange, routing key and queue.
import { type ConsumeMessage, connect } from 'amqplib'
import type { OldShop, Order, SendMail } from './orders.ts'

const exchange = 'shop'
const routingKey = 'order.placed'
const queue = 'mails'

/** `url`: `amqp://localhost`. */
export async function connectOldShop(url: string): Promise<OldShop> {
  const connection = await connect(url)
  const channel = await connection.createConfirmChannel()
  await channel.assertExchange(exchange, 'topic', { durable: true })
  await channel.assertQueue(queue, { durable: true })
  await channel.bindQueue(queue, exchange, routingKey)
  return {
    async place(orders) {
      for (const each of orders) channel.publish(exchange, routingKey, Buffer.from(JSON.stringify(each)), { persistent: true })
      await channel.waitForConfirms()
    },
    async startEmail(sendMail) {
      const own = await connection.createChannel()
      await own.prefetch(10)
      const running = new Set<Promise<void>>()
      const handle = async (message: ConsumeMessage): Promise<void> => {
        const done = await mailed(message, sendMail)
        // What fails is gone, or in a dead-letter exchange if the queue has one.
        if (done) own.ack(message)
        else own.nack(message, false, false)
      }
      const { consumerTag } = await own.consume(queue, (message) => {
        if (message === null) return
        const one = handle(message).finally(() => running.delete(one))
        running.add(one)
      })
      return async () => {
        await own.cancel(consumerTag)
        await Promise.all(running)
        await own.close()
      }
    },
    close: () => connection.close(),
  }
}

const mailed = (message: ConsumeMessage, sendMail: SendMail): Promise<boolean> =>
  sendMail(JSON.parse(message.content.toString()) as Order).then(
    () => true,
    () => false,
  )

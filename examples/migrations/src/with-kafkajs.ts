// The shop before: plain kafkajs, with names of its own for topic and group.
import { Kafka, logLevel } from 'kafkajs'
import type { OldShop, Order } from './orders.ts'

const topic = 'shop.order-placed'
const groupId = 'mailer'

/** `brokers`: `['localhost:9092']`. */
export async function connectOldShop(brokers: readonly string[]): Promise<OldShop> {
  const kafka = new Kafka({ clientId: 'shop', brokers: [...brokers], logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true })
  await admin.disconnect()
  const producer = kafka.producer()
  await producer.connect()
  return {
    async place(orders) {
      await producer.send({ topic, messages: orders.map((each) => ({ key: each.userId, value: JSON.stringify(each) })) })
    },
    async startEmail(sendMail) {
      const consumer = kafka.consumer({ groupId })
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({ eachMessage: ({ message }) => sendMail(JSON.parse(String(message.value)) as Order) })
      return () => consumer.disconnect()
    },
    close: () => producer.disconnect(),
  }
}

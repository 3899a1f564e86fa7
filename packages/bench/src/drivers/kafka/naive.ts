import type { Client } from '../../compare/client.ts'
import { inTurn } from '../../compare/in-turn.ts'
import { clientOf, messageOf, producing, workIn } from './wire.ts'

/** As the first page of a tutorial has it: one send awaited after the other, each message by itself. */
export const naive: Client = {
  name: 'naive',
  promise: 'at least once',
  how: 'send each awaited; eachMessage, positions committed by the client; one partition',
  messages: 2_000,
  async open({ url, topic, keyed }) {
    const kafka = clientOf(url)
    const producer = kafka.producer(producing)
    await producer.connect()
    const send = async (work: Parameters<typeof messageOf>[1]): Promise<void> =>
      void (await producer.send({ topic, acks: -1, messages: [messageOf(topic, work, keyed, 0)] }))
    return {
      notes: [],
      async declare() {
        const admin = kafka.admin()
        await admin.connect()
        await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 1 }] })
        await admin.disconnect()
      },
      sendAll: inTurn(send),
      send,
      async consume(handle, group) {
        const consumer = kafka.consumer({ groupId: group + topic })
        await consumer.connect()
        await consumer.subscribe({ topics: [topic], fromBeginning: true })
        await consumer.run({ eachMessage: async ({ message }) => await handle(workIn(message.value)) })
        return { close: () => consumer.disconnect() }
      },
      close: () => producer.disconnect(),
    }
  },
}

import { connect } from 'amqplib'
import type { Client } from '../../compare/client.ts'
import { inTurn } from '../../compare/in-turn.ts'
import { bodyOf, declareQueues, optionsOf, queueOf, workIn } from './wire.ts'

/** As the first page of a tutorial has it: each confirm awaited, one message at a time. */
export const naive: Client = {
  name: 'naive',
  promise: 'at least once',
  how: 'waitForConfirms after each, persistent, mandatory; prefetch 1, ack each after the handler; one queue',
  messages: 1_000,
  async open({ url, topic, keyed, groups }) {
    const connection = await connect(url)
    const channel = await connection.createConfirmChannel()
    const send = async (work: Parameters<typeof bodyOf>[0]): Promise<void> => {
      channel.publish(topic, keyed ? '0' : '', bodyOf(work), optionsOf(topic, work, keyed))
      await channel.waitForConfirms()
    }
    return {
      notes: [],
      declare: () => declareQueues(channel, { topic, keyed, groups }, 1),
      sendAll: inTurn(send),
      send,
      async consume(handle, group) {
        const receiving = await connect(url)
        const consumer = await receiving.createChannel()
        await consumer.prefetch(1)
        await consumer.consume(queueOf({ topic, keyed }, 0, group), async (message) => {
          if (message === null) return
          await handle(workIn(message.content))
          consumer.ack(message)
        })
        return {
          async close() {
            await consumer.close()
            await receiving.close()
          },
        }
      },
      close: () => connection.close(),
    }
  },
}

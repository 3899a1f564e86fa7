import { connect, connectAsync } from 'mqtt'
import type { Client } from '../../compare/client.ts'
import { inTurn } from '../../compare/in-turn.ts'
import { optionsOf, plainOptions, sessionOf, sessionOptions, topicOf, workIn } from './wire.ts'

/** As the first page of a tutorial has it: one publish awaited after the other, one message handled and acknowledged after the other. */
export const naive: Client = {
  name: 'naive',
  promise: 'at least once',
  how: 'publishAsync each awaited, QoS 1; handleMessage acknowledges after the handler, one by one; one topic',
  messages: 4_000,
  async open({ url, topic, keyed, groups }) {
    const client = await connectAsync(url, plainOptions)
    const to = topicOf(topic, 0)
    const send = async (work: Parameters<typeof optionsOf>[1]): Promise<void> => {
      await client.publishAsync(to, JSON.stringify(work), optionsOf(topic, work, keyed))
    }
    return {
      notes: [],
      async declare() {
        for (const group of groups) {
          const session = await connectAsync(url, sessionOptions(sessionOf(group, topic, 0), 100))
          await session.subscribeAsync(to, { qos: 1 })
          await session.endAsync()
        }
      },
      sendAll: inTurn(send),
      send,
      async consume(handle, group) {
        const reader = connect(url, sessionOptions(sessionOf(group, topic, 0), 100))
        reader.handleMessage = (packet, next) => {
          void Promise.resolve(handle(workIn(packet.payload))).then(
            () => next(),
            (error: Error) => next(error),
          )
        }
        await new Promise<void>((resolve) => reader.once('connect', () => resolve()))
        return { close: () => reader.endAsync() }
      },
      close: () => client.endAsync(),
    }
  },
}

import { connect, topic, unchecked } from '@posthorn/core'
import { feed } from '../feed.ts'
import type { Work } from '../messages.ts'
import type { Client } from './client.ts'

/** Posthorn on the broker that the URL names: what an application would write, with a schema that checks nothing, as the bare clients check nothing. */
export function posthornClient(how: string, messages: number): Client {
  return {
    name: 'posthorn',
    promise: 'at least once',
    how: `${how}; concurrency 16, maxUnsettled 1000, schema unchecked`,
    messages,
    async open({ url, topic: name, keyed, groups, concurrency, maxUnsettled }) {
      const notes: string[] = []
      const broker = await connect(url, {
        name: 'bench',
        log({ level, event, message }) {
          if (event === 'embedded-broker') return
          if ((level === 'warn' || level === 'error') && notes.length < 5) notes.push(message)
        },
      })
      const schema = unchecked<Work>()
      const work = keyed ? topic(name, { schema, key: ({ user }) => user, groups }) : topic(name, { schema, groups })
      const producer = broker.producer(work)
      return {
        notes,
        async declare() {
          await broker.declare(work)
        },
        sendAll: (count, make) => feed(producer, count, make),
        async send(value) {
          await producer.send(value)
        },
        consume: (handle, group) => broker.consume(work, { group, concurrency, maxUnsettled }, ({ value }) => handle(value)),
        close: () => broker.close(),
      }
    },
  }
}

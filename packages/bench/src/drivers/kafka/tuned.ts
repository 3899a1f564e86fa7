import type { Client, Handle, Place } from '../../compare/client.ts'
import type { Work } from '../../messages.ts'
import { clientOf, type Message, messageOf, producing, spreader, workIn } from './wire.ts'

// The client groups the messages of a send in a time that grows with their square, so a send has few.
const perSend = 500
const sends = 4

/** What kafkajs and the server give at most with the same guarantee: sends of 500, four on their way; batches, commits ten times a second. */
export const tuned: Client = {
  name: 'tuned',
  promise: 'at least once',
  how: `${perSend} messages per send, ${sends} in flight, acks all; eachBatch with 4 MiB fetches, partitions side by side, commits every 100 ms`,
  messages: 60_000,
  async open(place) {
    const kafka = clientOf(place.url)
    const producer = kafka.producer(producing)
    await producer.connect()
    const sender = createSender(place, (messages) => producer.send({ topic: place.topic, acks: -1, messages }))
    return {
      notes: [],
      async declare() {
        const admin = kafka.admin()
        await admin.connect()
        await admin.createTopics({ waitForLeaders: true, topics: [{ topic: place.topic, numPartitions: place.partitions }] })
        await admin.disconnect()
      },
      ...sender,
      consume: (handle, group) => consume(place, handle, group),
      close: () => producer.disconnect(),
    }
  },
}

function createSender({ topic, keyed, partitions }: Place, store: (messages: Message[]) => Promise<unknown>) {
  const spread = spreader(keyed, partitions)
  const form = (work: Work): Message => messageOf(topic, work, keyed, spread(work))

  async function sendAll(count: number, make: (n: number) => Work): Promise<void> {
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < count) {
        const messages: Message[] = []
        for (const end = Math.min(count, next + perSend); next < end; next++) messages.push(form(make(next)))
        await store(messages)
      }
    }
    await Promise.all(Array.from({ length: sends }, lane))
  }

  // One by one: leaves at once while there is room, and together with what came meanwhile where there is none.
  let inFlight = 0
  let waiting: { message: Message; resolve: () => void; reject: (error: unknown) => void }[] = []
  function flush(): void {
    if (waiting.length === 0 || inFlight >= sends) return
    const batch = waiting.slice(0, perSend)
    waiting = waiting.slice(perSend)
    inFlight++
    store(batch.map(({ message }) => message)).then(
      () => {
        inFlight--
        for (const each of batch) each.resolve()
        flush()
      },
      (error: unknown) => {
        inFlight--
        for (const each of batch) each.reject(error)
        flush()
      },
    )
  }
  function send(work: Work): Promise<void> {
    const message = form(work)
    return new Promise((resolve, reject) => {
      waiting.push({ message, resolve, reject })
      flush()
    })
  }
  return { sendAll, send }
}

async function consume({ url, topic, partitions }: Place, handle: Handle, group: string) {
  const consumer = clientOf(url).consumer({
    groupId: group + topic,
    sessionTimeout: 30_000,
    heartbeatInterval: 1000,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 4_194_304,
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 100,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: partitions,
    async eachBatch({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, isRunning, isStale }) {
      for (const message of batch.messages) {
        if (!isRunning() || isStale()) break
        const result = handle(workIn(message.value))
        if (result instanceof Promise) {
          await result
          await heartbeat()
        }
        resolveOffset(message.offset)
      }
      await commitOffsetsIfNecessary()
      await heartbeat()
    },
  })
  return { close: () => consumer.disconnect() }
}

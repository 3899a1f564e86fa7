import { connect, connectAsync, type IPublishPacket, type MqttClient, UniqueMessageIdProvider } from 'mqtt'
import { soon } from '../../clock.ts'
import type { Client, Handle, Place } from '../../compare/client.ts'
import { partitionOf } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'
import { optionsOf, plainOptions, sessionOf, sessionOptions, sessionsOf, topicOf, workIn } from './wire.ts'

// Publishes on their way at once: what the client gives most with.
const window = 1000
const held = new Error('held')

/** What mqtt.js gives at most with the same guarantee: a window of publishes refilled outside its callback; acknowledgements held and written together. */
export const tuned: Client = {
  name: 'tuned',
  promise: 'at least once',
  how: `QoS 1, window ${window}, refilled by promises; acknowledged after the handler in receive order, together per tick; a session per partition`,
  messages: 40_000,
  async open(place) {
    const { url, topic, partitions, keyed } = place
    const client = await connectAsync(url, { ...plainOptions, messageIdProvider: new UniqueMessageIdProvider() })
    const end = fatal(client)
    const topics = Array.from({ length: partitions }, (_, p) => topicOf(topic, p))
    let spread = 0
    const send = async (work: Work): Promise<void> => {
      const partition = keyed ? partitionOf(work.user, partitions) : spread++ % partitions
      await client.publishAsync(topics[partition] as string, JSON.stringify(work), optionsOf(topic, work, keyed))
    }
    return {
      notes: [],
      async declare() {
        for (const [index, id] of sessionsOf(place).entries()) {
          const session = await connectAsync(url, sessionOptions(id, 1))
          await session.subscribeAsync(topics[index % partitions] as string, { qos: 1 })
          await session.endAsync()
        }
      },
      async sendAll(count, make) {
        let next = 0
        const lane = async (): Promise<void> => {
          while (next < count) await send(make(next++))
        }
        await Promise.all(Array.from({ length: window }, lane))
      },
      send,
      consume: (handle, group) => consume(place, handle, group),
      close: end,
    }
  },
}

async function consume({ url, topic, partitions, maxUnsettled }: Place, handle: Handle, group: string) {
  const readers = await Promise.all(
    Array.from({ length: partitions }, (_, p) => open(connect(url, sessionOptions(sessionOf(group, topic, p), maxUnsettled)), handle)),
  )
  return {
    async close() {
      await Promise.all(readers.map((end) => end()))
    },
  }
}

/** Without a connection this client is of no use: its process ends, and whoever runs it starts it again. Returns what ends it well. */
function fatal(client: MqttClient): () => Promise<void> {
  let closing = false
  client.on('close', () => {
    if (!closing) throw new Error('the connection is lost')
  })
  return () => {
    closing = true
    return client.endAsync()
  }
}

async function open(reader: MqttClient, handle: Handle): Promise<() => Promise<void>> {
  let acks: number[] = []
  const flush = (): void => {
    const bytes = Buffer.allocUnsafe(acks.length * 4)
    let at = 0
    for (const id of acks) {
      bytes[at++] = 0x40
      bytes[at++] = 2
      bytes[at++] = id >> 8
      bytes[at++] = id & 255
    }
    acks = []
    reader.stream.write(bytes)
  }
  const acknowledge = ({ messageId }: IPublishPacket): void => {
    acks.push(messageId ?? 0)
    if (acks.length === 1) soon(flush)
  }
  // Messages of one partition one after the other where the handler takes its time, so that the order of keys is kept.
  let tail: Promise<void> | null = null
  reader.handleMessage = (packet, next) => {
    if (tail === null) {
      const result = handle(workIn(packet.payload))
      if (result instanceof Promise) tail = result.then(() => acknowledge(packet))
      else acknowledge(packet)
    } else
      tail = tail.then(async () => {
        await handle(workIn(packet.payload))
        acknowledge(packet)
      })
    next(held)
  }
  await new Promise<void>((resolve) => reader.once('connect', () => resolve()))
  return fatal(reader)
}

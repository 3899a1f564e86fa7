import { type Channel, connect } from 'amqplib'
import type { ComparedBroker, Place } from '../../compare/client.ts'
import { versionOf } from '../../versions.ts'
import { naive } from './naive.ts'
import { posthorn } from './posthorn.ts'
import { tuned } from './tuned.ts'
import { queueOf } from './wire.ts'

/** RabbitMQ with amqplib. */
export const rabbitmq: ComparedBroker = {
  name: 'rabbitmq',
  settings: () => Promise.resolve('durable quorum queues, persistent messages, confirms, mandatory'),
  partitions: { keyed: 4, unkeyed: 1 },
  // It writes and flushes before it confirms a persistent message of a quorum queue; it cannot do less without losing them.
  durabilities: [{ tier: 'disk', settings: [], says: 'quorum queues of one node, flushed before the confirm' }],
  restartedBy: 'SIGKILL',
  clients: [naive, tuned, posthorn],
  versions: () => ({ amqplib: versionOf('amqplib'), '@posthorn/rabbitmq': versionOf('@posthorn/rabbitmq') }),
  async unsettled(place) {
    let count = 0
    await eachQueue(place, async (channel, queue) => {
      // What a closing channel gives back is counted once the queue has it again.
      count += (await channel.checkQueue(queue)).messageCount
    })
    return count
  },
  async remove(place) {
    await eachQueue(place, async (channel, queue) => void (await channel.deleteQueue(queue)))
    const { topic } = place
    for (const group of place.groups) await apart(place, (channel) => channel.deleteQueue(`${topic}__${group}__members`))
    for (const name of [topic, ...place.groups.map((group) => `${topic}__${group}`), `${topic}__foreign__p${place.partitions}`])
      await apart(place, (channel) => channel.deleteExchange(name))
  },
}

async function eachQueue(place: Place, work: (channel: Channel, queue: string) => Promise<void>): Promise<void> {
  for (const group of place.groups)
    for (let p = 0; p < place.partitions; p++) await apart(place, (channel) => work(channel, queueOf(place, p, group)))
}

// A channel ends with its first refusal, as for a queue that a client does not have.
async function apart({ url }: Place, work: (channel: Channel) => Promise<unknown>): Promise<void> {
  const connection = await connect(url)
  connection.on('error', () => undefined)
  const channel = await connection.createChannel()
  channel.on('error', () => undefined)
  try {
    await work(channel)
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 404) throw error
  } finally {
    await connection.close()
  }
}

import type { Admin } from 'kafkajs'
import type { ComparedBroker, Place } from '../../compare/client.ts'
import { versionOf } from '../../versions.ts'
import { naive } from './naive.ts'
import { posthorn } from './posthorn.ts'
import { tuned } from './tuned.ts'
import { clientOf } from './wire.ts'
import { java } from './yardstick.ts'

/** Kafka with kafkajs. */
export const kafka: ComparedBroker = {
  name: 'kafka',
  settings: () => Promise.resolve('one node, one replica, acks all'),
  partitions: { keyed: 4, unkeyed: 16 },
  durabilities: [
    { tier: 'disk', settings: ['log.flush.interval.messages=1'], says: 'flushed before the answer (log.flush.interval.messages=1)' },
    { tier: 'process', settings: [], says: 'in the page cache before the answer, as it comes' },
  ],
  restartedBy: 'SIGKILL',
  clients: [naive, tuned, posthorn],
  yardsticks: [java],
  versions: () => ({ kafkajs: versionOf('kafkajs'), '@posthorn/kafka': versionOf('@posthorn/kafka') }),
  async unsettled(place) {
    return await using(place, async (admin) => {
      const ends = await admin.fetchTopicOffsets(place.topic)
      let most = 0
      // The bare clients' groups, or Posthorn's: those that have positions.
      for (const groupId of place.groups.flatMap((group) => [group + place.topic, `${place.topic}__${group}`])) {
        const [topic] = await admin.fetchOffsets({ groupId, topics: [place.topic] })
        const at = new Map(topic?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
        if (![...at.values()].some((offset) => offset >= 0)) continue
        for (const { partition, offset } of ends) most += Number(offset) - Math.max(0, at.get(partition) ?? 0)
      }
      return most
    })
  },
  async remove(place) {
    await using(place, async (admin) => {
      const names = (await admin.listTopics()).filter((name) => name === place.topic || name.startsWith(`${place.topic}__`))
      if (names.length > 0) await admin.deleteTopics({ topics: names })
    })
  },
}

async function using<T>({ url }: Pick<Place, 'url'>, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = clientOf(url).admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

import { Redis } from 'ioredis'
import type { ComparedBroker, Place } from '../../compare/client.ts'
import { versionOf } from '../../versions.ts'
import { naive } from './naive.ts'
import { posthorn } from './posthorn.ts'
import { tuned } from './tuned.ts'
import { streamOf } from './wire.ts'

/** Redis Streams with ioredis. */
export const redis: ComparedBroker = {
  name: 'redis',
  async settings(url) {
    return using({ url }, async (client) => {
      const answers = await Promise.all(['appendonly', 'appendfsync'].map((name) => client.config('GET', name)))
      return `streams; ${(answers as string[][]).map(([name, value]) => `${name} ${value}`).join(', ')}`
    })
  },
  partitions: { keyed: 4, unkeyed: 16 },
  durabilities: [
    { tier: 'disk', settings: ['appendfsync always'], says: 'appendfsync always' },
    { tier: 'process', settings: ['appendfsync everysec'], says: 'appendfsync everysec' },
  ],
  restartedBy: 'SIGKILL',
  clients: [naive, tuned, posthorn],
  versions: () => ({ ioredis: versionOf('ioredis'), '@posthorn/redis': versionOf('@posthorn/redis') }),
  async unsettled(place) {
    return using(place, async (client) => {
      let count = 0
      for (let p = 0; p < place.partitions; p++) {
        const stream = streamOf(place.topic, p)
        if ((await client.exists(stream)) === 0) continue
        for (const fields of (await client.xinfo('GROUPS', stream)) as (string | number | null)[][]) {
          const value = (name: string): number => Number(fields[fields.indexOf(name) + 1] ?? 0)
          if (place.groups.includes(String(fields[fields.indexOf('name') + 1]))) count += value('pending') + value('lag')
        }
      }
      return count
    })
  },
  async remove(place) {
    await using(place, async (client) => {
      let cursor = '0'
      do {
        const [next, keys] = await client.scan(cursor, 'MATCH', `{${place.topic}}*`, 'COUNT', 1000)
        if (keys.length > 0) await client.unlink(...keys)
        cursor = next
      } while (cursor !== '0')
    })
  },
}

async function using<T>({ url }: Pick<Place, 'url'>, work: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { maxRetriesPerRequest: 0 })
  try {
    return await work(client)
  } finally {
    client.disconnect()
  }
}

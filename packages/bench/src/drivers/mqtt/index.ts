import { connect, connectAsync } from 'mqtt'
import { sleep } from '../../clock.ts'
import type { ComparedBroker } from '../../compare/client.ts'
import { versionOf } from '../../versions.ts'
import { naive } from './naive.ts'
import { posthorn } from './posthorn.ts'
import { tuned } from './tuned.ts'
import { plainOptions, sessionOptions, sessionsOf } from './wire.ts'

/** MQTT 5 with mqtt.js. */
export const mqtt: ComparedBroker = {
  name: 'mqtt',
  async settings(url) {
    const client = await connectAsync(url, plainOptions)
    const version = await new Promise<string>((resolve) => {
      client.once('message', (_topic, payload) => resolve(payload.toString()))
      client.subscribe('$SYS/broker/version')
      void sleep(2000).then(() => resolve('a server that does not say which'))
    })
    await client.endAsync()
    return `QoS 1, stored sessions; ${version}`
  },
  partitions: { keyed: 4, unkeyed: 4 },
  // It confirms what it has in memory, and saves every second or two.
  durabilities: [{ tier: 'memory', settings: [], says: 'in memory at the PUBACK, saved every second or two' }],
  restartedBy: 'SIGTERM',
  clients: [naive, tuned, posthorn],
  versions: () => ({ mqtt: versionOf('mqtt'), '@posthorn/mqtt': versionOf('@posthorn/mqtt') }),
  // MQTT does not count: whoever connects as the session is sent what is in it.
  async unsettled(place) {
    let count = 0
    for (const session of sessionsOf(place)) {
      const reader = connect(place.url, { ...sessionOptions(session, 65_535) })
      reader.handleMessage = (_packet, next) => {
        count++
        next(new Error('held'))
      }
      await new Promise<void>((resolve) => reader.once('connect', () => resolve()))
      await sleep(20)
      await reader.endAsync()
    }
    return count
  },
  async remove(place) {
    const { url, topic, groups } = place
    for (const clientId of sessionsOf(place)) {
      const session = await connectAsync(url, { ...plainOptions, clientId })
      await session.endAsync()
    }
    const client = await connectAsync(url, plainOptions)
    for (const record of [...groups.map((group) => `posthorn/group/${group}/${topic}`), `posthorn/topic/${topic}`])
      await client.publishAsync(record, '', { qos: 1, retain: true })
    await client.endAsync()
  },
}

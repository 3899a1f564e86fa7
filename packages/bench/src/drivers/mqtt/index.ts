import { connect, connectAsync } from 'mqtt'
import { sleep } from '../../clock.ts'
import { type ComparedBroker, group } from '../../compare/client.ts'
import { versionOf } from '../../versions.ts'
import { naive } from './naive.ts'
import { posthorn } from './posthorn.ts'
import { tuned } from './tuned.ts'
import { plainOptions, sessionOf, sessionOptions } from './wire.ts'

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
  messages: { naive: 4000, tuned: 40_000, posthorn: 40_000 },
  clients: { naive, tuned, posthorn },
  versions: () => ({ mqtt: versionOf('mqtt'), '@posthorn/mqtt': versionOf('@posthorn/mqtt') }),
  // MQTT does not count: whoever connects as the session is sent what is in it.
  async unsettled({ url, topic, partitions }) {
    let count = 0
    for (let p = 0; p < partitions; p++) {
      const reader = connect(url, sessionOptions(topic, p, 65_535))
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
  async remove({ url, topic, partitions }) {
    for (let p = 0; p < partitions; p++) {
      const session = await connectAsync(url, { ...plainOptions, clientId: sessionOf(topic, p) })
      await session.endAsync()
    }
    const client = await connectAsync(url, plainOptions)
    for (const record of [`posthorn/group/${group}/${topic}`, `posthorn/topic/${topic}`])
      await client.publishAsync(record, '', { qos: 1, retain: true })
    await client.endAsync()
  },
}

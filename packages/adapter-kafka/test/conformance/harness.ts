// Kafka under the suite: a server of its own from the launcher, the adapter as a user whose rights can be taken away, and
// kafka-python on a listener of its own as the auditor.

import { randomBytes } from 'node:crypto'
import { type AuditorProcess, auditorProcess, auditorProgram } from '@posthorn/conformance/auditor'
import { type BrokerProcess, commandLineAt, type Harness, unsupported } from '@posthorn/conformance/harness'
import { kafkaWire } from '@posthorn/conformance/wires'
import { kafka } from '@posthorn/kafka'
import { pythonWith, type RunningBroker, startBroker, startKafkaCluster } from '../../../../tools/brokers/index.mjs'

const leaseMs = 6000
// A pulse every tenth of this is what an idle connection has for a heartbeat: silence is noticed within two of the suite's, of 2 s.
const requestTimeoutMs = 3500
const python = ['kafka-python==2.2.15']
const user = { name: 'posthorn', password: randomBytes(12).toString('hex') }

let running: RunningBroker | undefined
let cleaner: AuditorProcess | undefined
let names = 0

function current(): RunningBroker {
  if (running === undefined) throw new Error('the harness has no server yet: broker() comes first')
  return running
}

async function openAuditor(): Promise<AuditorProcess> {
  const broker = current()
  const external = broker.source === 'external'
  return await auditorProcess({
    python: await pythonWith(python),
    program: auditorProgram('kafka'),
    open: {
      url: `127.0.0.1:${external ? broker.port : broker.extra[0]}`,
      port: broker.port,
      ...(external ? {} : { user: user.name, password: user.password, rights: broker.command('configs') }),
    },
  })
}

/** `host:port`, or several. */
const authorityOf = (address: string): string => /^\w+:\/\/(?:[^@/?]*@)?([^/?]*)/.exec(address)?.[1] ?? ''

const harness: Harness = {
  // A server says where it is; a link of the suite is in between.
  adapter(address, options = {}) {
    const last = authorityOf(address).split(',').at(-1) ?? ''
    return kafka({ url: address, sessionTimeoutMs: leaseMs, requestTimeoutMs, reach: () => last, ...options })
  },

  tls: {
    address: (plain) => `${plain}${plain.includes('?') ? '&' : '?'}tls=true`,
    options: (ask) => ({ tls: ask }),
    unverified: { tls: { rejectUnauthorized: false } },
  },
  password: (ask) => ({ password: ask }),
  hosts: ([first = '', ...others]) => first.replace(authorityOf(first), [first, ...others].map(authorityOf).join(',')),
  existing(base) {
    const names = { topic: base, groupId: `${base}-service` }
    return { names, native: { kafka: { topic: names.topic, groupIds: { workers: names.groupId } } } }
  },
  async cluster() {
    const { nodes, url, stop } = await startKafkaCluster(3)
    return {
      address: url,
      options: { reach: undefined, replicas: 3 },
      nodes,
      async leader(topic, partition) {
        const text = (await nodes[0]?.control(['topics', '--describe', '--topic', topic])) ?? ''
        const id = new RegExp(`Partition: ${partition}\\s+Leader: (\\d+)`).exec(text)?.[1]
        if (id === undefined) throw new Error(`nobody leads partition ${partition} of ${topic}: ${text}`)
        return Number(id) - 1
      },
      stop,
    }
  },
  commandLine: commandLineAt(new URL('../../../cli/dist/main.js', import.meta.url)),
  golden: new URL('./golden/', import.meta.url),

  async isolate(clause) {
    const prefix = `${clause.toLowerCase()}-${(++names).toString(36)}.`
    return {
      name: (base) => prefix + base,
      async dispose() {
        cleaner ??= await openAuditor()
        await cleaner.call('clean', prefix)
      },
    }
  },

  auditor: openAuditor,

  async broker() {
    if (running === undefined) {
      running = process.env['POSTHORN_KAFKA_URL'] ? await startBroker('kafka') : await startBroker('kafka', { users: [user] })
    }
    return processOf(running)
  },
}

function processOf(broker: RunningBroker): BrokerProcess {
  return {
    title: broker.title,
    address: broker.source === 'external' ? broker.url : `${broker.url}?mechanism=scram-sha-256`,
    profile: broker.profile,
    recoverMs: 10_000,
    leaseMs,
    // A server answers the requests of a connection in turn, and a join waits for all members: a group has one connection to its
    // coordinator and two for reading, and so have the topic's delayed messages; one more is for what they send.
    connectionsPerConsumer: 7,
    wire: kafkaWire(),
    async start(options) {
      if (options?.advertise !== undefined) throw unsupported('the adapter is told where the server is reached')
      await broker.start()
    },
    signal: (signal) => broker.signal(signal),
    wipe: () => broker.wipe(),
    async stop() {
      running = undefined
      await cleaner?.close()
      cleaner = undefined
      await broker.stop()
    },
  }
}

export default harness

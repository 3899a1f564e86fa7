// Real servers by name, for tests, demo, benchmark and people. docs of each name: index.d.mts.
import { findKind } from './find.mjs'
import { hivemq, hivemqServer } from './hivemq.mjs'
import { startInstance } from './instance.mjs'
import { kafka, kafkaServer } from './kafka.mjs'
import { BrokerMissing } from './missing.mjs'
import { mqtt, mqttServer } from './mqtt.mjs'
import { rabbitmq, rabbitmqServer } from './rabbitmq.mjs'
import { redis, redisServer } from './redis.mjs'
import { answerText, redisCommands } from './resp.mjs'

export { startKafkaCluster } from './kafka-cluster.mjs'
export { BrokerMissing } from './missing.mjs'
export { LanguageMissing, polyglotProgram } from './programs.mjs'
export { pythonWith } from './python.mjs'
export { makeTls } from './tls.mjs'

const kinds = {
  redis: {
    find: redis,
    server: redisServer,
    control: async (url, args) => answerText(await redisCommands(url, [args])),
  },
  rabbitmq: {
    find: rabbitmq,
    server: rabbitmqServer,
    control: async () => {
      throw new Error('rabbitmqctl reaches only servers that were started here')
    },
  },
  kafka: {
    find: kafka,
    server: kafkaServer,
    control: async () => {
      throw new Error("Kafka's programs reach only servers that were started here")
    },
  },
  hivemq: {
    find: hivemq,
    server: hivemqServer,
    control: async () => {
      throw new Error('MQTT has no commands of administration')
    },
  },
  mqtt: {
    find: mqtt,
    server: mqttServer,
    control: async () => {
      throw new Error('MQTT has no commands of administration')
    },
  },
}

function kindOf(name) {
  if (Object.hasOwn(kinds, name)) return kinds[name]
  throw new BrokerMissing(name, [`there is no server of that name; known are ${Object.keys(kinds).join(', ')}`])
}

/** A server that somebody else runs: usable, and never started, wiped or killed by us. */
function external(name, kind, found) {
  const refuse = (what) => async () => {
    throw new Error(`${found.title} at the address of the environment is not ours: it is not ${what}`)
  }
  return {
    name,
    title: found.title,
    version: found.version,
    source: 'external',
    url: found.url,
    port: Number(new URL(found.url).port),
    profile: found.profile,
    pid: undefined,
    extra: [],
    command: () => [],
    folder: '',
    start: async () => {},
    signal: refuse('signalled'),
    wipe: refuse('wiped'),
    control: (args) => kind.control(found.url, args),
    stop: async () => {},
  }
}

export async function startBroker(name, options = {}) {
  const kind = kindOf(name)
  const found = await findKind(kind.find)
  if (found.source === 'external') {
    const asked = Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([key]) => key)
    if (asked.length > 0) throw new BrokerMissing(name, [`the server of the environment is taken as it is, without ${asked.join(', ')}`])
    return external(name, kind, found)
  }
  if (found.source === 'docker') {
    const { startContainer } = await import('./container.mjs')
    return await startContainer(kind, found, options)
  }
  const { port, ...rest } = options
  return await startInstance(kind.server(found, rest), { port })
}

export async function findBroker(name) {
  try {
    const { title, source } = await findKind(kindOf(name).find)
    return { available: true, title, source }
  } catch (error) {
    return { available: false, reason: error instanceof BrokerMissing ? error.message : `${name}: ${error.message}` }
  }
}

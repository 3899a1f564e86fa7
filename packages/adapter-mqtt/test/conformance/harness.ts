// MQTT under the suite: Mosquitto from the launcher, the adapter as a user whose rights can be taken away, and paho as the auditor,
// which also reads the server's own store and log. With POSTHORN_MQTT_SERVER=hivemq it is HiveMQ instead, of which nobody sees more
// than any client does: what the auditor cannot tell there is not proven there.

import { randomBytes } from 'node:crypto'
import { auditorProcess, auditorProgram } from '@posthorn/conformance/auditor'
import { type BrokerProcess, commandLineAt, type Harness, unsupported } from '@posthorn/conformance/harness'
import { mqttWire } from '@posthorn/conformance/wires'
import { mqtt } from '@posthorn/mqtt'
import { pythonWith, type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'

const keepAliveMs = 2000
/** Silence until the server ends a connection, and how long it waits before it tells the others. */
const leaseMs = keepAliveMs * 1.5 + 2000
const python = ['paho-mqtt==2.1.0']
const user = 'posthorn'

interface Running {
  readonly broker: RunningBroker
  /** The adapter's, and the auditor's. */
  readonly mine: string
  readonly password: string
}
let running: Running | undefined
let names = 0

function current(): Running {
  if (running === undefined) throw new Error('the harness has no server yet: broker() comes first')
  return running
}

async function openAuditor(): Promise<Awaited<ReturnType<typeof auditorProcess>>> {
  const { broker, mine, password } = current()
  const own = broker.source !== 'external' && broker.name === 'mqtt'
  return await auditorProcess({
    python: await pythonWith(python),
    program: auditorProgram('mqtt'),
    open: {
      url: own ? `mqtt://auditor:${password}@127.0.0.1:${broker.port}` : broker.url,
      user: own ? user : undefined,
      password: own ? mine : undefined,
      folder: own ? broker.folder : undefined,
    },
  })
}

const harness: Harness = {
  unmet: {
    'NET-4':
      'with 200 ms each way nothing is lost; MQTT servers say nothing by themselves, so answers that suddenly take 4 s cannot be told from a silent way, which NET-2 wants noticed within 4 s',
  },

  adapter: (address, options = {}) => mqtt({ url: address, keepAliveMs, ...options }),

  tls: {
    address: (plain) => plain.replace('mqtt:', 'mqtts:'),
    options: (ask) => ({ tls: ask }),
  },
  password: (ask) => ({ password: ask }),
  commandLine: commandLineAt(new URL('../../../cli/dist/main.js', import.meta.url)),
  golden: new URL('./golden/', import.meta.url),

  async isolate(clause) {
    const prefix = `${clause.toLowerCase()}-${(++names).toString(36)}`
    return {
      name: (base) => `${prefix}.${base}`,
      // Each clause has names of its own, and what it left behind disturbs none.
      dispose: async () => {},
    }
  },

  auditor: openAuditor,

  async broker() {
    running ??= await startServer()
    return processOf(running.broker)
  },
}

/** A server with two users: one for the adapter, whose rights clauses change, and one for the auditor. */
async function startServer(): Promise<Running> {
  const [mine, password] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')]
  if (process.env['POSTHORN_MQTT_SERVER'] === 'hivemq') return { broker: await startBroker('hivemq'), mine, password }
  if (process.env['POSTHORN_MQTT_URL']) return { broker: await startBroker('mqtt'), mine, password }
  const users = [
    { name: user, password: mine },
    { name: 'auditor', password, tags: ['administrator'] },
  ]
  const settings = ['log_dest file audit.log', 'log_type all', 'pid_file server.pid']
  return { broker: await startBroker('mqtt', { users, settings }), mine, password }
}

function processOf(broker: RunningBroker): BrokerProcess {
  return {
    title: broker.title,
    address: broker.url,
    profile: broker.profile,
    recoverMs: 5000,
    leaseMs,
    // A control connection, one per partition, one for retries, one that moves delayed messages.
    connectionsPerConsumer: 7,
    // Mosquitto 2.0: a window more for each acknowledgement while it works off a backlog. The adapter does not read on (M12 of the live tests).
    overrunsWindow: broker.name === 'mqtt',
    wire: mqttWire(),
    async start(options) {
      if (options?.advertise !== undefined) throw unsupported('MQTT tells nobody an address')
      await broker.start()
    },
    signal: (signal) => broker.signal(signal),
    wipe: () => broker.wipe(),
    async stop() {
      running = undefined
      await broker.stop()
    },
  }
}

export default harness

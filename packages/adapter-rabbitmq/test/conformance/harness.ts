// RabbitMQ under the suite: a server of its own from the launcher, the adapter as a user whose rights can be taken away, and pika
// with an inspector inside the node as the auditor.

import { randomBytes } from 'node:crypto'
import { auditorProcess, auditorProgram } from '@posthorn/conformance/auditor'
import { type BrokerProcess, commandLineAt, type Harness, unsupported } from '@posthorn/conformance/harness'
import { amqpWire } from '@posthorn/conformance/wires'
import { rabbitmq } from '@posthorn/rabbitmq'
import { pythonWith, type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { askInspector, type Inspector, inspectorBack, loadInspector } from './inspector.ts'

// The server cuts a client that is silent for two heartbeats, and looks every half of one: its messages are elsewhere by then.
const heartbeatMs = 2000
const leaseMs = 3 * heartbeatMs
const python = ['pika==1.3.2']
const vhost = 'suite'
const user = { name: 'posthorn', password: randomBytes(12).toString('hex') }
const auditing = { name: 'auditor', password: randomBytes(12).toString('hex'), tags: ['administrator'] }

interface Running {
  readonly broker: RunningBroker
  readonly external: boolean
  /** Missing where the server is not ours. */
  readonly inspector: Inspector | undefined
}
let running: Running | undefined
let names = 0

function current(): Running {
  if (running === undefined) throw new Error('the harness has no server yet: broker() comes first')
  return running
}

const harness: Harness = {
  adapter: (address, options = {}) => rabbitmq({ url: address, heartbeatMs, balanceMs: 1000, ...options }),

  tls: {
    address: (plain) => plain.replace('amqp:', 'amqps:'),
    options: (ask) => ({ tls: ask }),
    unverified: { tls: { rejectUnauthorized: false } },
  },
  password: (ask) => ({ password: ask }),
  /** One user and virtual host, several `host:port`. */
  hosts([first = '', ...others]) {
    const authority = (url: string): string => /@([^/]+)/.exec(url)?.[1] ?? ''
    return first.replace(authority(first), [first, ...others].map(authority).join(','))
  },
  existing(base) {
    const names = { exchange: base, queue: `${base}.queue`, routingKey: 'order.placed' }
    return { names, native: { rabbitmq: { ...names, declare: false } } }
  },
  commandLine: commandLineAt(new URL('../../../cli/dist/main.js', import.meta.url)),
  golden: new URL('./golden/', import.meta.url),

  async isolate(clause) {
    const prefix = `${clause.toLowerCase()}-${(++names).toString(36)}.`
    return {
      name: (base) => prefix + base,
      async dispose() {
        const { inspector } = current()
        if (inspector === undefined) return
        for (const [list, remove] of [
          ['queues', 'delete'],
          ['exchanges', 'delete_exchanges'],
        ] as const) {
          const all = (await askInspector(inspector, list, vhost)) as readonly string[]
          const mine = all.filter((name) => name.startsWith(prefix))
          if (mine.length > 0) await askInspector(inspector, remove, vhost, mine)
        }
      },
    }
  },

  async auditor() {
    const { broker, external, inspector } = current()
    const url = external ? broker.url : `amqp://${auditing.name}:${auditing.password}@127.0.0.1:${broker.port}/${vhost}`
    return await auditorProcess({
      python: await pythonWith(python),
      program: auditorProgram('rabbitmq'),
      open: { url, ...(external ? {} : { user: user.name, password: user.password, vhost }), inspector },
    })
  },

  async broker() {
    running ??= await startServer()
    return processOf(running)
  },
}

async function startServer(): Promise<Running> {
  if (process.env['POSTHORN_RABBITMQ_URL']) return { broker: await startBroker('rabbitmq'), external: true, inspector: undefined }
  const settings = ['collect_statistics = fine']
  const broker = await startBroker('rabbitmq', { users: [user, auditing], vhosts: [vhost], settings })
  return { broker, external: false, inspector: await loadInspector(broker) }
}

function processOf(server: Running): BrokerProcess {
  const { broker } = server
  let down = false
  async function up(): Promise<void> {
    await broker.start()
    if (down && server.inspector !== undefined) await inspectorBack(server.inspector, vhost)
    down = false
  }
  return {
    title: broker.title,
    address: broker.url,
    profile: broker.profile,
    recoverMs: 10_000,
    leaseMs,
    // An acknowledgement has no answer: the adapter asks for one with basic.qos. Looking at a standard exchange is its sign of life.
    wire: amqpWire({ methods: { 'basic.qos': 'settle', 'exchange.declare passive': 'renew' } }),
    async start(options) {
      if (options?.advertise !== undefined) throw unsupported('RabbitMQ tells nobody an address')
      await up()
    },
    async signal(signal) {
      if (signal === 'SIGTERM' || signal === 'SIGKILL') down = true
      // Queues that are younger than half a second die with the server whatever a client does: their names are not on the disk yet.
      // That is known of RabbitMQ and proves nothing about the adapter, so what is killed here has written them.
      if (signal === 'SIGKILL' && server.inspector !== undefined) await askInspector(server.inspector, 'sync').catch(() => {})
      await broker.signal(signal)
    },
    /** The virtual host goes with all that is in it, connections included, and there is an empty one of the same name. */
    async wipe() {
      if (server.inspector === undefined) throw unsupported('a server that is not ours is not wiped')
      await up()
      await askInspector(server.inspector, 'empty', vhost, [user.name, auditing.name])
    },
    async stop() {
      running = undefined
      await broker.stop()
    },
  }
}

export default harness

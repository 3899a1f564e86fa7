// Redis Streams under the suite: a server of its own from the launcher, the adapter as a user whose rights can be taken away, and
// redis-py as the auditor.

import { randomBytes } from 'node:crypto'
import { auditorProcess, auditorProgram } from '@posthorn/conformance/auditor'
import { type BrokerProcess, commandLineAt, type Harness, type Operation, unsupported } from '@posthorn/conformance/harness'
import { redisWire } from '@posthorn/conformance/wires'
import { redis } from '@posthorn/redis'
import { pythonWith, type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { type ScriptName, scripts } from '../../src/scripts.ts'

const leaseMs = 6000
const python = ['redis==6.4.0']
const user = 'posthorn'

/** What each script asks of the server, in the suite's words. */
const operations: Readonly<Record<ScriptName, Operation>> = {
  publish: 'publish',
  store: 'publish',
  declare: 'declare',
  join: 'subscribe',
  cast: 'subscribe',
  step: 'renew',
  promote: 'renew',
  trim: 'renew',
  leave: 'leave',
  read: 'read',
  again: 'read',
  due: 'read',
  castRead: 'read',
  settle: 'settle',
  settleRetry: 'settle',
  forward: 'settle',
  release: 'release',
  browse: 'browse',
  remove: 'remove',
  inspect: 'inspect',
}
const byHash: Readonly<Record<string, Operation>> = Object.fromEntries(
  Object.entries(operations).map(([name, operation]) => [scripts[name as ScriptName].sha, operation]),
)

interface Running {
  readonly broker: RunningBroker
  /** The adapter's, and the auditor's. */
  readonly own: string
  readonly password: string
}
let running: Running | undefined
let names = 0

function current(): Running {
  if (running === undefined) throw new Error('the harness has no server yet: broker() comes first')
  return running
}

const harness: Harness = {
  adapter: (address, options = {}) => redis({ url: address, leaseMs, ...options }),

  tls: {
    address: (plain) => plain.replace('redis:', 'rediss:'),
    options: (ask) => ({ tls: ask }),
  },
  password: (ask) => ({ password: ask }),
  commandLine: commandLineAt(new URL('../../../cli/dist/main.js', import.meta.url)),
  golden: new URL('./golden/', import.meta.url),

  async isolate(clause) {
    const prefix = `${clause.toLowerCase()}-${(++names).toString(36)}`
    return {
      name: (base) => `${prefix}.${base}`,
      async dispose() {
        const script = "for _,k in ipairs(redis.call('KEYS',ARGV[1])) do redis.call('UNLINK',k) end"
        await current().broker.control(['EVAL', script, '0', `{${prefix}.*`])
      },
    }
  },

  async auditor() {
    const { broker, own, password } = current()
    const mine = broker.source === 'external' ? undefined : { user, password: own }
    const url = mine === undefined ? broker.url : `redis://auditor:${password}@127.0.0.1:${broker.port}`
    return await auditorProcess({
      python: await pythonWith(python),
      program: auditorProgram('redis'),
      open: { url, ...mine, scripts: byHash },
    })
  },

  async broker() {
    running ??= await startServer()
    return processOf(running.broker)
  },
}

/** A server with two users: one for the adapter, whose rights clauses change, and one for the auditor. */
async function startServer(): Promise<Running> {
  const [own, password] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')]
  if (process.env['POSTHORN_REDIS_URL']) return { broker: await startBroker('redis'), own, password }
  const users = [
    { name: user, password: own },
    { name: 'auditor', password },
  ]
  return { broker: await startBroker('redis', { users }), own, password }
}

function processOf(broker: RunningBroker): BrokerProcess {
  return {
    title: broker.title,
    address: broker.url,
    profile: broker.profile,
    recoverMs: 5000,
    leaseMs,
    wire: redisWire({ scripts: byHash }),
    async start(options) {
      if (options?.advertise !== undefined) throw unsupported('Redis tells nobody an address')
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

// The harness of the embedded broker: it plays the broker process, the links and virtual time, so that every clause that needs no
// bytes, processes or other languages runs in milliseconds.

import { type MemoryProfile, type MemoryServer, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import type { Auditor, BrokerProcess, Harness, SimulatedLink } from './harness.ts'
import { seeded } from './random.ts'

/** Which server the embedded broker behaves like. */
export interface MemoryHarnessOptions {
  /** Which manifest to claim. @default 'default' */
  readonly profile?: MemoryProfile | undefined
}
const leaseMs = 6000
let made = 0

/** See the file. The broker's profile is durable: what was stored survives every crash. */
export function memoryHarness(options: MemoryHarnessOptions = {}): Harness {
  const servers = new Map<string, MemoryServer>()
  const serverAt = (address: string): MemoryServer => {
    const server = servers.get(address)
    if (server === undefined) throw new Error(`no embedded broker has the address ${address}`)
    return server
  }
  return {
    adapter: (address, given = {}) => memory({ server: serverAt(address), ...given }),
    async isolate(clause) {
      const prefix = clause.toLowerCase()
      return { name: (base) => `${prefix}.${base}`, async dispose() {} }
    },
    async auditor(address) {
      return auditorOf(serverAt(address))
    },
    async broker(seed) {
      const clock = virtualClock()
      const server = memoryServer({
        profile: options.profile ?? 'default',
        leaseMs,
        heartbeatMs: 2000,
        replyMs: 5000,
        clock,
        random: seeded(seed),
      })
      const address = `memory:suite-${++made}`
      servers.clear()
      servers.set(address, server)
      return brokerOf(address, server, clock)
    },
  }
}

function brokerOf(address: string, server: MemoryServer, clock: ReturnType<typeof virtualClock>): BrokerProcess {
  return {
    title: 'embedded broker',
    address,
    profile: 'durable',
    recoverMs: 5000,
    leaseMs,
    async start() {
      if (server.state === 'down') server.start()
    },
    async signal(signal) {
      server.signal(signal)
    },
    async wipe() {
      server.wipe()
    },
    simulation: { clock, link: (instance): SimulatedLink => server.link(instance) },
  }
}

function auditorOf(server: MemoryServer): Auditor {
  return {
    write: async (topic, message) => server.write(topic, message),
    read: async (place) => server.read(place),
    unsettled: async (topic, group) => server.unsettled(topic, group),
    remaining: async (topic, group) => server.remaining(topic, group),
    positions: async (topic, group) => server.position(topic, group),
    owners: async (topic, group) => server.owners(topic, group),
    members: async (topic, group) => server.members(topic, group),
    settles: async (topic, group) => server.settles(topic, group),
    async exists(topic) {
      try {
        server.read({ topic, role: 'main', group: null })
        return true
      } catch {
        return false
      }
    },
    async deny(operation, topic) {
      server.deny(operation, topic)
    },
    async allow() {
      server.allow()
    },
    async remove(what) {
      server.remove(what)
    },
    async trim(topic, partition) {
      server.trim(topic, partition)
    },
    async expel(instance) {
      server.expel(instance)
    },
    async counters() {
      const { connections, requests, dropped } = server.stats()
      return { connections, requests, dropped }
    },
    async close() {},
  }
}

/** The default profile, for child processes and for `--harness`. */
const harness: Harness = memoryHarness()

export { harness as default }

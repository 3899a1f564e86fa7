// The four things that the conformance suite asks of an adapter's author. It may not use the adapter's code: this one looks
// straight into the server, and what the server cannot do is `unsupported`, so those clauses are printed as not proven.

import { type Harness, type SimulatedLink, type StoredMessage, unsupported } from '@posthorn/conformance'
import { virtualClock } from '@posthorn/core/testing'
import { logAdapter } from './src/adapter.ts'
import { LogServer, maxRecordBytes } from './src/log-server.ts'

const servers = new Map<string, LogServer>()
let made = 0

function serverAt(address: string): LogServer {
  const server = servers.get(address)
  if (server === undefined) throw new Error(`there is no server at ${address}`)
  return server
}
const noLink = (): never => {
  throw unsupported('the server is in this process: there is no connection to disturb')
}
const noUsers = async (): Promise<never> => {
  throw unsupported('the server has no users and no rights')
}
const nameOf = (topic: string, role: string, group: string | null): string =>
  [topic, ...(group === null ? [] : [group]), ...(role === 'main' ? [] : [role])].join('__')

const harness: Harness = {
  adapter: (address) => logAdapter(serverAt(address)),

  async isolate(clause) {
    return { name: (base) => `${clause.toLowerCase()}.${base}`, async dispose() {} }
  },

  async auditor(address) {
    const server = serverAt(address)
    const groupOf = (topic: string, group: string) => server.group(`${topic}__${group}`)
    const sum = (topic: string, group: string, field: 'settled' | 'handedOut' | 'repeated'): number =>
      groupOf(topic, group).slots.reduce((total, slot) => total + slot[field], 0)
    let turn = 0
    return {
      async write(topic, message) {
        if (message.undecodable !== undefined) throw unsupported('a record is a key and bytes: there is none that cannot be read')
        if ((message.body?.length ?? 0) > maxRecordBytes) throw unsupported('the server takes no such giant from anybody')
        const partition = message.partition ?? turn++ % server.log(topic).length
        return `${partition}:${server.append(topic, partition, { key: message.key ?? null, value: message.body })}`
      },
      async read({ topic, role, group }) {
        const name = nameOf(topic, role, group)
        const none = {
          id: null,
          time: null,
          expiresAt: null,
          attributes: {},
          headers: null,
          transport: null,
          undecodable: null,
          dueAt: null,
        }
        if (role === 'dead') {
          return server
            .page(name, null, 1_000_000)
            .entries.map(
              ({ name: position, record: { key, value } }): StoredMessage => ({ ...none, partition: 0, position, key, body: value }),
            )
        }
        // What a group has retried and finished is dead weight, to be cut off some day.
        const kept = (partition: number): number =>
          role === 'retry' && group !== null
            ? (groupOf(topic, group).slots.find((slot) => slot.log === name && slot.partition === partition)?.position ?? 0)
            : 0
        return server
          .log(name)
          .flatMap((list, partition) =>
            list
              .map(
                ({ key, value }, offset): StoredMessage => ({ ...none, partition, position: `${partition}:${offset}`, key, body: value }),
              )
              .slice(kept(partition)),
          )
      },
      unsettled: async (topic, group) => server.count(`${topic}__${group}`).unsettled,
      async remaining(topic, group) {
        const { backlog, unsettled } = server.count(`${topic}__${group}`)
        return backlog + unsettled
      },
      positions: async (topic, group) =>
        groupOf(topic, group)
          .slots.filter(({ log }) => log === topic)
          .map(({ position }) => position),
      async owners(topic, group) {
        const owned = groupOf(topic, group).slots.filter(({ log, grant }) => log === topic && grant !== null)
        return new Map(owned.map(({ partition, grant }) => [partition, grant?.member.client ?? '']))
      },
      members: async (topic, group) => groupOf(topic, group).members.map(({ client }) => client),
      settles: async (topic, group) => ({
        settled: sum(topic, group, 'settled'),
        stale: groupOf(topic, group).stale,
        handedOut: sum(topic, group, 'handedOut'),
        repeated: sum(topic, group, 'repeated'),
      }),
      exists: async (topic) => server.logs.has(topic),
      deny: noUsers,
      async allow() {},
      async remove() {
        throw unsupported('the server deletes nothing')
      },
      async trim() {
        throw unsupported('the server keeps everything')
      },
      async expel() {
        throw unsupported('the server has no administrator')
      },
      async counters() {
        return { connections: server.clients.size, requests: { ...server.requests }, dropped: 0 }
      },
      async close() {},
    }
  },

  async broker() {
    const clock = virtualClock()
    const server = new LogServer((ms, run) => clock.timer(ms, run))
    const address = `log:${++made}`
    servers.clear()
    servers.set(address, server)
    const link = (instance: string): SimulatedLink => ({
      connected: true,
      withheld: 0,
      open: () => 0,
      // It is opened once, and nothing can end it but the process.
      connects: () => [0],
      heal() {},
      kill: () => server.disconnect(instance),
      cut: noLink,
      refuse: noLink,
      silence: noLink,
      delay: noLink,
      throttle: noLink,
      withhold: noLink,
      freeze: noLink,
      thaw: noLink,
    })
    return {
      title: 'log server in this process',
      address,
      profile: 'volatile',
      recoverMs: 1000,
      leaseMs: 1000,
      async start() {},
      async signal() {
        throw unsupported('the server is no process of its own')
      },
      async wipe() {
        throw unsupported('the server deletes nothing')
      },
      simulation: { clock, link },
    }
  },
}

export { harness as default }

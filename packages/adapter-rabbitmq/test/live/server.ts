// A real server for the tests of one file, and a plain client beside the adapter.

import { type Broker, type ConnectOptions, connect as connectCore, topic as defineTopic, unchecked } from '@posthorn/core'
import { type RabbitmqOptions, rabbitmq } from '@posthorn/rabbitmq'
import { type Channel, type ChannelModel, connect as connectPlain } from 'amqplib'
import { afterAll, beforeAll, describe } from 'vitest'
import { type BrokerOptions, findBroker, type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'

export interface Order {
  readonly n: number
  readonly k: string
}

/** What the tests of one file share. */
export interface Live {
  readonly server: RunningBroker
  /** A connection of the plain client, for what people do to a server. */
  admin(): Promise<ChannelModel>
  /** Runs on a channel of the plain client that is thrown away. */
  plain<T>(run: (channel: Channel) => Promise<T>): Promise<T>
  /** A broker object, closed after the test. */
  connect(options?: RabbitmqOptions, more?: ConnectOptions): Promise<Broker>
  /** Closes what the test opened. */
  reset(): Promise<void>
}

const found = await findBroker('rabbitmq')

/** Tests against a server of their own; skipped, and said so, where there is none. */
export function live(name: string, options: BrokerOptions, tests: (live: Live) => void): void {
  const title = found.available ? `${name} (${found.title})` : `${name} (skipped: ${found.reason})`
  describe.skipIf(!found.available)(title, { timeout: 60_000 }, () => {
    let server: RunningBroker | undefined
    let adminOf: ChannelModel | undefined
    const open = new Set<Broker>()
    const shared: Live = {
      get server() {
        if (server === undefined) throw new Error('the server is not started yet')
        return server
      },
      async admin() {
        if (adminOf !== undefined) return adminOf
        const made = await connectPlain(shared.server.url)
        made.on('error', () => {})
        made.on('close', () => {
          adminOf = undefined
        })
        adminOf = made
        return made
      },
      async plain(run) {
        const channel = await (await shared.admin()).createChannel()
        channel.on('error', () => {})
        try {
          return await run(channel)
        } finally {
          await Promise.resolve()
            .then(() => channel.close())
            .catch(() => {})
        }
      },
      async connect(changes = {}, more = {}) {
        const broker = await connectCore(rabbitmq({ url: shared.server.url, heartbeatMs: 2000, balanceMs: 300, ...changes }), {
          log: false,
          ...more,
        })
        open.add(broker)
        return broker
      },
      async reset() {
        await Promise.all([...open].map((broker) => broker.close({ drainMs: 2000 })))
        open.clear()
      },
    }
    beforeAll(async () => {
      server = await startBroker('rabbitmq', options)
    }, 200_000)
    afterAll(async () => {
      await shared.reset()
      await adminOf?.close().catch(() => {})
      await server?.stop()
    }, 60_000)
    tests(shared)
  })
}

let made = 0

/** A topic of its own, keyed by `k`. */
export const keyed = (options: { readonly groups?: readonly string[]; readonly partitions?: number } = {}) =>
  defineTopic(`keyed-${++made}.${process.pid}`, { schema: unchecked<Order>(), key: (order) => order.k, groups: ['email'], ...options })

/** A topic of its own without keys. */
export const unkeyed = (options: { readonly groups?: readonly string[] } = {}) =>
  defineTopic(`plain-${++made}.${process.pid}`, { schema: unchecked<Order>(), groups: ['email'], ...options })

/** So many orders of so many keys. */
export const orders = (count: number, keys = 8, from = 0): readonly Order[] =>
  Array.from({ length: count }, (_, index) => ({ n: from + index, k: `k${(from + index) % keys}` }))

// What goes wrong around a server, as an application meets it: one clear error, nothing lost, other topics untouched, and all is
// well again without a restart. Real servers; without one the tests are skipped, and say why.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canary, until, type Witness, witness } from '@posthorn/conformance/live'
import { type Broker, type ConnectOptions, connect, topic, unchecked } from '@posthorn/core'
import { type MqttOptions, mqtt } from '@posthorn/mqtt'
import mqttjs from 'mqtt'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type BrokerOptions,
  findBroker,
  makeTls,
  type RunningBroker,
  startBroker,
  type TlsFiles,
} from '../../../../tools/brokers/index.mjs'

interface Order {
  readonly n: number
  readonly text?: string
}

const found = await findBroker('mqtt')
const where = found.available ? found.title : `skipped: ${found.reason}`
const skip = !found.available
const boss = 'boss-password'

let made = 0
let server: RunningBroker
let seen: Witness
const open: Broker[] = []

const jobs = (name: string, maxBytes = 1_048_576) =>
  topic(`${name}-${++made}`, { schema: unchecked<Order>(), groups: ['workers'], maxBytes })

type Jobs = ReturnType<typeof jobs>

async function connected(options: MqttOptions = {}, more: ConnectOptions = {}): Promise<Broker> {
  const broker = await connect(mqtt({ url: server.url, keepAliveMs: 1000, ...options }), { ...seen.options, ...more })
  open.push(broker)
  return broker
}

function onServer(title: string, options: () => BrokerOptions, tests: () => void): void {
  describe.skipIf(skip)(`${title} (${where})`, { timeout: 60_000 }, () => {
    beforeAll(async () => {
      server = await startBroker('mqtt', options())
    }, 120_000)
    afterAll(async () => {
      await server?.stop()
    }, 30_000)
    beforeEach(() => {
      seen = witness()
    })
    afterEach(async () => {
      await Promise.all(open.splice(0).map((broker) => broker.close({ drainMs: 1000 })))
      seen.sawNoSecret()
    })
    tests()
  })
}

/** Handles everything and keeps the numbers. */
async function collect(broker: Broker, from: Jobs): Promise<number[]> {
  const numbers: number[] = []
  await broker.consume(from, { group: 'workers' }, ({ value }) => void numbers.push(value.n))
  return numbers
}

const sendAll = (broker: Broker, to: Jobs, from: number, count: number): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, (_, n) => broker.producer(to).send({ n: from + n })))
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n)
const sorted = (numbers: readonly number[]): number[] => [...new Set(numbers)].sort((a, b) => a - b)

/** Tells the server's own plugin what to change. */
async function administer(...commands: readonly object[]): Promise<void> {
  const client = await mqttjs.connectAsync(`mqtt://boss:${boss}@127.0.0.1:${server.port}`, { protocolVersion: 5, reconnectPeriod: 0 })
  const answered = new Promise((resolve) => client.once('message', resolve))
  await client.subscribeAsync('$CONTROL/dynamic-security/v1/response')
  await client.publishAsync('$CONTROL/dynamic-security/v1', JSON.stringify({ commands }), { qos: 1 })
  await answered
  await client.endAsync()
}

onServer(
  'a server with users',
  () => ({
    users: [
      { name: 'posthorn', password: canary },
      { name: 'boss', password: boss, tags: ['administrator'] },
    ],
  }),
  () => {
    it('tells a wrong password at once, and does not show it', async () => {
      const began = performance.now()
      const error = await seen.refusal(connected({ password: `${canary}!` }))
      expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(performance.now() - began).toBeLessThan(3000)
    })

    it('tells that a password is needed', async () => {
      const error = await seen.refusal(connected({ url: `mqtt://127.0.0.1:${server.port}` }))
      expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
    })

    it('goes on by itself when the user who was locked out may come in again', async () => {
      const broker = await connected()
      const orders = jobs('locked')
      await broker.declare(orders)
      const numbers = await collect(broker, orders)
      await sendAll(broker, orders, 0, 10)
      await administer({ command: 'disableClient', username: 'posthorn' })
      await until('it is known', () => seen.statuses.includes('recovering'))
      const during = broker.producer(orders, { timeoutMs: 30_000 }).send({ n: 10 })
      await administer({ command: 'enableClient', username: 'posthorn' })
      await during
      await sendAll(broker, orders, 11, 10)
      await until('all are handled', () => sorted(numbers).length === 21)
      expect(sorted(numbers)).toEqual(upTo(21))
    })

    it('tells that a right on one topic is missing, serves the others, and goes on when it is given', async () => {
      const mine = jobs('mine')
      const theirs = jobs('theirs')
      const broker = await connected()
      await broker.declare([mine, theirs])
      const rule = { rolename: 'posthorn', acltype: 'publishClientSend', topic: `${theirs.name}/+` }
      await administer({ command: 'addRoleACL', ...rule, priority: 5, allow: false })
      const refused = await seen.refusal(broker.producer(theirs, { timeoutMs: 20_000 }).send({ n: 0 }))
      // What was under way when the server dropped us stays unknown.
      expect(refused).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(refused.message).toContain(theirs.name)
      const numbers = await collect(broker, mine)
      await sendAll(broker, mine, 0, 20)
      await until('the other topic is served', () => sorted(numbers).length === 20)
      await administer({ command: 'removeRoleACL', ...rule })
      const more = await collect(broker, theirs)
      await sendAll(broker, theirs, 0, 5)
      await until('it is served now', () => sorted(more).length === 5)
    })

    it('refuses a message over its limit alone', async () => {
      const big = jobs('big', 16 * 1_048_576)
      const broker = await connected()
      const numbers = await collect(broker, big)
      const producer = broker.producer(big, { timeoutMs: 5000 })
      const others = [0, 1, 2].map((n) => producer.send({ n }))
      const refused = await seen.refusal(producer.send({ n: 99, text: 'x'.repeat(5 * 1_048_576) }))
      expect(refused).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed', retryable: false })
      await Promise.all(others)
      await producer.send({ n: 3, text: 'x'.repeat(3 * 1_048_576) })
      await until('the others are handled', () => sorted(numbers).length === 4)
      expect(sorted(numbers)).toEqual(upTo(4))
    })

    it('loses nothing over a clean restart, in the middle of everything', async () => {
      const orders = jobs('restarted')
      const broker = await connected()
      const numbers = await collect(broker, orders)
      const sending = (async () => {
        for (let n = 0; n < 200; n++) await broker.producer(orders, { timeoutMs: 30_000 }).send({ n })
      })()
      await until('it is in the middle', () => numbers.length > 40)
      await server.signal('SIGTERM')
      await until('it is known', () => seen.statuses.includes('recovering'))
      await server.start()
      await sending
      await until('all are handled', () => sorted(numbers).length === 200)
      expect(sorted(numbers)).toEqual(upTo(200))
    })

    it('declares again what a killed server has forgotten, and tells it', async () => {
      const orders = jobs('forgotten')
      const broker = await connected()
      const numbers = await collect(broker, orders)
      await sendAll(broker, orders, 0, 5)
      await until('the first are handled', () => sorted(numbers).length === 5)
      await server.wipe()
      await until('it is told', () => seen.events.some((event) => event.event === 'adapter' && event.reason === 'position-lost'), 30_000)
      await sendAll(broker, orders, 5, 5)
      await until('what came after is handled', () => sorted(numbers).length === 10)
    })

    it('stores for every group what was sent while a server came back with nothing', async () => {
      const groups = ['workers', 'audit'] as const
      const orders = topic(`waited-${++made}`, { schema: unchecked<Order>(), groups })
      const broker = await connected()
      await broker.declare(orders)
      const producer = broker.producer(orders, { timeoutMs: 30_000 })
      const sending = until('it is known', () => seen.statuses.includes('recovering')).then(() =>
        Promise.all(upTo(20).map((n) => producer.send({ n }))),
      )
      await server.wipe()
      await sending
      for (const group of groups) {
        const numbers: number[] = []
        await broker.consume(orders, { group }, ({ value }) => void numbers.push(value.n))
        await until(`${group} has handled all`, () => sorted(numbers).length === 20)
      }
    })

    it('waits for a server that is not there yet, and says so when it does not come', async () => {
      await server.signal('SIGTERM')
      const error = await seen.refusal(connected({}, { connectTimeoutMs: 1000 }))
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
      expect(error.message).toMatch(/not reachable within 1000 ms.*ECONNREFUSED/)
      const waiting = connected({}, { connectTimeoutMs: 20_000 })
      await server.start()
      await waiting
    })
  },
)

onServer(
  'a server that takes small packets only',
  () => ({ settings: ['max_packet_size 20000'] }),
  () => {
    it('refuses what is too large for it, and serves the rest', async () => {
      const orders = jobs('packets')
      const broker = await connected()
      const numbers = await collect(broker, orders)
      const refused = await seen.refusal(broker.producer(orders, { timeoutMs: 5000 }).send({ n: 99, text: 'x'.repeat(30_000) }))
      expect(refused).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed' })
      await sendAll(broker, orders, 0, 5)
      await until('the rest is handled', () => sorted(numbers).length === 5)
    })
  },
)

describe('encrypted connections', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mqtt-tls-'))
  let files: TlsFiles
  let others: TlsFiles
  beforeAll(async () => {
    if (skip) return
    files = await makeTls(join(folder, 'ours'))
    others = await makeTls(join(folder, 'others'))
  }, 60_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  onServer(
    'a server with TLS',
    () => ({ tls: files }),
    () => {
      it('is used when its authority is trusted, by file or by text', async () => {
        for (const ca of [files.ca, readFileSync(files.ca, 'utf8')]) {
          const broker = await connected({ tls: { ca } })
          const orders = jobs('encrypted')
          const numbers = await collect(broker, orders)
          await sendAll(broker, orders, 0, 3)
          await until('all are handled', () => sorted(numbers).length === 3)
        }
      })

      it('is refused when its authority is another one, and not tried for ever', async () => {
        const error = await seen.refusal(connected({ tls: { ca: others.ca } }))
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      })

      it('is not usable without TLS, and the error says so', async () => {
        const url = server.url.replace('mqtts:', 'mqtt:')
        const error = await seen.refusal(connected({ url, connectMs: 1500 }, { connectTimeoutMs: 3000 }))
        expect(error.message).toMatch(/mqtts:\/\//)
      })
    },
  )

  onServer(
    'a server without TLS',
    () => ({}),
    () => {
      it('is not usable with TLS, and the error says so', async () => {
        const url = server.url.replace('mqtt:', 'mqtts:')
        const error = await seen.refusal(connected({ url, connectMs: 1500 }, { connectTimeoutMs: 3000 }))
        expect(error.message).toMatch(/mqtt:\/\//)
      })
    },
  )
})

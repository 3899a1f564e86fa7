// What goes wrong around a server, as an application meets it: one clear error, nothing lost, other topics untouched, and all is
// well again without a restart. Real servers; without one the tests are skipped, and say why.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canary, collect, jobs, sendAll, sorted, until, upTo, type Witness, witness } from '@posthorn/conformance/live'
import { type Broker, type ConnectOptions, connect } from '@posthorn/core'
import { type KafkaOptions, kafka } from '@posthorn/kafka'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type BrokerOptions,
  findBroker,
  makeTls,
  type RunningBroker,
  startBroker,
  startKafkaCluster,
  type TlsFiles,
} from '../../../../tools/brokers/index.mjs'
import { relay } from './server.ts'

const found = await findBroker('kafka')
/** The number of the request that carries what proves a user. */
const saslAuthenticate = 36
const where = found.available ? found.title : `skipped: ${found.reason}`
const skip = !found.available

let server: RunningBroker
let seen: Witness
const open: Broker[] = []

async function connected(options: KafkaOptions = {}, more: ConnectOptions = {}): Promise<Broker> {
  const broker = await connect(kafka({ url: server.url, sessionTimeoutMs: 3000, ...options }), { ...seen.options, ...more })
  open.push(broker)
  return broker
}

function onServer(title: string, options: () => BrokerOptions, tests: () => void): void {
  describe.skipIf(skip)(`${title} (${where})`, { timeout: 90_000 }, () => {
    beforeAll(async () => {
      server = await startBroker('kafka', options())
    }, 180_000)
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

async function works(broker: Broker): Promise<void> {
  const orders = jobs('works')
  const numbers = await collect(broker, orders)
  await sendAll(broker, orders, 0, 5)
  await until('it works', () => sorted(numbers).length === 5)
}

const unsigned = (name: string): string => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  return `${part({ alg: 'none' })}.${part({ sub: name, iat: now, exp: now + 3600 })}.`
}

onServer(
  'a server with users',
  () => ({ users: [{ name: 'posthorn', password: canary }] }),
  () => {
    it.each(['plain', 'scram-sha-256', 'scram-sha-512'] as const)(
      'lets in by %s, and tells a wrong password at once without showing it',
      async (mechanism) => {
        await works(await connected({ mechanism }))
        const began = performance.now()
        const url = `kafka://127.0.0.1:${server.port}`
        const error = await seen.refusal(connected({ url, username: 'posthorn', password: `${canary}!`, mechanism }))
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
        expect(performance.now() - began).toBeLessThan(4000)
      },
    )

    it('lets in by a token that is asked for again before each connection', async () => {
      let asked = 0
      const url = `kafka://127.0.0.1:${server.port}`
      const token = (): string => {
        asked++
        return unsigned('posthorn')
      }
      await works(await connected({ url, token }))
      expect(asked).toBeGreaterThan(1)
    })

    it('NET-6: takes an end of the connection while it logs in for what it is, and goes on', async () => {
      const link = await relay(server.port)
      const { host } = new URL(link.url.replace(/^kafka:/, 'http:'))
      const broker = await connected({
        url: link.url,
        username: 'posthorn',
        password: canary,
        mechanism: 'scram-sha-256',
        reach: () => host,
      })
      const orders = jobs('logging-in')
      const numbers = await collect(broker, orders)
      let ended = 0
      link.before = async (api, end) => {
        if (api === saslAuthenticate && ended++ < 6) end()
      }
      // The connection for sending is made now, and a user that is refused would end the send.
      await sendAll(broker, orders, 0, 1)
      expect(ended).toBeGreaterThan(6)
      let proofs = 0
      let cuts = 0
      link.before = async (api, end) => {
        // The first two are the login of the connection that says whether the server is there; those of the others follow it.
        if (api !== saslAuthenticate || ++proofs <= 2 || cuts === 5) return
        cuts++
        end()
      }
      link.cut()
      await until('logins were cut', () => cuts === 5)
      await sendAll(broker, orders, 1, 4)
      await until('all are handled', () => sorted(numbers).length === 5)
      await broker.close({ drainMs: 1000 })
      await link.close()
    })

    it('tells that a user is needed', async () => {
      const error = await seen.refusal(connected({ url: `kafka://127.0.0.1:${server.port}` }, { connectTimeoutMs: 3000 }))
      expect(['UNAVAILABLE', 'UNAUTHORIZED', 'TIMED_OUT']).toContain(error.code)
    })

    it('tells that a right on one topic is missing, serves the others, and goes on when it is given', async () => {
      const [mine, theirs] = [jobs('mine'), jobs('theirs')]
      const broker = await connected()
      await broker.declare([mine, theirs])
      const denied = ['--topic', theirs.name, '--operation', 'Write']
      await server.control(['acls', '--add', '--allow-principal', 'User:*', '--operation', 'All', '--topic', theirs.name])
      await server.control(['acls', '--add', '--deny-principal', 'User:posthorn', ...denied])
      const refused = await seen.refusal(broker.producer(theirs, { timeoutMs: 3000 }).send({ n: 0 }))
      expect(refused).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed', retryable: false })
      expect(refused.message).toContain(theirs.name)
      const numbers = await collect(broker, mine)
      await sendAll(broker, mine, 0, 20)
      await until('the other topic is served', () => sorted(numbers).length === 20)
      await server.control(['acls', '--remove', '--force', '--deny-principal', 'User:posthorn', ...denied])
      await sendAll(broker, theirs, 0, 5)
      const more = await collect(broker, theirs)
      await until('it is served now', () => sorted(more).length === 5)
    })

    it('ends a consumer that may not use its group, with a cause that says so', async () => {
      const orders = jobs('withdrawn')
      const broker = await connected()
      const numbers: number[] = []
      const consumer = await broker.consume(orders, { group: 'workers' }, ({ value }) => void numbers.push(value.n))
      await sendAll(broker, orders, 0, 5)
      await until('they are handled', () => sorted(numbers).length === 5)
      const group = ['--group', `${orders.name}__workers`, '--operation', 'Read']
      const refused = seen.refusal(consumer.closed)
      await server.control(['acls', '--add', '--deny-principal', 'User:posthorn', ...group])
      const error = await refused
      expect(error).toMatchObject({ code: 'UNAUTHORIZED' })
      expect(error.message).toContain(orders.name)
      await server.control(['acls', '--remove', '--force', '--deny-principal', 'User:posthorn', ...group])
      await sendAll(broker, orders, 5, 5)
      await broker.consume(orders, { group: 'workers' }, ({ value }) => void numbers.push(value.n))
      await until('nothing is lost', () => sorted(numbers).length === 10)
    })

    it('refuses a message over its limit alone', async () => {
      const big = jobs('big', 16 * 1_048_576)
      const broker = await connected()
      const numbers = await collect(broker, big)
      const producer = broker.producer(big, { timeoutMs: 5000 })
      const others = [0, 1, 2].map((n) => producer.send({ n }))
      const refused = await seen.refusal(producer.send({ n: 99, text: 'x'.repeat(2 * 1_048_576) }))
      expect(refused).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed', retryable: false })
      await Promise.all(others)
      await producer.send({ n: 3, text: 'x'.repeat(900_000) })
      await until('the others are handled', () => sorted(numbers).length === 4)
      expect(sorted(numbers)).toEqual(upTo(4))
    })

    it('waits for a server that is not there yet, and says so when it does not come', async () => {
      await server.signal('SIGKILL')
      const error = await seen.refusal(connected({}, { connectTimeoutMs: 1000 }))
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
      const later = connected({}, { connectTimeoutMs: 60_000 })
      await server.start()
      await works(await later)
    })
  },
)

let folder = ''
let tls: TlsFiles
let other: TlsFiles
describe.skipIf(skip)('encrypted connections', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'posthorn-tls-'))
    tls = await makeTls(join(folder, 'one'))
    other = await makeTls(join(folder, 'two'))
  }, 60_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  onServer(
    'a server with TLS',
    () => ({ tls, users: [{ name: 'posthorn', password: canary }] }),
    () => {
      it('is used when its authority is trusted', async () => {
        await works(
          await connected({ tls: { ca: readFileSync(tls.ca), cert: readFileSync(tls.clientCert), key: readFileSync(tls.clientKey) } }),
        )
      })

      it('is refused when its authority is another one, and not tried for ever', async () => {
        for (const options of [{ tls: { ca: readFileSync(other.ca) } }, {}]) {
          const began = performance.now()
          const error = await seen.refusal(connected(options))
          expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
          expect(error.message).toMatch(/certificate/i)
          expect(performance.now() - began).toBeLessThan(4000)
        }
      })

      it('is refused when its certificate is for another host', async () => {
        const error = await seen.refusal(connected({ tls: { ca: readFileSync(tls.ca), servername: 'elsewhere.example' } }))
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
        expect(error.message).toMatch(/elsewhere\.example/)
      })
    },
  )
})

describe.skipIf(skip)(`three nodes (${where})`, { timeout: 180_000 }, () => {
  it('lose one after the other, and no message', async () => {
    const cluster = await startKafkaCluster(3)
    seen = witness()
    try {
      const broker = await connect(kafka({ url: cluster.url, sessionTimeoutMs: 6000 }), seen.options)
      const orders = jobs('nodes')
      const numbers = await collect(broker, orders)
      let next = 0
      const stored: number[] = []
      const send = async (count: number): Promise<void> => {
        for (let left = count; left > 0; left--) {
          const n = next++
          await broker.producer(orders, { timeoutMs: 60_000 }).send({ n })
          stored.push(n)
        }
      }
      await send(20)
      for (const node of cluster.nodes) {
        await node.signal('SIGKILL')
        await send(20)
        await node.start()
        await send(5)
      }
      await until('all are handled', () => stored.every((n) => numbers.includes(n)), 60_000)
      await broker.close({ drainMs: 2000 })
    } finally {
      await cluster.stop()
    }
  })
})

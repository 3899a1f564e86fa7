// What goes wrong around a server, as an application meets it: one clear error, nothing lost, other topics untouched, and all is
// well again without a restart. Real servers; without one the tests are skipped, and say why.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canary, collect, jobs, latch, sendAll, sorted, until, upTo, type Witness, witness } from '@posthorn/conformance/live'
import { type Broker, type ConnectOptions, connect } from '@posthorn/core'
import { type RedisOptions, redis } from '@posthorn/redis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type BrokerOptions,
  findBroker,
  makeTls,
  type RunningBroker,
  startBroker,
  type TlsFiles,
} from '../../../../tools/brokers/index.mjs'

const found = await findBroker('redis')
const where = found.available ? found.title : `skipped: ${found.reason}`
const skip = !found.available
const leaseMs = 2000

let server: RunningBroker
let seen: Witness
const open: Broker[] = []

async function connected(options: RedisOptions = {}, more: ConnectOptions = {}): Promise<Broker> {
  const broker = await connect(redis({ url: server.url, leaseMs, replyMs: 1000, ...options }), { ...seen.options, ...more })
  open.push(broker)
  return broker
}

function onServer(title: string, options: () => BrokerOptions, tests: () => void): void {
  describe.skipIf(skip)(`${title} (${where})`, { timeout: 60_000 }, () => {
    beforeAll(async () => {
      server = await startBroker('redis', options())
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

/** Waits until the one member of the group `workers` has lengthened its lease by so many whole leases. */
async function renewed(topic: string, leases: number): Promise<void> {
  const untilMs = async (): Promise<number> =>
    Number((await server.control(['ZRANGE', `{${topic}}:mem:workers`, '0', '0', 'WITHSCORES'])).split('\n')[1])
  const first = await untilMs()
  await until('the lease is renewed', async () => (await untilMs()) >= first + leases * leaseMs)
}

/** How many entries the partitions of a topic hold. */
async function entriesOf(topic: string): Promise<number> {
  const partitions = Number(await server.control(['HGET', `{${topic}}:meta`, 'partitions']))
  const lengths = await Promise.all(upTo(partitions).map((p) => server.control(['XLEN', `{${topic}}:${p}`])))
  return lengths.reduce((sum, length) => sum + Number(length), 0)
}

onServer(
  'a server with users',
  () => ({ users: [{ name: 'posthorn', password: canary }] }),
  () => {
    it('tells a wrong password at once, and does not show it', async () => {
      const began = performance.now()
      const error = await seen.refusal(connected({ password: `${canary}!` }))
      expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(error.message).toMatch(/WRONGPASS/)
      expect(performance.now() - began).toBeLessThan(3000)
    })

    it('tells that a password is needed', async () => {
      const error = await seen.refusal(connected({ url: `redis://127.0.0.1:${server.port}` }))
      expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(error.message).toMatch(/NOAUTH/)
    })

    it('tells a database number that the server does not have, and stores nothing in another one', async () => {
      const error = await seen.refusal(connected({ db: 99 }))
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', retryable: false })
      expect(error.message).toMatch(/DB index/)
      expect(await server.control(['DBSIZE'])).toBe('0')
    })

    it('goes on by itself when the password that was changed is right again', async () => {
      const broker = await connected()
      const orders = jobs('rotated')
      await broker.declare(orders)
      const numbers = await collect(broker, orders)
      await sendAll(broker, orders, 0, 10)
      await server.control(['ACL', 'SETUSER', 'posthorn', 'resetpass', '>other'])
      await server.control(['CLIENT', 'KILL', 'USER', 'posthorn'])
      await until('it is known', () => seen.statuses.includes('recovering'))
      const during = broker.producer(orders, { timeoutMs: 30_000 }).send({ n: 10 })
      await server.control(['ACL', 'SETUSER', 'posthorn', 'resetpass', `>${canary}`])
      await during
      await sendAll(broker, orders, 11, 10)
      await until('all are handled', () => sorted(numbers).length === 21)
      expect(sorted(numbers)).toEqual(upTo(21))
    })

    it('tells that a right on one topic is missing, serves the others, and goes on when it is given', async () => {
      const mine = jobs('mine')
      const theirs = jobs('theirs')
      const all = await connected()
      await all.declare([mine, theirs])
      await server.control(['ACL', 'SETUSER', 'limited', 'reset', 'on', `>${canary}`, `~{${mine.name}}:*`, '+@all'])
      const broker = await connected({ username: 'limited' })
      const refused = await seen.refusal(broker.producer(theirs, { timeoutMs: 3000 }).send({ n: 0 }))
      expect(refused).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed', retryable: false })
      expect(refused.message).toContain(theirs.name)
      const consuming = await seen.refusal(broker.consume(theirs, { group: 'workers' }, () => {}))
      expect(consuming).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      const numbers = await collect(broker, mine)
      await sendAll(broker, mine, 0, 20)
      await until('the other topic is served', () => sorted(numbers).length === 20)

      await server.control(['ACL', 'SETUSER', 'limited', `~{${theirs.name}}:*`])
      await sendAll(broker, theirs, 0, 5)
      const more = await collect(broker, theirs)
      await until('it is served now', () => sorted(more).length === 5)
      expect(sorted(more)).toEqual(upTo(5))
    })

    it('loses nothing when a consumer loses its right, and goes on when it has it back', async () => {
      const orders = jobs('withdrawn')
      const all = await connected()
      await all.declare(orders)
      await server.control(['ACL', 'SETUSER', 'reader', 'reset', 'on', `>${canary}`, '~*', '+@all'])
      const broker = await connected({ username: 'reader' })
      const numbers: number[] = []
      const start = () => broker.consume(orders, { group: 'workers' }, ({ value }) => void numbers.push(value.n))
      let consumer = await start()
      await sendAll(all, orders, 0, 10)
      await until('the first are handled', () => sorted(numbers).length === 10)
      await server.control(['ACL', 'SETUSER', 'reader', 'resetkeys', '~nothing'])
      await sendAll(all, orders, 10, 10)
      const died = consumer.closed.then(
        () => undefined,
        (error: unknown) => error,
      )
      const told = () => seen.events.some(({ event, error }) => event !== 'sent' && error?.code === 'UNAUTHORIZED')
      await until('it is told', told)
      await server.control(['ACL', 'SETUSER', 'reader', 'resetkeys', '~*'])
      const ended = await Promise.race([died, until('the rest is handled', () => sorted(numbers).length === 20)])
      if (ended !== undefined) {
        expect(ended).toMatchObject({ code: 'UNAUTHORIZED' })
        consumer = await start()
      }
      await until('all are handled', () => sorted(numbers).length === 20)
      expect(sorted(numbers)).toEqual(upTo(20))
      await consumer.close()
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

    it('waits for a server that is not there yet, and says so when it does not come', async () => {
      await server.signal('SIGTERM')
      const error = await seen.refusal(connected({}, { connectTimeoutMs: 1000 }))
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
      expect(error.message).toMatch(/not reachable within 1000 ms.*ECONNREFUSED/)
      const later = connected({}, { connectTimeoutMs: 30_000 })
      await server.start()
      const broker = await later
      const orders = jobs('late')
      const numbers = await collect(broker, orders)
      await sendAll(broker, orders, 0, 5)
      await until('it works', () => sorted(numbers).length === 5)
    })
  },
)

onServer(
  'a server without memory',
  () => ({ users: [{ name: 'posthorn', password: canary }] }),
  () => {
    afterEach(async () => {
      await server.control(['CONFIG', 'SET', 'maxmemory', '0'])
    })

    it('refuses sends with a clear error, consumers finish what is there, and sends go on when there is room', async () => {
      const orders = jobs('full')
      const broker = await connected()
      const gate = latch()
      const numbers: number[] = []
      await broker.consume(orders, { group: 'workers', concurrency: 4 }, async ({ value }) => {
        await gate.opened
        numbers.push(value.n)
      })
      await sendAll(broker, orders, 0, 200)
      await server.control(['CONFIG', 'SET', 'maxmemory', '1mb'])
      const error = await seen.refusal(broker.producer(orders, { timeoutMs: 1500 }).send({ n: 999 }))
      expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'failed', retryable: true })
      expect(error.message).toMatch(/OOM|maxmemory/)
      // Longer than a lease: members stay what they are.
      await renewed(orders.name, 2)
      gate.open()
      await until('what is there is handled', () => sorted(numbers).length === 200)
      await until('and settled', async () => (await broker.lag(orders, 'workers')).unsettled === 0)
      const waiting = broker.producer(orders, { timeoutMs: 30_000 }).send({ n: 200 })
      await server.control(['CONFIG', 'SET', 'maxmemory', '0'])
      await waiting
      await until('what was sent now is handled', () => sorted(numbers).length === 201)
      expect(numbers.length).toBe(201)
      expect(sorted(numbers)).toEqual(upTo(201))
    })
  },
)

onServer(
  'a server that takes little at once',
  () => ({ settings: ['proto-max-bulk-len 1mb'] }),
  () => {
    it('refuses what is too large for it, and serves the rest', async () => {
      const big = jobs('big', 16 * 1_048_576)
      const small = jobs('small')
      const broker = await connected()
      const numbers = await collect(broker, small)
      const refused = await seen.refusal(broker.producer(big, { timeoutMs: 3000 }).send({ n: 99, text: 'x'.repeat(2 * 1_048_576) }))
      expect(['TOO_LARGE', 'UNAVAILABLE', 'TIMED_OUT']).toContain(refused.code)
      expect(refused.message).toMatch(/large|limit|length|closed/)
      await sendAll(broker, small, 0, 10)
      await until('the rest is served', () => sorted(numbers).length === 10)
    })
  },
)

onServer(
  'a server whose users may do what docs/brokers/redis.md says',
  () => ({ users: [{ name: 'posthorn', password: canary }] }),
  () => {
    const page = readFileSync(new URL('../../../../docs/brokers/redis.md', import.meta.url), 'utf8')
    const rule = (user: string, name: string): string[] => {
      const line = page.split('\n').find((each) => each.startsWith(`ACL SETUSER ${user} `)) ?? ''
      return line.replaceAll('orders.placed', name).split(' ').slice(3)
    }

    it('serves who sends and handles', async () => {
      const orders = jobs('orders')
      const rights = rule('shop', orders.name).map((word) => (word.startsWith('>') ? `>${canary}` : word))
      expect(rights.length).toBeGreaterThan(5)
      await server.control(['ACL', 'SETUSER', 'shop', ...rights])
      const broker = await connected({ username: 'shop' })
      const numbers: number[] = []
      const retry = { attempts: 2, firstDelayMs: 20 }
      await broker.consume(orders, { group: 'workers', retry }, ({ value }) => {
        if (value.n === 1) throw new Error('never')
        numbers.push(value.n)
      })
      const heard: number[] = []
      await broker.consume(orders, { group: 'screens', broadcast: true }, ({ value }) => void heard.push(value.n))
      const producer = broker.producer(orders, { timeoutMs: 5000 })
      await sendAll(broker, orders, 0, 5)
      await producer.send({ n: 5 }, { delayMs: 200 })
      await until('the others are handled', () => sorted(numbers).join() === '0,2,3,4,5')
      const letters = broker.deadLetters(orders, 'workers')
      await until('the one is dead', async () => (await letters.purge({ all: true })).purged === 1)
      expect(await broker.lag(orders, 'workers')).toMatchObject({ members: 1 })
      await until('all was heard', () => sorted(heard).length === 6)
      await renewed(orders.name, 2)
      await until('what is finished is trimmed', async () => (await entriesOf(orders.name)) === 0)
      expect(seen.events.filter(({ error }) => error?.code === 'UNAUTHORIZED')).toEqual([])
    })

    it('serves who only sends', async () => {
      const orders = jobs('orders')
      const all = await connected()
      const numbers = await collect(all, orders)
      const rights = rule('till', orders.name).map((word) => (word.startsWith('>') ? `>${canary}` : word))
      expect(rights.length).toBeGreaterThan(5)
      await server.control(['ACL', 'SETUSER', 'till', ...rights])
      const broker = await connected({ username: 'till' })
      await sendAll(broker, orders, 0, 5)
      await broker.producer(orders).send({ n: 5 }, { delayMs: 100 })
      await until('all are handled', () => sorted(numbers).length === 6)
      await seen.refusal(broker.consume(orders, { group: 'workers' }, () => {}))
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
      it('is used when its authority is trusted, by file or by text', async () => {
        for (const ca of [tls.ca, readFileSync(tls.ca, 'utf8')]) {
          const broker = await connected({ tls: { ca, cert: tls.clientCert, key: tls.clientKey } })
          const orders = jobs('safe')
          const numbers = await collect(broker, orders)
          await sendAll(broker, orders, 0, 5)
          await until('it works', () => sorted(numbers).length === 5)
        }
      })

      it('is refused when its authority is another one, and not tried for ever', async () => {
        for (const options of [{ tls: { ca: other.ca } }, {}]) {
          const began = performance.now()
          const error = await seen.refusal(connected(options))
          expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
          expect(error.message).toMatch(/certificate/i)
          expect(performance.now() - began).toBeLessThan(3000)
        }
      })

      it('is refused when its certificate is for another host', async () => {
        const error = await seen.refusal(connected({ tls: { ca: tls.ca, serverName: 'elsewhere.example' } }))
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
        expect(error.message).toMatch(/elsewhere\.example/)
      })

      it('is not usable without TLS, and the error says so', async () => {
        const url = server.url.replace('rediss:', 'redis:')
        const error = await seen.refusal(connected({ url, connectMs: 1000 }, { connectTimeoutMs: 3000 }))
        expect(['INVALID_ARGUMENT', 'UNAVAILABLE']).toContain(error.code)
        expect(error.message).toMatch(/rediss:\/\//)
      })
    },
  )

  onServer(
    'a server without TLS',
    () => ({ users: [{ name: 'posthorn', password: canary }] }),
    () => {
      it('is not usable with TLS, and the error says so', async () => {
        const url = server.url.replace('redis:', 'rediss:')
        const error = await seen.refusal(connected({ url, connectMs: 1000 }, { connectTimeoutMs: 3000 }))
        expect(['INVALID_ARGUMENT', 'UNAVAILABLE']).toContain(error.code)
        expect(error.message).toMatch(/without TLS|does not speak TLS/)
      })
    },
  )
})

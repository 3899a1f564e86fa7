// What goes wrong around a server, as an application meets it: one clear error, nothing lost, other topics untouched, and all is
// well again without a restart. Real servers; without one the tests are skipped, and say why.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  canary,
  collect,
  jobs,
  latch,
  type NumberedOrder,
  sendAll,
  sorted,
  until,
  upTo,
  type Witness,
  witness,
} from '@posthorn/conformance/live'
import { type Broker, type ConnectOptions, connect, topic, unchecked } from '@posthorn/core'
import { type RabbitmqOptions, rabbitmq } from '@posthorn/rabbitmq'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type BrokerOptions,
  findBroker,
  makeTls,
  type RunningBroker,
  startBroker,
  type TlsFiles,
} from '../../../../tools/brokers/index.mjs'

const found = await findBroker('rabbitmq')
const where = found.available ? found.title : `skipped: ${found.reason}`
const skip = !found.available

let server: RunningBroker
let seen: Witness
const open: Broker[] = []

async function connected(options: RabbitmqOptions = {}, more: ConnectOptions = {}): Promise<Broker> {
  const broker = await connect(rabbitmq({ url: server.url, heartbeatMs: 2000, ...options }), { ...seen.options, ...more })
  open.push(broker)
  return broker
}

function onServer(title: string, options: () => BrokerOptions, tests: () => void): void {
  describe.skipIf(skip)(`${title} (${where})`, { timeout: 90_000 }, () => {
    beforeAll(async () => {
      server = await startBroker('rabbitmq', options())
    }, 180_000)
    afterAll(async () => {
      await server?.stop()
    }, 60_000)
    beforeEach(() => {
      seen = witness()
    })
    afterEach(async () => {
      await Promise.all(open.splice(0).map((broker) => broker.close({ drainMs: 1000 })))
      seen.sawNoSecret()
    }, 30_000)
    tests()
  })
}

/** Waits until the server has sent so many more frames on each connection: on an idle one these are heartbeats, two in `heartbeatMs`. */
async function heartbeats(count: number): Promise<void> {
  const sent = async (): Promise<ReadonlyMap<string, number>> => {
    const lines = (await server.control(['list_connections', 'pid', 'send_cnt', '--silent'])).trim().split('\n')
    return new Map(lines.map((line) => line.split('\t')).map(([pid, frames]) => [pid ?? '', Number(frames)]))
  }
  const first = await sent()
  expect(first.size).toBeGreaterThan(1)
  await until('heartbeats go on', async () => {
    const now = await sent()
    return [...first].every(([pid, frames]) => (now.get(pid) ?? Number.NaN) >= frames + count)
  })
}

const users = [
  { name: 'posthorn', password: canary },
  { name: 'limited', password: canary, permissions: { configure: '^mine', write: '^(mine|amq\\.default)', read: '^mine' } },
]

onServer(
  'a server with users',
  () => ({ users, settings: ['max_message_size = 4194304'] }),
  () => {
    it('tells a wrong password at once, and does not show it', async () => {
      const began = performance.now()
      const error = await seen.refusal(connected({ password: `${canary}!` }))
      expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(error.message).toMatch(/ACCESS.REFUSED|login/i)
      expect(performance.now() - began).toBeLessThan(5000)
    })

    it('tells a virtual host that the server does not have, or that the user may not use', async () => {
      const missing = await seen.refusal(connected({ vhost: 'nowhere' }))
      expect(missing).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(missing.message).toMatch(/virtual host "nowhere"/)
      await server.control(['add_vhost', 'theirs'])
      const forbidden = await seen.refusal(connected({ vhost: 'theirs' }))
      expect(forbidden).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      expect(forbidden.message).toMatch(/"theirs"/)
    })

    it('goes on by itself when the password that was changed is right again', async () => {
      const broker = await connected()
      const orders = jobs('rotated')
      await broker.declare(orders)
      const numbers = await collect(broker, orders)
      await sendAll(broker, orders, 0, 10)
      await server.control(['change_password', 'posthorn', 'other'])
      await server.control(['close_all_user_connections', 'posthorn', 'test'])
      await until('it is known', () => seen.statuses.includes('recovering'))
      const during = broker.producer(orders, { timeoutMs: 60_000 }).send({ n: 10 })
      await server.control(['change_password', 'posthorn', canary])
      await during
      await sendAll(broker, orders, 11, 10)
      await until('all are handled', () => sorted(numbers).length === 21)
      expect(sorted(numbers)).toEqual(upTo(21))
    })

    it('asks for the password again when it was changed', async () => {
      let password = canary
      const broker = await connected({ password: () => password })
      const orders = jobs('asked')
      await broker.declare(orders)
      password = `${canary}2`
      await server.control(['change_password', 'posthorn', password])
      await server.control(['close_all_user_connections', 'posthorn', 'test'])
      await until('it is known', () => seen.statuses.includes('recovering'))
      await broker.producer(orders, { timeoutMs: 60_000 }).send({ n: 0 })
      await server.control(['change_password', 'posthorn', canary])
    })

    it('tells that a right on one topic is missing, serves the others, and goes on when it is given', async () => {
      const mine = jobs('mine')
      const theirs = jobs('theirs')
      const all = await connected()
      await all.declare([mine, theirs])
      const broker = await connected({ username: 'limited' })
      const refused = await seen.refusal(broker.producer(theirs, { timeoutMs: 5000 }).send({ n: 0 }))
      expect(refused).toMatchObject({ code: 'UNAUTHORIZED', outcome: 'failed', retryable: false })
      expect(refused.message).toContain(theirs.name)
      const consuming = await seen.refusal(broker.consume(theirs, { group: 'workers' }, () => {}))
      expect(consuming).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
      const numbers = await collect(broker, mine)
      await sendAll(broker, mine, 0, 20)
      await until('the other topic is served', () => sorted(numbers).length === 20)

      await server.control(['set_permissions', 'limited', '.*', '.*', '.*'])
      await sendAll(broker, theirs, 0, 5)
      const more = await collect(broker, theirs)
      await until('it is served now', () => sorted(more).length === 5)
      expect(sorted(more)).toEqual(upTo(5))
      expect(seen.statuses.filter((status) => status === 'recovering')).toEqual([])
    })

    it('refuses a message over the limit of the server alone', async () => {
      const big = jobs('big', 12 * 1_048_576)
      const small = jobs('small')
      const broker = await connected()
      const numbers = await collect(broker, big)
      const producer = broker.producer(big, { timeoutMs: 20_000 })
      const sends = upTo(50).map((n) => producer.send({ n }))
      const refused = await seen.refusal(producer.send({ n: 99, text: 'x'.repeat(5 * 1_048_576) }))
      expect(refused).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed', retryable: false })
      expect(refused.message).toMatch(/4194304/)
      expect(refused).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed', retryable: false })
      await Promise.all(sends)
      await sendAll(broker, small, 0, 5)
      await producer.send({ n: 50, text: 'x'.repeat(3 * 1_048_576) })
      const again = await seen.refusal(producer.send({ n: 99, text: 'x'.repeat(5 * 1_048_576) }))
      expect(again).toMatchObject({ code: 'TOO_LARGE', outcome: 'failed' })
      await until('the others are handled', () => sorted(numbers).length === 51)
      expect(sorted(numbers)).toEqual(upTo(51))
    })

    it.each([
      ['memory', ['set_vm_memory_high_watermark', 'absolute', '1'], ['set_vm_memory_high_watermark', '0.4']],
      ['disk', ['set_disk_free_limit', '900000000000000'], ['set_disk_free_limit', '50MB']],
    ] as const)('rides out an alarm of %s: sends wait, consumers finish, nothing is lost', async (_, raise, clear) => {
      const orders = jobs('alarmed')
      const broker = await connected()
      const gate = latch()
      const numbers: number[] = []
      await broker.consume(orders, { group: 'workers', concurrency: 4 }, async ({ value }) => {
        await gate.opened
        numbers.push(value.n)
      })
      await sendAll(broker, orders, 0, 100)
      await server.control([...raise])
      try {
        const error = await seen.refusal(broker.producer(orders, { timeoutMs: 2000 }).send({ n: 999 }, { id: 'late' }))
        expect(['TIMED_OUT', 'UNAVAILABLE']).toContain(error.code)
        expect(error.messageId).toBe('late')
        await until('it is told', () => seen.events.some(({ event, reason }) => event === 'adapter' && reason === 'blocked'))
        gate.open()
        await until('what is there is handled', () => sorted(numbers.filter((n) => n < 100)).length === 100)
        const waiting = broker.producer(orders, { timeoutMs: 60_000 }).send({ n: 100 })
        // A connection is dead after four of these: an alarm is no death.
        await heartbeats(6)
        await server.control([...clear])
        await waiting
      } finally {
        await server.control([...clear])
      }
      await until('what was sent now is handled', () => sorted(numbers.filter((n) => n !== 999)).length === 101)
      expect(sorted(numbers.filter((n) => n !== 999))).toEqual(upTo(101))
      expect(numbers.filter((n) => n !== 999).length).toBe(101)
      expect(seen.statuses).not.toContain('recovering')
    })

    it('waits for a server that is not there yet, and says so when it does not come', async () => {
      await server.signal('SIGTERM')
      const error = await seen.refusal(connected({}, { connectTimeoutMs: 1000 }))
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true })
      expect(error.message).toMatch(/not reachable within 1000 ms.*ECONNREFUSED/)
      const later = connected({}, { connectTimeoutMs: 60_000 })
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
  'a server whose users may do what docs/brokers/rabbitmq.md says',
  () => ({ users }),
  () => {
    const page = readFileSync(new URL('../../../../docs/brokers/rabbitmq.md', import.meta.url), 'utf8')
    const permissions = (user: string, name: string): string[] => {
      const line = page.split('\n').find((each) => each.startsWith(`rabbitmqctl set_permissions -p / ${user} `)) ?? ''
      return [...line.matchAll(/"([^"]*)"/g)].map((found) => (found[1] ?? '').replaceAll('orders\\.placed', name))
    }

    it('serves who sends and handles', async () => {
      const orders = jobs('orders')
      const accounts = jobs('accounts').name
      const rights = permissions('shop', orders.name).map((right, at) => `${right}|${permissions('shop', accounts)[at]}`)
      expect(rights.length).toBe(3)
      await server.control(['add_user', 'shop', canary])
      await server.control(['set_permissions', 'shop', ...rights])
      const broker = await connected({ username: 'shop' })
      const numbers: number[] = []
      await broker.consume(orders, { group: 'workers', retry: { attempts: 2, firstDelayMs: 20 } }, ({ value }) => {
        if (value.n === 1) throw new Error('never')
        numbers.push(value.n)
      })
      const producer = broker.producer(orders, { timeoutMs: 10_000 })
      await sendAll(broker, orders, 0, 5)
      await producer.send({ n: 5 }, { delayMs: 1500 })
      await until('the others are handled', () => sorted(numbers).join() === '0,2,3,4,5')
      const letters = broker.deadLetters(orders, 'workers')
      await until('the one is dead', async () => (await letters.purge({ all: true })).purged === 1)
      expect(await broker.lag(orders, 'workers')).toMatchObject({ members: 1, backlog: 0 })

      const keyed = topic(accounts, {
        schema: unchecked<NumberedOrder>(),
        key: ({ n }) => `${n}`,
        groups: ['workers'],
        partitions: 2,
      })
      const more: number[] = []
      await broker.consume(keyed, { group: 'workers' }, ({ value }) => void more.push(value.n))
      await Promise.all(upTo(10).map((n) => broker.producer(keyed).send({ n })))
      await until('keyed ones are handled', () => sorted(more).length === 10)

      await server.control(['set_permissions', 'shop', ...rights.map((right) => `${right}|^amq\\.gen-.*`)])
      const heard: number[] = []
      await broker.consume(orders, { group: 'screens', broadcast: true }, ({ value }) => void heard.push(value.n))
      await sendAll(broker, orders, 10, 5)
      await until('all was heard', () => sorted(heard).length === 5)
      expect(seen.events.filter(({ error }) => error?.code === 'UNAUTHORIZED')).toEqual([])
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
    () => ({ tls, users }),
    () => {
      const pem = (file: string): Buffer => readFileSync(file)

      it('is used when its authority is trusted', async () => {
        const broker = await connected({ tls: { ca: pem(tls.ca), cert: pem(tls.clientCert), key: pem(tls.clientKey) } })
        const orders = jobs('safe')
        const numbers = await collect(broker, orders)
        await sendAll(broker, orders, 0, 5)
        await until('it works', () => sorted(numbers).length === 5)
      })

      it('is refused when its authority is another one, and not tried for ever', async () => {
        for (const options of [{ tls: { ca: pem(other.ca) } }, {}]) {
          const began = performance.now()
          const error = await seen.refusal(connected(options))
          expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
          expect(error.message).toMatch(/certificate/i)
          expect(performance.now() - began).toBeLessThan(5000)
        }
      })

      it('is refused when its certificate is for another host', async () => {
        const error = await seen.refusal(connected({ tls: { ca: pem(tls.ca), servername: 'elsewhere.example' } }))
        expect(error).toMatchObject({ code: 'UNAUTHORIZED', retryable: false })
        expect(error.message).toMatch(/elsewhere\.example/)
      })

      it('is not usable without TLS, and the error says so', async () => {
        const error = await seen.refusal(connected({ url: server.url.replace('amqps:', 'amqp:') }, { connectTimeoutMs: 4000 }))
        expect(['INVALID_ARGUMENT', 'UNAVAILABLE']).toContain(error.code)
        expect(error.message).toMatch(/amqps:/)
      })
    },
  )

  onServer(
    'a server without TLS',
    () => ({ users }),
    () => {
      it('is not usable with TLS, and the error says so', async () => {
        const error = await seen.refusal(connected({ url: server.url.replace('amqp:', 'amqps:') }, { connectTimeoutMs: 4000 }))
        expect(['INVALID_ARGUMENT', 'UNAVAILABLE']).toContain(error.code)
        expect(error.message).toMatch(/without TLS|does not speak TLS/)
      })
    },
  )
})
